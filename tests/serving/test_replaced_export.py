"""A SavedModel takes its place whole, and what lay there is lost to no failure."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from kfsl.serving import export as serving
from tests.support.exported_model import SHAPE, description_of, prototypical_network

HOST = re.sub(r"[^\w.-]", "_", socket.gethostname())


@pytest.fixture(scope="module")
def learner():
    return prototypical_network()


@pytest.fixture
def earlier(fast_weights, tmp_path):
    """An earlier export, of another learner."""
    return shutil.copytree(fast_weights, str(tmp_path / "model"))


def test_an_export_replaces_another(learner, earlier, tmp_path):
    serving.export(learner, earlier, image_shape=SHAPE, any_size=False)
    assert description_of(earlier)["learner"] == "PrototypicalNetwork"
    assert description_of(earlier)["image"]["shape"] == [16, 16, 1]
    assert "prototypes" in tf.saved_model.load(earlier).signatures["adapt"].structured_outputs
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    "step",
    [
        "saved_model.tf.saved_model.save",
        "whole_folder.write_text",
        "export.difference_from_learner",
    ],
)
def test_a_failure_leaves_the_earlier_export(one_step, earlier, tmp_path, monkeypatch, step):
    before = snapshot(earlier)

    def full(*arguments, **named):
        raise OSError("No space left on device")

    monkeypatch.setattr(f"kfsl.serving.{step}", full)
    with pytest.raises(OSError, match="No space left"):
        serving.export(one_step, earlier, image_shape=SHAPE)
    assert snapshot(earlier) == before
    assert os.listdir(tmp_path) == ["model"]


def test_a_failed_exchange_puts_the_earlier_export_back(one_step, earlier, tmp_path, monkeypatch):
    before, replace = snapshot(earlier), os.replace

    def refuse_the_new(source, target):
        if target == earlier and not source.endswith(".old"):
            raise OSError("Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_new)
    with pytest.raises(OSError, match="Permission denied"):
        serving.export(one_step, earlier, image_shape=SHAPE)
    monkeypatch.undo()
    assert snapshot(earlier) == before
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("process", ["its own", "another"])
def test_what_a_killed_export_left_is_no_hindrance(learner, earlier, tmp_path, process):
    number = os.getpid() if process == "its own" else ended_process()
    for ending in ("", ".old"):
        left = tmp_path / f".model.writing-{HOST}-{number}{ending}"
        left.mkdir()
        (left / "part.bin").write_bytes(b"half")
    others = [f"{HOST}-{os.getppid()}", f"elsewhere-{number}"]
    for other in others:
        (tmp_path / f".model.writing-{other}").mkdir()
    serving.export(learner, earlier, image_shape=SHAPE, any_size=False)
    assert description_of(earlier)["learner"] == "PrototypicalNetwork"
    assert set(os.listdir(tmp_path)) == {"model", *(f".model.writing-{each}" for each in others)}


def test_an_export_that_was_killed_between_two_renames_lost_nothing(
    learner, earlier, tmp_path, monkeypatch
):
    before = snapshot(earlier)
    os.replace(earlier, tmp_path / f".model.writing-{HOST}-{ended_process()}.old")

    def full(*arguments, **named):
        raise OSError("No space left on device")

    monkeypatch.setattr("kfsl.serving.whole_folder.write_text", full)
    with pytest.raises(OSError, match="No space left"):
        serving.export(learner, earlier, image_shape=SHAPE)
    assert snapshot(earlier) == before
    assert os.listdir(tmp_path) == ["model"]


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_link_names_is_replaced(learner, earlier, tmp_path):
    link = tmp_path / "current"
    link.symlink_to("model")
    serving.export(learner, str(link), image_shape=SHAPE, any_size=False)
    assert link.is_symlink()
    assert description_of(earlier)["learner"] == "PrototypicalNetwork"
    assert sorted(os.listdir(tmp_path)) == ["current", "model"]


def test_the_quicker_of_two_exports_is_replaced(learner, fast_weights, tmp_path, monkeypatch):
    path, replace = str(tmp_path / "model"), os.replace

    def replace_after_another(source, target):
        if target == path:
            monkeypatch.setattr(os, "replace", replace)
            shutil.copytree(fast_weights, path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_after_another)
    serving.export(learner, path, image_shape=SHAPE, any_size=False)
    assert description_of(path)["learner"] == "PrototypicalNetwork"
    assert os.listdir(tmp_path) == ["model"]


def snapshot(path):
    files = [file for file in Path(path).rglob("*") if file.is_file()]
    return {str(file): file.read_bytes() for file in files}


def test_what_is_not_an_export_is_not_replaced(learner, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="kfsl did not export"):
        serving.export(learner, str(tmp_path), image_shape=SHAPE)
    assert os.listdir(tmp_path) == ["thesis.txt"]


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "x/variables; No space left on device"),
        OSError(28, "No space left on device"),
    ],
    ids=["TensorFlow", "Python"],
)
def test_a_full_disk_is_told_with_its_folder(learner, tmp_path, monkeypatch, error):
    def full(*arguments, **named):
        raise error

    monkeypatch.setattr(tf.saved_model, "save", full)
    path = str(tmp_path / "model")
    with pytest.raises(OSError, match=r"No space left.*Make space, or name another") as told:
        serving.export(learner, path, image_shape=SHAPE)
    assert told.value.errno == 28
    assert repr(path) in str(told.value)
    assert "\n" not in str(told.value)
    assert os.listdir(tmp_path) == []
