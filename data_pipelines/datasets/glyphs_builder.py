"""TFDS builder of the `glyphs` dataset."""

import sys
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from data_pipelines.datasets.glyph_drawings import draw_character
from data_pipelines.datasets.glyph_fonts import character_of
from data_pipelines.datasets.glyphs import INFO, split_lists


class Glyphs(tfds.core.GeneratorBasedBuilder):
    """Draws the characters; splits `train`, `val` and `test` share no character."""

    VERSION = tfds.core.Version("1.0.0")

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
        classes = split_lists()[split]
        for name in tqdm(classes, desc=f"drawing {split}", unit="character", file=sys.stderr):
            for i, image in enumerate(draw_character(character_of(name))):
                yield f"{name}_{i:02d}", {"image": image, "label": name}
