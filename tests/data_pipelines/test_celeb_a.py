"""Reading CelebA from its aligned images and from TFDS."""

import numpy as np
import pytest

from data_pipelines.datasets import celeb_a
from data_pipelines.load_dataset import load_dataset
from tests.support.image_trees import first_pixels, write_image

PARTS = {"000001.jpg": 0, "000002.jpg": 0, "000003.jpg": 1, "000004.jpg": 2, "000005.jpg": 0}


def write_faces(source, folder="img_align_celeba", partition="list_eval_partition.txt"):
    for i, name in enumerate(PARTS):
        write_image(source / folder / name, 40 * i, (178, 218))
    lines = [f"{name} {part}" for name, part in PARTS.items()]
    (source / partition).write_text("\n".join(lines) + "\n")
    return source


@pytest.mark.parametrize("partition", ["list_eval_partition.txt", "Eval/list_eval_partition.txt"])
def test_folders(run, stores, tmp_path, partition):
    source = tmp_path / "source"
    (source / "Eval").mkdir(parents=True)
    write_faces(source, partition=partition)
    code, out, error = run("--dataset=celeb_a", f"--source={source}")
    assert code == 0, error
    assert "celeb_a: 3 classes in 1 superclasses, 5 images of 32x32x3" in out
    dataset = load_dataset("celeb_a", data_dir=stores)
    assert [dataset.split(part).num_images for part in ("train", "val", "test")] == [3, 1, 1]
    assert first_pixels(dataset.store).tolist() == [0, 40, 160, 80, 120]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no list_eval_partition.txt; expected img_align_celeba"),
        ("000001.jpg 3\n", "line 1: expected a file name and 0, 1 or 2; received '000001.jpg 3'"),
        ("000001.jpg 0\n", "does not say which part 000002.jpg belongs to"),
        ("".join(f"{name} 0\n" for name in PARTS), "has no image of the part 'val'"),
    ],
    ids=["missing", "malformed", "unknown file", "empty part"],
)
def test_a_bad_partition_is_one_line(run, stores, tmp_path, text, message):
    source = write_faces(tmp_path / "source")
    path = source / "list_eval_partition.txt"
    path.unlink() if text is None else path.write_text(text)
    code, _, error = run("--dataset=celeb_a", f"--source={source}")
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert list(stores.iterdir()) == []


def test_tfds(run, stores, tmp_path, monkeypatch):
    monkeypatch.setattr(celeb_a, "stock_builder", lambda *_: faces_builder(tmp_path / "x"))
    code, out, error = run("--dataset=celeb_a")
    assert code == 0, error
    assert "5 images of 32x32x3" in out
    store = load_dataset("celeb_a", data_dir=stores).store
    assert store.class_names == ("train", "val", "test")
    assert store.counts.tolist() == [2, 1, 2]
    assert sorted(first_pixels(store)[:2].tolist()) == [0, 1]


def faces_builder(folder):
    """As `celeb_a` of TFDS: three splits, attributes and landmarks that nobody needs."""
    import tensorflow_datasets as tfds

    class CelebA(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("2.1.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(218, 178, 3)),
                "attributes": {"Smiling": np.bool_},
                "landmarks": {"nose_x": np.int64},
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            parts = {"train": (0, 2), "validation": (2, 3), "test": (3, 5)}
            return {name: self._examples(range(*bounds)) for name, bounds in parts.items()}

        _generate_examples = None

        def _examples(self, numbers):
            for i in numbers:
                image = np.full((218, 178, 3), i, "uint8")
                yield i, {
                    "image": image, "attributes": {"Smiling": True}, "landmarks": {"nose_x": 1},
                }  # fmt: skip

    builder = CelebA(data_dir=folder, file_format="tfrecord")
    builder.download_and_prepare()
    return builder
