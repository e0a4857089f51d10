"""CIFAR-FS: CIFAR-100 divided at random into 64 / 16 / 20 classes."""

from dataclasses import replace

from data_pipelines.class_store import ClassStore
from data_pipelines.datasets import cifar100
from data_pipelines.datasets.class_lists import read_split_lists

INFO = replace(
    cifar100.INFO,
    name="cifar_fs",
    description=(
        "CIFAR-100 in 64 / 16 / 20 classes; superclasses may lie in several splits. Lists: Luca "
        "Bertinetto, Joao F. Henriques, Philip H. S. Torr, Andrea Vedaldi. Meta-learning with "
        "differentiable closed-form solvers. ICLR 2019."
    ),
    split_names=("default",),
    store="cifar100",
)


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Lists of fine classes per split: 64 / 16 / 20."""
    INFO.check_split(split)
    return read_split_lists("cifar_fs")
