"""Runs commands with bad input, each in a fork of a process that cannot import TensorFlow.

python -m tests.support.refusals_process: reads lines, `{"module", "arguments", "folder",
"environment"}` as JSON, and answers each with one: `{"code", "stdout", "stderr"}`. Python and the
commands are imported once, so that a refusal takes milliseconds; a command runs in a fork, so
that it finds flags and settings as new as in a process of its own.
"""

import importlib
import io
import json
import os
import sys
import tempfile
from typing import Any

LIGHT = ("train", "evaluate", "export", "predict", "analyze", "show", "results", "demo")


def main() -> None:
    sys.modules["tensorflow"] = sys.modules["keras"] = None
    for name in LIGHT:
        importlib.import_module(f"kfsl.{name}")
    importlib.import_module("data_pipelines.prepare")
    for line in sys.stdin:
        print(json.dumps(_answer(**json.loads(line))), flush=True)


def _answer(module: str, arguments: list[str], folder: str, environment: dict) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _run(module, arguments, folder, environment)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="surrogateescape"))
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "stdout": texts[0], "stderr": texts[1]}


def _run(module: str, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    code = 70
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path.insert(0, folder)
        sys.argv = [f"{module.split('.')[-1]}.py", *arguments]
        sys.stdin = io.StringIO()
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding=environment.get("PYTHONIOENCODING", "utf-8"))
        importlib.import_module(module).main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        # As Python ends a process: with its traceback, which is no one-line refusal.
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
