"""Commands given bad input, in a process in which TensorFlow cannot be imported."""

import atexit
import functools
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

CHECKOUT = str(pathlib.Path(__file__).parents[2])


def refusal(folder: pathlib.Path, module: str, *arguments: str) -> str:
    """The one line with which a command refuses bad input, before it imports TensorFlow."""
    result = light_run(folder, module, *arguments)
    assert result["code"] == 2, result["stderr"]
    assert result["stdout"] == ""
    assert result["stderr"].startswith(f"kfsl {module.split('.')[-1]}: ")
    assert len(result["stderr"].strip().splitlines()) == 1
    return result["stderr"]


def light_run(folder: pathlib.Path, module: str, *arguments: str) -> dict[str, Any]:
    """What a command does that needs no TensorFlow: `code`, `stdout` and `stderr`."""
    request = {
        "module": module,
        "arguments": list(arguments),
        "folder": str(folder),
        "environment": dict(os.environ),
    }
    process = _process()
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@functools.cache
def _process() -> subprocess.Popen:
    """One for all tests of a worker; it ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.refusals_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )
    atexit.register(process.communicate)
    return process
