"""Which classes a run learnt from, so that nothing is measured on them."""

import re
from collections.abc import Sequence

import numpy as np

from data_pipelines.dataset import BASE_TEST, TRAIN, FewShotDataset
from kfsl.runs.run_directory import RunDirectory


def same_data(run: RunDirectory, dataset: FewShotDataset) -> bool:
    """Whether data are those of a run: the same pixels, names and division.

    Args:
        run: `RunDirectory`; one that was never trained has no data yet.
        dataset: `FewShotDataset`.

    Returns:
        bool.
    """
    return run.metadata.get("dataset_fingerprint") in (None, dataset.fingerprint)


def check_same_data(run: RunDirectory, dataset: FewShotDataset, what: str, remedy: str) -> None:
    """Refuses data that are not those of a run.

    Args:
        run: `RunDirectory`.
        dataset: `FewShotDataset`.
        what: str. What the run has with its data, for the message.
        remedy: str. What to do about it, for the message.

    Raises:
        ValueError: if they differ.
    """
    if not same_data(run, dataset):
        raise ValueError(
            f"{run.path} {what}: the dataset {dataset.name!r} or its division has changed since. "
            f"{remedy}"
        )


def check_not_trained_on(
    run: RunDirectory, trained_on: FewShotDataset, dataset: FewShotDataset
) -> None:
    """Refuses data that hold out a class which a run was trained on.

    Args:
        run: `RunDirectory`.
        trained_on: `FewShotDataset`. Its data.
        dataset: `FewShotDataset`. Other data, on which its learner is to be measured.

    Raises:
        ValueError: naming the first such class.
    """
    if dataset.held_out_images != trained_on.held_out_images:
        raise ValueError(
            f"{run.path} was trained with held_out_images={trained_on.held_out_images}, and these "
            f"data hold out {dataset.held_out_images}: images of base_test may be among those it "
            "learnt from. Leave the binding out, or train anew."
        )
    _check_classes(run, trained_on, dataset)


def check_start_data(
    run: RunDirectory,
    trained_on: FewShotDataset,
    dataset: FewShotDataset,
    splits: Sequence[str] | None = None,
) -> None:
    """Refuses weights of a run that learnt from what these data hold out.

    Args:
        run: `RunDirectory`. Whose weights they are.
        trained_on: `FewShotDataset`. Its data.
        dataset: `FewShotDataset`. The data of a training that begins with them.
        splits: sequence of str or None. Those that count; None is all that are held out.

    Raises:
        ValueError: naming the first such class, or the images.
    """
    more = dataset.held_out_images > trained_on.held_out_images
    asked = splits is None or BASE_TEST in splits
    # Of classes that the other data do not have, it learnt from no image.
    if asked and more and _base_names(dataset, TRAIN) & _base_names(trained_on, TRAIN):
        check_not_trained_on(run, trained_on, dataset)
    _check_classes(run, trained_on, dataset, splits)


def check_unseen(
    run: RunDirectory,
    trained_on: FewShotDataset,
    dataset: FewShotDataset,
    splits: Sequence[str],
) -> None:
    """Refuses to compare a run on classes of another's data that it learnt from.

    Args:
        run: `RunDirectory`.
        trained_on: `FewShotDataset`. Its data.
        dataset: `FewShotDataset`. The data of the run that it is compared with.
        splits: sequence of str. Those of `dataset` that both are asked about.

    Raises:
        ValueError: naming the first such class; or if base classes are asked about, which are
            not those of the run.
    """
    if BASE_TEST in splits and not _same_base_classes(trained_on, dataset):
        raise ValueError(
            f"{run.path} has other base classes than {dataset.name!r} in this division, or other "
            "images of theirs were held out: about those only runs of the same can be compared. "
            "Ask about new classes, or train it on these data."
        )
    _check_classes(run, trained_on, dataset, splits)


def _check_classes(
    run: RunDirectory,
    trained_on: FewShotDataset,
    dataset: FewShotDataset,
    splits: Sequence[str] | None = None,
) -> None:
    # Of two mixtures the same name in another of their datasets is another class.
    by_dataset = _is_mixture(trained_on) and _is_mixture(dataset)
    known = _base_names(trained_on, TRAIN, by_dataset)
    for split in dataset.splits:
        names = _base_names(dataset, split, by_dataset)
        counts = split != TRAIN and (splits is None or split in splits)
        if counts and (learnt := sorted(names & known)):
            raise ValueError(
                f"{len(learnt)} of the {len(names)} {split} classes of these data, such as "
                f"{learnt[0]!r}, are among those that {run.path} learnt from. Bind data and a "
                "division that hold out others, or train anew."
            )


def _base_names(dataset: FewShotDataset, split: str, by_dataset: bool = False) -> set[str]:
    """What a split's classes are called in their own dataset.

    That is without the turn of the rotated copies, and of a mixture without the part; or, with
    `by_dataset`, with the part's dataset, whatever its division and style.
    """
    classes = dataset.split(split)
    names = [re.sub(r"/rot\d+$", "", name) for name in classes.class_names]
    if classes.modes is not None:
        parts = [classes.mode_names[mode] for mode in classes.modes]
        names = [
            f"{re.split('[@:]', part)[0]}/" * by_dataset + name.removeprefix(f"{part}/")
            for name, part in zip(names, parts, strict=True)
        ]
    return set(names)


def _is_mixture(dataset: FewShotDataset) -> bool:
    return "modes" in dataset.store.metadata


def _same_base_classes(first: FewShotDataset, second: FewShotDataset) -> bool:
    return (
        first.store.fingerprint == second.store.fingerprint
        and first.held_out_images == second.held_out_images
        and np.array_equal(first.splits[TRAIN], second.splits[TRAIN])
    )
