"""Meta-CIFAR100: CIFAR-100 with test classes near to the train classes or far from them."""

from dataclasses import replace

import numpy as np

from data_pipelines.class_store import ClassStore
from data_pipelines.datasets import cifar100
from data_pipelines.datasets.class_lists import read_class_lists, split_lists_in

INFO = replace(
    cifar100.INFO,
    name="meta_cifar100",
    description=(
        "CIFAR-100 in 80 train and 20 test classes. Easy: one test class from each superclass; "
        "moderate: two or three from each of seven; hard: four whole superclasses. The lists of "
        "the authors are not public; these follow their rules. Rules: Shipeng Yan, Songyang "
        "Zhang, Xuming He. A Dual Attention Network with Semantic Embedding for Few-Shot "
        "Learning. AAAI 2019, section 5.2."
    ),
    split_names=("easy", "moderate", "hard"),
    drawn_splits=("easy", "moderate", "hard"),
    store="cifar100",
)


def split_lists(
    store: ClassStore | None = None, split: str | None = None, seed: int = 0
) -> dict[str, list[str]]:
    """Lists of fine classes per split: 80 / 20, no validation classes (see `held_out`).

    Args:
        store: `ClassStore` or None. Not needed.
        split: str or None. `"easy"`, `"moderate"` or `"hard"`. Defaults to `"easy"`.
        seed: int. 0 gives the lists that lie beside the code, others are drawn by the rules.

    Returns:
        dict from split name to the list of fine classes.
    """
    split = INFO.check_split(split)
    if seed == 0:
        return split_lists_in(read_class_lists("meta_cifar100")[split])
    return draw_lists(seed)[split]


def draw_lists(seed: int) -> dict[str, dict[str, list[str]]]:
    """Draws the three divisions by the paper's rules.

    Twenty classes from seven superclasses, two or three from each, can only be six times three and
    once two.

    Args:
        seed: int.

    Returns:
        dict from `"easy"`, `"moderate"`, `"hard"` to a dict with the lists `train` and `test`.
    """
    hierarchy = read_class_lists("cifar100_hierarchy")["superclasses"]
    names = list(hierarchy)
    # RandomState: its stream is frozen, so a seed means the same lists for ever.
    random = np.random.RandomState(seed)
    easy = [members[random.randint(5)] for members in hierarchy.values()]
    chosen = np.sort(random.choice(20, 7, replace=False))
    gives_two = chosen[random.randint(7)]
    moderate = []
    for parent in chosen:
        members = random.choice(5, 2 if parent == gives_two else 3, replace=False)
        moderate += [hierarchy[names[parent]][i] for i in np.sort(members)]
    whole = np.sort(random.choice(20, 4, replace=False))
    hard = [fine for parent in whole for fine in hierarchy[names[parent]]]
    fine_names = sorted(fine for members in hierarchy.values() for fine in members)
    return {
        split: {"train": [fine for fine in fine_names if fine not in test], "test": test}
        for split, test in (("easy", easy), ("moderate", moderate), ("hard", hard))
    }
