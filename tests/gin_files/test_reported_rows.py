"""What is reported was made by the configurations that are shipped."""

import re

import pytest

from kfsl import configurables
from kfsl.evidence.paper_row import row_name
from kfsl.evidence.registry import row_of_folder
from tests.support.gin_files import PAPERS, POLICIES, ROOT, bindings, relative

ROWS = sorted(path.parent for path in (ROOT / "results").glob("*/config.gin"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_reported_rows_are_of_the_configurations_that_are_shipped(row):
    found = row_of_folder(row.name)
    seed = re.search(r"_seed(\d+)$", row.name)
    own = found.bindings(int(seed[1]) if seed else found.seeds[0]) if found else []
    name = found.experts[0] if found and found.experts else row_name(row.name)
    (path,) = (path for path in (*PAPERS, *POLICIES) if path.stem == name)
    shipped = configurables.parse([relative(path)], own)
    reported = (row / "config.gin").read_text()
    assert any_run(bindings(reported)) == any_run(bindings(shipped))


def any_run(config):
    """The same, wherever the run lies that it begins with: that is for who trains to say."""
    return [re.sub(r"^(train.start_from = )'runs/\w+'$", r"\1'...'", line) for line in config]
