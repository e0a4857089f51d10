"""Files written whole or not at all, and read although somebody edited them."""

import os

import pytest

from kfsl.runs.files import read_json, write_text
from kfsl.runs.run_directory import RunDirectory


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_text(str(path), "a name \udcff that is not UTF-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_text(str(tmp_path / "folder"), "text")
    assert sorted(os.listdir(tmp_path)) == ["folder", "notes.txt"]
    assert path.read_text() == "before"


@pytest.mark.parametrize("content", [b'{"ste', b"[]", b"null", b"4", b"\xff\xfe{"])
def test_a_json_file_that_holds_no_object_is_named(tmp_path, content):
    path = tmp_path / "metadata.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"metadata\.json' is damaged .*; restore it from a copy"):
        read_json(str(path))
    with pytest.raises(ValueError, match=r"metadata\.json' is damaged .*; export again\.$"):
        read_json(str(path), "export again")
    (tmp_path / "config.gin").write_text("WAYS = 5\n")
    with pytest.raises(ValueError, match=r"metadata\.json' is damaged"):
        _ = RunDirectory(str(tmp_path)).metadata


def test_a_run_directory_that_an_editor_marked(tmp_path):
    run = RunDirectory(str(tmp_path))
    (tmp_path / "config.gin").write_text("WAYS = 5\n", encoding="utf-8-sig")
    (tmp_path / "metadata.json").write_text('{"steps": 4}', encoding="utf-8-sig")
    assert (run.config, run.metadata) == ("WAYS = 5\n", {"steps": 4})


@pytest.mark.parametrize(
    ("old", "new", "operative", "grows"),
    [
        ("train.epochs = 2", "train.epochs = 3", "", True),
        ("train.epochs = 2\nWAYS = 3", "WAYS = 3\ntrain.epochs = 3", "", True),
        ("WAYS = 3", "WAYS = 3\ntrain.epochs = 300", "train.epochs = 100", True),
        ("WAYS = 3", "WAYS = 3\ntrain.epochs = 30", "train.epochs = 100", False),
        ("WAYS = 3", "WAYS = 3\ntrain.epochs = 300", "", False),
        ("train.epochs = 3", "train.epochs = 2", "", False),
        ("train.epochs = 2\nWAYS = 3", "train.epochs = 3\nWAYS = 4", "", False),
    ],
)
def test_epochs_may_grow_and_nothing_else(tmp_path, old, new, operative, grows):
    run = RunDirectory(str(tmp_path / "run"))
    run.start(old)
    run.write_operative(operative)
    if not grows:
        with pytest.raises(ValueError, match="another configuration"):
            run.start(new)
        assert run.config == old
        return
    run.start(new)
    assert run.config == new
    assert len(run.metadata["epochs_grown"]) == 1
