"""What is known about a dataset before any image is read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """Facts about a dataset; `prepare` verifies the counts and the checksum against them.

    Args:
        name: str. The name under which `load_dataset` and `prepare` know the dataset.
        description: str. One or two sentences.
        superclass: str. What a superclass of this dataset is.
        licence: str. Under which the images may be used.
        citation: str. The publication to cite.
        homepage: str. Where the images come from.
        image_shape: tuple `(H, W, C)` in pixels, or None when the user chooses it.
        num_classes: int or None. Classes in the store (rotations counted); None: it depends on
            the source.
        num_images: int or None. Images in the store; None: it depends on the source.
        split_names: tuple of str. The lists of classes to choose from; the first is the default.
        drawn_splits: tuple of str. Those of them that a seed draws anew.
        store: str. Name of the class store that holds the images.
        checksum: str or None. Fingerprint of the store, where the bytes are determined.
        from_stores: bool. Whether it is made of other datasets' stores, without a source.
    """

    name: str
    description: str
    superclass: str
    licence: str
    citation: str
    homepage: str
    image_shape: tuple[int, int, int] | None
    num_classes: int | None
    num_images: int | None
    split_names: tuple[str, ...] = ("default",)
    drawn_splits: tuple[str, ...] = ()
    store: str = ""
    checksum: str | None = None
    from_stores: bool = False

    @property
    def store_name(self) -> str:
        return self.store or self.name

    def check_split(self, split: str | None) -> str:
        """The chosen lists of classes, or the default.

        Raises:
            ValueError: the dataset has no lists of that name.
        """
        if split is None:
            return self.split_names[0]
        if split not in self.split_names:
            raise ValueError(
                f"{self.name} has no split lists {split!r}; choose from "
                f"{', '.join(self.split_names)}."
            )
        return split

    def check_seed(self, split: str | None, seed: int) -> None:
        """Refuses a seed of lists that no seed draws.

        Raises:
            ValueError: naming the lists that one does.
        """
        split = self.check_split(split)
        if split not in self.drawn_splits:
            drawn = ", ".join(self.drawn_splits)
            which = f"the lists {split!r} of {self.name}" if drawn else f"the lists of {self.name}"
            raise ValueError(
                f"split_seed={seed} has no effect: {which} are given. Leave it out"
                + (f", or choose split {drawn}." if drawn else ".")
            )
