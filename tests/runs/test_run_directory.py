"""Folders that a run may begin in."""

import pytest

from kfsl.runs.run_directory import RunDirectory, RunDirectoryError


@pytest.mark.parametrize("name", ["maml[5w]", "what?", "best*"])
def test_a_name_that_tensorflow_takes_for_a_pattern(name, tmp_path):
    """In such a folder no checkpoint is found, and none deleted."""
    run = RunDirectory(str(tmp_path / name))
    with pytest.raises(RunDirectoryError, match=r"takes for a pattern .* another --run_dir"):
        run.start("WAYS = 5\n")
    assert not (tmp_path / name).exists()
