"""A mixture of prepared datasets in one store: shapes, styles, lists of classes and modes."""

import functools
import shutil

import numpy as np
import pytest
from PIL import Image

from data_pipelines import pipeline
from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.datasets import mixture
from data_pipelines.datasets.mixture_part import OF_COLOURS, STYLES, MixturePart
from data_pipelines.load_dataset import load_dataset
from data_pipelines.preparation import Preparation
from data_pipelines.samplers import mixture_episode
from tests.support.refusals import refusal

SPLITS = {"train": ["a", "c", "d"], "val": ["b", "e"], "test": ["f"]}
PARTS = "photos,drawings:inverted"


def write_part(folder, name, shape, rotations=1, images=3, seed=0, splits=SPLITS):
    """A store that `load_dataset` opens by its name, of the classes of its splits."""
    random = np.random.default_rng(seed)
    classes = sorted(c for members in splits.values() for c in members)
    turned = [f"{c}/rot{90 * t}" for c in classes for t in range(rotations)]
    names = turned if rotations > 1 else classes
    pixels = random.integers(0, 256, (len(names) * images, *shape), dtype="uint8")
    write_class_store(
        str(folder / name),
        [StoredClass(each, "all", images) for each in names],
        ((i // images, image) for i, image in enumerate(pixels)),
        image_shape=shape,
        metadata={
            "name": name, "dataset": "image_folder", "rotations": rotations, "splits": splits,
            "licence": f"licence of {name}",
        },
    )  # fmt: skip
    return ClassStore.open(folder / name)


@pytest.fixture
def folder(tmp_path):
    write_part(tmp_path, "photos", (12, 12, 3))
    write_part(tmp_path, "drawings", (6, 6, 1), seed=1)
    return tmp_path


def prepare(folder, parts=PARTS, name="mixed", size=12):
    options = mixture.parse_options(parts, size, 3, str(folder))
    return Preparation(module=mixture, path=folder / name, options=options).run()


def test_images_of_all_parts_have_one_shape_and_their_style(folder):
    prepare(folder)
    mixed, photos, drawings = (
        ClassStore.open(folder / name) for name in ("mixed", "photos", "drawings")
    )
    assert mixed.images.shape == (36, 12, 12, 3)
    np.testing.assert_array_equal(mixed.images[:18], photos.images)
    # Enlarged as Pillow does it, grey in all channels, and inverted.
    large = [
        np.asarray(Image.fromarray(image[..., 0]).resize((12, 12), Image.Resampling.LANCZOS))
        for image in drawings.images
    ]
    expected = 255 - np.repeat(np.array(large)[..., None], 3, axis=-1)
    np.testing.assert_array_equal(mixed.images[18:], expected)


def test_modes_and_lists_are_those_of_the_parts(folder):
    prepare(folder)
    data = load_dataset("mixed", data_dir=folder)
    assert {name: len(indices) for name, indices in data.splits.items()} == {
        "train": 6, "val": 4, "test": 2,
    }  # fmt: skip
    train = data.split("train")
    assert train.mode_names == ("photos", "drawings:inverted")
    assert train.modes.tolist() == [0, 0, 0, 1, 1, 1]
    assert train.class_names == tuple(
        f"{part}/{c}" for part in ("photos", "drawings:inverted") for c in "acd"
    )
    assert "licence of photos" in data.store.metadata["licence"]


def test_episodes_carry_their_mode_and_its_images(folder):
    prepare(folder)
    data = load_dataset("mixed", data_dir=folder)
    sampler = functools.partial(mixture_episode, ways=2, shots=1, queries=2)
    stream = pipeline.episodes(data, "train", sampler, count=2, meta_batch=3)
    modes = []
    for episode, _ in stream:
        assert episode["mode"].shape == (3,)
        for mode, images in zip(episode["mode"].numpy(), episode["support_images"], strict=True):
            grey = bool(np.all(images.numpy() == images.numpy()[..., :1]))
            assert grey == (mode == 1)
            modes.append(int(mode))
    assert modes in ([0, 1] * 3, [1, 0] * 3)


def test_stored_rotations_stay_side_by_side(tmp_path):
    write_part(tmp_path, "photos", (8, 8, 3))
    write_part(tmp_path, "turned", (8, 8, 1), rotations=4, seed=1)
    options = mixture.parse_options("photos,turned", 8, 3, str(tmp_path))
    reader = mixture.reader(None, tmp_path, **options)
    assert reader.metadata["mode_rotations"] == [1, 4]
    names = [entry.name for entry in reader.classes[6:10]]
    assert names == [f"turned/a/rot{turn}" for turn in (0, 90, 180, 270)]


def test_prepared_again_it_is_compared_with_its_parts(folder):
    assert "12 classes" in prepare(folder)
    assert "Was there already, verified." in prepare(folder)
    with pytest.raises(ValueError, match=r"mixed of other parts"):
        prepare(folder, "photos,drawings")
    with pytest.raises(ValueError, match=r"images are 12x12x3, not 8x8x3"):
        prepare(folder, size=8)
    shutil.rmtree(folder / "drawings")
    write_part(folder, "drawings", (6, 6, 1), seed=2)
    with pytest.raises(ValueError, match=r"mixed of other parts, or they have changed"):
        prepare(folder)


@pytest.mark.parametrize("style", STYLES)
def test_styles_change_an_image_and_always_in_the_same_way(style):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 1), dtype="uint8")
    part = MixturePart.parse(f"letters:{style}")
    one, again, other = (part.image(image, (9, 7, 3), number) for number in (4, 4, 5))
    assert one.dtype == np.uint8
    assert one.shape == (9, 7, 3)
    np.testing.assert_array_equal(one, again)
    assert np.any(one != image)
    assert bool(np.any(one != other)) == (style != "inverted")
    # What was darker stays darker, or the other way round: the drawing is still there.
    pixels, drawn = image[..., 0].astype(float).ravel(), one.mean(-1).ravel()
    assert abs(np.corrcoef(pixels, drawn)[0, 1]) > 0.6


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (None, r"two parts or more.*Received --parts=\."),
        ("photos", r"two parts or more"),
        ("photos,photos", r"names 'photos' twice"),
        ("photos,drawings:green", r"no style 'green'; there are inverted"),
        ("photos,:inverted", r"a part is NAME"),
    ],
)
def test_parts_that_make_no_mixture_are_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        mixture.parse_options(parts)


