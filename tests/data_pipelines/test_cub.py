"""Reading CUB-200-2011 from its archive's folders and from TFDS."""

from dataclasses import replace

import numpy as np
import pytest

from data_pipelines.datasets import cub
from data_pipelines.load_dataset import load_dataset
from tests.support.image_trees import first_pixels, write_image


@pytest.fixture
def small_cub(monkeypatch):
    monkeypatch.setattr(cub, "INFO", replace(cub.INFO, num_images=201))


def write_birds(root):
    """One picture of each species, two of the first; none is square."""
    for i, name in enumerate(cub.species()):
        write_image(root / name / f"{name[4:]}_0001_1.jpg", i, (100, 60))
    first = cub.species()[0]
    write_image(root / first / f"{first[4:]}_0002_2.jpg", 250, (100, 60))
    return root


@pytest.mark.parametrize("layout", ["CUB_200_2011/images", "images", ""])
def test_folders_in_each_layout(run, stores, tmp_path, small_cub, layout):
    source = tmp_path / "source"
    write_birds(source / layout)
    code, out, error = run("--dataset=cub", f"--source={source}")
    assert code == 0, error
    assert "cub: 200 classes in 1 superclasses, 201 images of 84x84x3" in out
    dataset = load_dataset("cub", "mmaml", data_dir=stores)
    assert first_pixels(dataset.store).tolist() == [0, 250, *range(1, 200)]
    assert dataset.split("test").num_classes == 30


def test_a_missing_species_is_named(run, stores, tmp_path, small_cub):
    source = write_birds(tmp_path / "source")
    (source / "200.Common_Yellowthroat").rename(tmp_path / "away")
    code, _, error = run("--dataset=cub", f"--source={source}")
    assert code == 2
    assert "lacks 1 of the 200 species, for example 200.Common_Yellowthroat" in error
    assert list(stores.iterdir()) == []


@pytest.mark.usefixtures("small_cub")
def test_tfds(run, stores, tmp_path, monkeypatch):
    """Pictures of any size, labels without names, and masks that nobody needs."""
    monkeypatch.setattr(cub, "stock_builder", lambda *_: birds_builder(tmp_path / "tfds"))
    code, out, error = run("--dataset=cub")
    assert code == 0, error
    assert "201 images of 84x84x3" in out
    store = load_dataset("cub", data_dir=stores).store
    assert store.class_names == tuple(cub.species())
    counts = np.ones(200)
    counts[0] = 2
    np.testing.assert_array_equal(store.counts, counts)
    values = np.sort(first_pixels(store)[:2]).tolist() + first_pixels(store)[2:].tolist()
    assert values == [0, 250, *range(1, 200)]


def birds_builder(folder):
    """As `caltech_birds2011`, with 150 pictures in `train` and the others in `test`."""
    import tensorflow_datasets as tfds

    class CaltechBirds2011(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("0.2.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(),
                "label": tfds.features.ClassLabel(num_classes=200),
                "segmentation_mask": tfds.features.Image(shape=(None, None, 1)),
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._examples(range(150)), "test": self._examples(range(150, 201))}

        _generate_examples = None

        def _examples(self, numbers):
            for i in numbers:
                value, label = (250, 0) if i == 200 else (i, i)
                yield (
                    i,
                    {
                        "image": np.full((60, 100 + i, 3), value, "uint8"),
                        "label": label,
                        "segmentation_mask": np.zeros((60, 100 + i, 1), "uint8"),
                    },
                )

    builder = CaltechBirds2011(data_dir=folder, file_format="tfrecord")
    builder.download_and_prepare()
    return builder
