"""What a SavedModel says in a process that can import neither kfsl nor Keras."""

import atexit
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

SAVED_MODEL_PROCESS = os.path.join(os.path.dirname(__file__), "saved_model_process.py")


def served_apart(model: Path, arrays: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """`probabilities`, and `with_steps` if `arrays` have `steps`, of one episode."""
    np.savez(folder / "episode.npz", **arrays)
    process = _process()
    process.stdin.write(json.dumps([str(model), str(folder / "episode.npz")]) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the process without kfsl ended"
    error = json.loads(answer)
    assert not error, error
    found = folder.glob("episode.*.npy")
    return {path.name.split(".")[1]: np.load(path) for path in found}


def run_apart(folder: Path, *arguments: str) -> str:
    """What a process of its own prints in `folder`, given a script and its arguments."""
    command = [sys.executable, SAVED_MODEL_PROCESS, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def _process() -> subprocess.Popen:
    """One for all tests of a worker: importing TensorFlow takes longer than most models."""
    process = subprocess.Popen(
        [sys.executable, SAVED_MODEL_PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(process.kill)
    return process