@pytest.mark.parametrize("style", OF_COLOURS)
def test_colours_in_grey_images_are_refused(style):
    with pytest.raises(ValueError, match=rf"drawings:{style}: {style} images need 3 channels"):
        mixture.parse_options(f"photos,drawings:{style}", channels=1)
    parts = mixture.parse_options("photos,drawings:inverted", 12, channels=1)["parts"]
    # The list is complete: what is left keeps an image's one channel.
    for each in set(STYLES) - set(OF_COLOURS):
        assert STYLES[each](np.zeros((4, 4, 1), "uint8"), 0).shape == (4, 4, 1)
    assert [part.name for part in parts] == ["photos", "drawings"]


def test_a_part_that_is_a_mixture_itself_is_refused(folder):
    prepare(folder)
    write_part(folder, "letters", (6, 6, 1), seed=2)
    message = r"mixed is a mixture itself, of photos, drawings:inverted\. Name its parts"
    with pytest.raises(ValueError, match=message):
        prepare(folder, "letters,mixed", "twice")
    with pytest.raises(ValueError, match=r"sinusoids has functions and no images"):
        prepare(folder, "letters,sinusoids", "waves")
    assert not (folder / "twice").exists()
    assert not (folder / "waves").exists()


def test_parts_that_are_not_prepared_are_told_with_their_command(folder):
    with pytest.raises(FileNotFoundError, match=r"'omniglot' is not prepared.*--dataset=omniglot"):
        prepare(folder, "photos,omniglot")


def test_a_mixture_has_one_division(folder):
    prepare(folder)
    with pytest.raises(ValueError, match=r"divided as its parts were"):
        load_dataset("mixed", split="easy", data_dir=folder)


def test_flags_of_other_datasets_are_refused(tmp_path):
    said = refusal(tmp_path, "data_pipelines.prepare", "--dataset=omniglot", "--parts=a,b")
    assert "--parts is for --dataset=mixture only" in said
    said = refusal(tmp_path, "data_pipelines.prepare", "--dataset=mixture", "--split_ratio=0.5,0.5")
    assert "--split_ratio is for --dataset=image_folder only" in said


def test_one_store_divided_in_two_ways_is_told_of(tmp_path):
    write_part(tmp_path, "photos", (8, 8, 1))
    other = {"train": ["a", "b", "c"], "val": ["d", "e"], "test": ["f"]}
    write_part(tmp_path, "again", (8, 8, 1), splits=other)
    message = prepare(tmp_path, "photos,again:inverted", size=8)
    assert "photos and again:inverted have the same images, and 1 classes, such as 'd'" in message
    assert "in train of the one and in val of the other" in message
    assert "same images" not in prepare(tmp_path, "photos,photos:inverted", size=8, name="alike")
