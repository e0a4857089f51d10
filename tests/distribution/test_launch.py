"""The launch of docs/distributed.md, as it is written there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.test_workers import free_addresses

ROOT = Path(__file__).parents[2]


def launch():
    """The shell script, with ports that are free and a training of two steps."""
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    (script,) = (text for text in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "wait" in text)
    for port, free in zip((23001, 23002), free_addresses(2), strict=True):
        assert f"localhost:{port}" in script
        script = script.replace(f"localhost:{port}", free)
    tiny = ("train.epochs = 1", "train.steps_per_epoch = 2", "train.validation_episodes = 4")
    options = " ".join(f'--gin_param="{binding}"' for binding in tiny)
    assert script.count(" &\n") == 1
    return script.replace(" &\n", f" {options} &\n")


@pytest.mark.long
def test_two_processes_train_one_run(glyphs_store, tmp_path):
    python = os.path.dirname(sys.executable)
    environment = {
        **os.environ,
        "KFSL_STORE_DIR": str(glyphs_store),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{python}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-c", launch()], env=environment, cwd=tmp_path, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Trained 2 steps, validation accuracy") == 1
    run = tmp_path / "runs" / "two_workers"
    (line,) = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    assert line["step"] == 2
    assert (run / "best" / "learner.keras").exists()
