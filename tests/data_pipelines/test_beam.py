"""Datasets whose TFRecords Apache Beam writes."""

import functools
import importlib.util
import os

import numpy as np
import pytest

from data_pipelines.class_store import ClassStore
from data_pipelines.datasets.beam_runner import BeamRunner
from data_pipelines.datasets.dataset_info import DatasetInfo
from data_pipelines.datasets.glyphs import INFO
from data_pipelines.datasets.labelled_builder import labelled_builder
from data_pipelines.datasets.tfds_builders import build, read_labelled

with_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam needs older versions of protobuf and Pillow than those that kfsl is "
    "tested with: make test-beam runs these tests in an environment of their own",
)
#: Of protobuf 6, which Beam needs, where TensorFlow Datasets restores what it wrote.
OLDER = "ignore:label\\(\\) is deprecated:DeprecationWarning"
LISTS = {"train": ["a", "b", "c"], "test": ["d"]}
TOLD = DatasetInfo(
    "made", "Made images.", "none", "none", "none", "https://example.org", (6, 6, 3), 4, 16
)


def images(name):
    """Four images of a class; cut off from this module, which Beam's processes do not have."""
    rng = np.random.default_rng(ord(name))
    for number in range(4):
        yield f"{name}{number}", rng.integers(0, 256, (6, 6, 3), "uint8")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dataset=omniglot", "--beam_runner=direct"], "glyphs and mini_imagenet only"),
        (["--dataset=glyphs", "--beam_options=--x=1"], "--beam_options is for --beam_runner"),
    ],
)
def test_flags_that_mean_nothing_are_refused(run, flags, words):
    code, _, error = run(*flags)
    assert (code, len(error.splitlines())) == (2, 1)
    assert words in error


def test_without_beam_one_line_says_how_to_get_it(run, stores, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, error = run("--dataset=glyphs", "--beam_runner=direct")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "pip install 'kfsl[beam]'" in error
    assert not os.listdir(stores)


@with_beam
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [("Nonesuch", None, "no such runner"), ("direct", "--no_such_option=2", "knows only none")],
)
def test_what_beam_does_not_know_is_refused(name, options, words):
    with pytest.raises(ValueError, match=words):
        BeamRunner.parse(name, options)


@with_beam
@pytest.mark.filterwarnings(OLDER)
@pytest.mark.parametrize("options", [None, "--direct_num_workers=2"])
def test_beam_writes_what_one_process_writes(tmp_path, options):
    written = []
    for name, beam in (("alone", None), ("beam", BeamRunner.parse("direct", options))):
        make = functools.partial(labelled_builder, "Made", TOLD, LISTS, images, tmp_path / name)
        build(make(on_beam=beam is not None), tmp_path / name, beam)
        written.append(list(read_labelled(make())))
    alone, by_beam = written
    assert len(alone) == 16
    assert [name for name, _ in by_beam] == [name for name, _ in alone]
    np.testing.assert_array_equal([image for _, image in by_beam], [image for _, image in alone])


@with_beam
@pytest.mark.filterwarnings(OLDER)
def test_the_command_makes_the_store_that_it_makes_alone(run, stores):
    code, output, error = run("--dataset=glyphs", "--beam_runner=direct")
    assert code == 0, error
    assert INFO.checksum[:16] in output
    assert ClassStore.open(stores / "glyphs").fingerprint == INFO.checksum
