"""FC100: few-shot CIFAR-100 whose splits share no superclass."""

from dataclasses import replace

from data_pipelines.class_store import ClassStore
from data_pipelines.datasets import cifar100
from data_pipelines.datasets.class_lists import read_split_lists

INFO = replace(
    cifar100.INFO,
    name="fc100",
    description=(
        "CIFAR-100 in 60 / 20 / 20 classes; each superclass lies wholly in one split. Lists: "
        "Boris N. Oreshkin, Pau Rodriguez, Alexandre Lacoste. TADAM: Task dependent adaptive "
        "metric for improved few-shot learning. NeurIPS 2018."
    ),
    split_names=("default",),
    store="cifar100",
)


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Lists of fine classes per split: 60 / 20 / 20."""
    INFO.check_split(split)
    return read_split_lists("fc100")
