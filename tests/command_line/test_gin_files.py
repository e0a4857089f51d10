"""Gin files are found, their includes too, and what is wrong with them is told."""

from pathlib import Path

import pytest

from kfsl import configurables
from kfsl.command_line import gin_files

ROOT = Path(__file__).parents[2]


def test_files_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gin_files.find("gin/stanet.gin") == str(ROOT / "gin/stanet.gin")
    (tmp_path / "gin").mkdir()
    (tmp_path / "gin/stanet.gin").write_text("WAYS = 2")
    assert gin_files.find("gin/stanet.gin") == "gin/stanet.gin"


def test_the_package_gin_beside_an_installed_kfsl_is_none_of_its_files(tmp_path, monkeypatch):
    for name in ("gin/config.py", "kfsl/configs/stanet.gin", "kfsl/configs/data/cifar100.gin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(gin_files, "_CHECKOUT", str(tmp_path))
    monkeypatch.setattr(gin_files, "_PACKAGE", str(tmp_path / "kfsl"))
    assert gin_files.shipped() == ["gin/stanet.gin"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("include 'gin/nothing.gin'", "nothing.gin"),
        ("WAYS = = 5", "loop.gin, line 1: "),
        ("WAYS = 5\nSIZES = (5, 10", r"loop.gin, line \d: .*(EOF|never closed)"),
        ('TEXT = """5', r"loop.gin, line \d: .*(EOF|unterminated)"),
        ("include 'loop.gin'", "includes itself"),
    ],
)
def test_what_the_check_finds(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.gin").write_text(text)
    with pytest.raises(gin_files.GinFileError, match=message):
        gin_files.check(["loop.gin"])


@pytest.mark.parametrize("text", ["include 'x.gin'", "WAYS = 2\ninclude 'gin/maml.gin'", "", "# a"])
def test_what_is_no_binding_is_refused(text):
    message = r"--gin_param takes a binding such as train\.epochs=3; received .*--gin_file\.$"
    with pytest.raises(gin_files.GinFileError, match=message):
        gin_files.check([], [text])


def test_a_binding_and_the_module_that_it_needs():
    gin_files.check([], ["WAYS = 2", "import my_module", "train:\n  epochs = 3\n"])


def test_an_included_file_is_looked_for_beside_the_one_that_includes_it(tmp_path, monkeypatch):
    """As where kfsl is a wheel: the including file lies in no checkout, and the user elsewhere."""
    (tmp_path / "own/data").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "own/a.gin").write_text("include 'data/glyphs.gin'\ninclude 'gin/maml.gin'\n")
    (tmp_path / "own/data/glyphs.gin").write_text("include 'deeper.gin'\nMINE = 1\n")
    (tmp_path / "own/data/deeper.gin").write_text("DEEPER = 2\n")
    path = str(tmp_path / "own/a.gin")
    gin_files.check([path])
    text = gin_files.text(path)
    assert "MINE = 1" in text
    assert "DEEPER = 2" in text
    assert "Experiment.learner = @MAML()" in text
    (tmp_path / "own/data/deeper.gin").unlink()
    with pytest.raises(gin_files.GinFileError, match=r"looked beside .*own/data/glyphs.gin, which"):
        gin_files.check([path])


def test_gin_files_may_begin_with_a_byte_order_mark(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "marked.gin").write_text("WAYS = 5\n", encoding="utf-8-sig")
    (tmp_path / "main.gin").write_text("include 'marked.gin'\n", encoding="utf-8-sig")
    gin_files.check(["main.gin"])
    assert "WAYS = 5" in configurables.parse(["main.gin"])


def test_gin_files_of_another_encoding_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.gin").write_text("WAYS = 5\n", encoding="utf-16")
    with pytest.raises(gin_files.GinFileError, match=r"wide.gin is not UTF-8 .*Save it as UTF-8"):
        gin_files.check(["wide.gin"])


def test_a_run_has_the_file_of_its_name():
    assert gin_files.of_run("runs/dense_classification") == "gin/dense_classification.gin"
    paper = "omniglot_maml_5way_1shot"
    assert gin_files.of_run(f"elsewhere/{paper}/") == f"gin/papers/maml/{paper}.gin"
    assert gin_files.of_run("runs/mine") is None
