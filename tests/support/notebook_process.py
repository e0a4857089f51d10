"""Runs a notebook's cells in a process of its own.

python -m tests.support.notebook_process NOTEBOOK [MISSING]: executes the code cells in order in
one namespace, as Jupyter does, and prints what each printed, as a JSON list. With MISSING, a
package of that name is not found. Neither Jupyter nor a display is needed.
"""

import contextlib
import importlib.util
import io
import json
import sys
import warnings
from typing import Any


def main() -> None:
    path, *missing = sys.argv[1:]
    _hide(*missing)
    import matplotlib

    matplotlib.use("Agg")
    with open(path, encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = [
        _run("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"
    ]
    print(json.dumps(printed))


def _run(source: str, names: dict[str, Any]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        # What comes while modules are imported is not the notebook's.
        if "kfsl" in sys.modules:
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        exec(compile(source, "cell", "exec"), names)
    return out.getvalue()


def _hide(*packages: str) -> None:
    find = importlib.util.find_spec

    def find_others(name: str, package: str | None = None) -> Any:
        return None if name in packages else find(name, package)

    importlib.util.find_spec = find_others


if __name__ == "__main__":
    main()
