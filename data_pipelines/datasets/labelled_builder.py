"""TFDS builders of datasets that kfsl makes itself: an image and the name of its class."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from data_pipelines.datasets.dataset_info import DatasetInfo

#: Class name -> its examples: a key that no other example has, and the image or what makes it.
Examples = Callable[[str], Iterable[tuple[str, Any]]]


def labelled_builder(
    name: str,
    info: DatasetInfo,
    lists: Mapping[str, Sequence[str]],
    examples: Examples,
    data_dir: Path,
    on_beam: bool = False,
) -> tfds.core.GeneratorBasedBuilder:
    """A builder whose splits hold the images of the classes that the lists give them.

    Args:
        name: str. Class name of the builder; TFDS calls the dataset by its snake case.
        info: `DatasetInfo`.
        lists: mapping from split name to class names.
        examples: function of a class name, called while the TFRecords are written.
        data_dir: `pathlib.Path`. Where they are written.
        on_beam: bool. Whether Apache Beam is to call `examples`, in processes of its own.
            Defaults to `False`.

    Returns:
        TFDS builder.
    """
    members = {"VERSION": tfds.core.Version("1.0.0"), "__module__": __name__}
    # Registered, the class could not be made twice: once to write, once to read.
    builder = type(name, (_LabelledBuilder,), members, skip_registration=True)
    return builder(
        dataset_info=info,
        lists=lists,
        examples=examples,
        on_beam=on_beam,
        data_dir=data_dir,
        file_format="tfrecord",
    )


class _LabelledBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        dataset_info: DatasetInfo,
        lists: Mapping[str, Sequence[str]],
        examples: Examples,
        on_beam: bool,
        **kwargs: Any,
    ):
        self._about, self._lists = dataset_info, lists
        self._examples, self._on_beam = examples, on_beam
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        about = self._about
        names = sorted(name for classes in self._lists.values() for name in classes)
        return tfds.core.DatasetInfo(
            builder=self,
            description=about.description,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=about.image_shape, encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=names),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=about.homepage,
            citation=about.citation,
            license=about.licence,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        generate = self._generate_on_beam if self._on_beam else self._generate_examples
        return {split: generate(split) for split in self._lists}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        classes = self._lists[split]
        for name in tqdm(
            classes, desc=f"writing {split}", unit="class", file=sys.stderr, disable=None
        ):
            yield from _of_class(name, self._examples)

    def _generate_on_beam(self, split: str) -> Any:
        import apache_beam as beam

        # The builder itself stays here: what Beam's processes need is the function alone.
        return beam.Create(self._lists[split]) | f"examples of {split}" >> beam.FlatMap(
            _of_class, self._examples
        )


def _of_class(name: str, examples: Examples) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, image in examples(name):
        yield key, {"image": image, "label": name}
