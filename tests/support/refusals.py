"""Commands given bad input, in a process in which TensorFlow cannot be imported."""

import os
import pathlib
import subprocess
import sys

CHECKOUT = str(pathlib.Path(__file__).parents[2])


def refusal(folder: pathlib.Path, module: str, *arguments: str) -> str:
    """The one line with which a command refuses bad input, before it imports TensorFlow."""
    (folder / "tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')")
    paths = [str(folder), CHECKOUT, os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        cwd=folder,
    )
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith(f"kfsl {module.removeprefix('kfsl.')}: ")
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr
