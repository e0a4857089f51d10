"""The embedded dataset: its characters, its drawings, and the bytes of its store."""

import collections
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data_pipelines.class_store import ClassStore
from data_pipelines.datasets import glyphs
from data_pipelines.datasets.glyph_drawings import draw_character
from data_pipelines.datasets.glyph_fonts import (
    FACES,
    bitmap,
    candidate_faces,
    character_of,
    class_name,
    distinct_characters,
    is_candidate,
    look_alikes,
)
from data_pipelines.load_dataset import load_dataset


@pytest.fixture(scope="module")
def characters():
    names = [name for members in glyphs.split_lists().values() for name in members]
    return sorted(character_of(name) for name in names)


def test_the_lists_follow_the_rule(characters):
    assert tuple(characters) == distinct_characters()
    names = sorted(class_name(character) for character in characters)
    assert glyphs.divide(names) == glyphs.split_lists()


def test_characters_are_plain_and_in_four_faces(characters):
    faces = candidate_faces()
    assert all(is_candidate(character) for character in characters)
    assert min(len(faces[character]) for character in characters) >= 4
    # Composed, compatibility, modifier and punctuation characters.
    assert not any(is_candidate(character) for character in "é½ﬁʹ!")
    assert all(character_of(class_name(character)) == character for character in characters)
    assert len({class_name(character).split("/")[0] for character in characters}) == 12


def test_no_two_characters_share_a_bitmap_in_any_face(characters):
    faces = candidate_faces()
    owners = collections.defaultdict(set)
    for face in FACES:
        standing = [character for character in characters if face in faces[character]]
        images = [bitmap(character, face) for character in standing]
        for character, image in zip(standing, images, strict=True):
            owners[image.tobytes()].add(character)
        if standing:
            assert look_alikes(np.stack(images).reshape(len(images), -1)).size == 0
    assert all(len(sharing) == 1 for sharing in owners.values())
    assert bytes(28 * 28) not in owners


def test_look_alikes_finds_what_it_should():
    images = np.zeros((4, 100), np.uint8)
    images[1] = 12
    images[2] = 11
    images[3, 0] = 119
    assert look_alikes(images).tolist() == [[0, 2], [0, 3], [1, 2]]


def test_drawings_vary_but_not_between_calls():
    drawings = draw_character("A")
    assert drawings.shape == (20, 28, 28, 1)
    assert drawings.dtype == np.uint8
    assert len({drawing.tobytes() for drawing in drawings}) == 20
    np.testing.assert_array_equal(drawings, draw_character("A"))
    assert (drawings != draw_character("A", seed=1)).any()
    # Ink on white paper: the corners are paper, and some ink is fully black.
    assert (drawings[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert drawings.min() < 64


def processor_seconds() -> float:
    """Time that finished child processes were computing, whatever else the machine does."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.long
def test_prepared_killed_and_prepared_again(tmp_path):
    command = [sys.executable, "-m", "data_pipelines.prepare", "--dataset=glyphs"]
    command.append(f"--data_dir={tmp_path}")
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".glyphs.partial/tfds/glyphs/*")):
        assert time.monotonic() < deadline
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "glyphs").exists()

    before = processor_seconds()
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    # Drawing, writing and reading back; 75 seconds on a slow processor.
    assert processor_seconds() - before < 120
    assert "1,413 classes in 12 superclasses, 28,260 images" in second.stdout
    # Standard error is no terminal here: no bar fills it.
    assert "%|" not in second.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["glyphs"]

    store = ClassStore.open(tmp_path / "glyphs")
    assert store.compute_fingerprint() == glyphs.INFO.checksum
    index = store.class_names.index("Greek/U+03B2")
    drawn = {image.tobytes() for image in draw_character("β")}
    assert {image.tobytes() for image in store.class_images(index)} == drawn
    train = load_dataset("glyphs", data_dir=tmp_path).split("train")
    assert train.num_classes == 904
    assert train.counts.tolist() == [20] * 904
