"""Commands as processes of their own, without the seconds that TensorFlow takes to be imported."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CHECKOUT = str(Path(__file__).parents[2])

#: Gigabytes of the largest process so far.
largest = 0.0


def python(
    arguments: Sequence[str],
    *,
    cwd: str | os.PathLike | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess:
    """Runs Python with some arguments, as `subprocess.run([sys.executable, *arguments])` would.

    Args:
        arguments: sequence of str or path: `-m` and a module, `-c` and code, or a script; and its
            own.
        cwd: path or None. The folder it runs in; None is the present one.
        env: mapping or None. Its environment; None is the present one.

    Returns:
        `subprocess.CompletedProcess` with its output as text.
    """
    global largest
    with tempfile.TemporaryDirectory(prefix="kfsl-forked-") as folder:
        request = {
            "arguments": [os.fspath(each) for each in arguments],
            "folder": os.fspath(cwd or os.getcwd()),
            "environment": dict(os.environ if env is None else env),
            "stdout": os.path.join(folder, "stdout"),
            "stderr": os.path.join(folder, "stderr"),
        }
        process = _process()
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, "the process that forks ended; python -m tests.support.forked_process says why"
        answer = json.loads(line)
        out, err = (Path(request[name]).read_text("utf-8") for name in ("stdout", "stderr"))
    largest = max(largest, answer["kilobytes"] / 2**20)
    return subprocess.CompletedProcess([sys.executable, *arguments], answer["code"], out, err)


@functools.cache
def _process() -> subprocess.Popen:
    """One for all tests of a worker; it ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    atexit.register(process.communicate)
    return process
