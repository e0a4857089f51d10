"""What benchmarks share: seconds of a call, and measurements in processes of their own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def seconds_of(function: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measured_apart(*arguments: str) -> Any:
    """What this script prints as its last line of JSON, run again with `--measure`.

    Args:
        *arguments: str. Those of `--measure`; the script's own ones are passed on.
    """
    command = [sys.executable, *sys.argv, "--measure", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])
