"""Forks a process for each request, from one that has imported TensorFlow and computed nothing.

    python -m tests.support.forked_process

Reads requests as lines of JSON, see `tests.support.forked`, and answers each with the exit code of
its process and the most memory that it had. Importing TensorFlow takes longer than most commands,
tiny as tests make them.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from typing import Any

#: All that commands import, but the commands themselves: those run as `__main__`.
WARM = (
    "kfsl.configurables", "kfsl.serving.export", "matplotlib.backends.backend_agg",
    "data_pipelines.preparation", "tensorflow_datasets",
)  # fmt: skip


#: The longest that a command may take.
SECONDS = 300


def main() -> None:
    own_path = sys.path[1:]
    for name in WARM:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # What is collected in a child would be copied first.
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)  # Ends what hangs.
            _become(request, own_path)
            sys.exit(_run(request["arguments"]))
        _, status, usage = os.wait4(child, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "kilobytes": usage.ru_maxrss}
        print(json.dumps(answer), flush=True)


def _become(request: dict[str, Any], own_path: list[str]) -> None:
    """Folder, environment, streams and search path of a process that was started as asked."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for name, number in (("stdout", 1), ("stderr", 2)):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    first, *_ = request["arguments"]
    front = "" if first == "-c" else os.getcwd() if first == "-m" else os.path.dirname(first)
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [front, *given, *own_path]


def _run(arguments: list[str]) -> int:
    """What Python does with its arguments; the exit code."""
    kind, *rest = arguments
    try:
        if kind == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = arguments
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
