"""TFDS builder of the `mini_imagenet` dataset."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from data_pipelines.datasets.image_files import read_image
from data_pipelines.datasets.mini_imagenet import INFO, split_lists


class MiniImagenet(tfds.core.GeneratorBasedBuilder):
    """Reads image files; splits `train`, `val` and `test` are the 64 / 16 / 20 classes.

    Args:
        files: mapping from WordNet id to image files, needed while the TFRecords are not written.
        **kwargs: arguments of `tfds.core.GeneratorBasedBuilder`.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, files: Mapping[str, Sequence[Path]] | None = None, **kwargs: Any):
        self._files = files or {}
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        names = [name for classes in split_lists().values() for name in classes]
        return tfds.core.DatasetInfo(
            builder=self,
            description=INFO.description,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=INFO.image_shape, encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=sorted(names)),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=INFO.homepage,
            citation=INFO.citation,
            license=INFO.licence,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in split_lists()}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        items = [(name, file) for name in split_lists()[split] for file in self._files[name]]
        for name, file in tqdm(items, desc=f"reading {split}", unit="image", file=sys.stderr):
            image = read_image(file, INFO.image_shape)
            yield f"{name}/{file.name}", {"image": image, "label": name}
