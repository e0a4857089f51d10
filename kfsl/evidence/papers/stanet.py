"""Rows of STANet's tables."""

from kfsl.evidence.paper_row import PaperRow

PAPER = "STANet (Yan et al., 2019)"
OMNIGLOT = "Omniglot, 1200 (100 held out) / 423 characters, rotations as classes"
CIFAR = "Meta-CIFAR100 {level}, 80 (16 held out) / 20 classes drawn by us: the paper's are unknown"
MINI_IMAGENET = "miniImageNet, 64 / 16 / 20 classes, re-encoded at 84 pixels"
POOLS = "one query a task in training; 15 of each class in the test; {pools}"
TWO_POOLS = POOLS.format(pools="two pools, 7x7 locations")
FOUR_POOLS = POOLS.format(pools="four pools, one location, so that spatial attention has no choice")
TWO_POOLS_OF_CIFAR = POOLS.format(pools="two pools, 8x8 locations")
FOUR_POOLS_OF_84 = POOLS.format(pools="four pools, 5x5 locations")
BOTH = (0, 1)


def _stanet(name: str, dataset: str, protocol: str, number: tuple, source: str) -> PaperRow:
    """Rows of three layers are compared with those of one."""
    layers = "3 layers" if "_3layers" in name else "1 layer"
    against = name.replace("_3layers", "_1layer") if name.endswith("_3layers") else None
    return PaperRow(
        name, "stanet", PAPER, f"STANet, {layers}", dataset, protocol, *number, source,
        against, BOTH,
    )  # fmt: skip


def _cifar(level: str, shots: int, layers: str, *number: float) -> PaperRow:
    return _stanet(
        f"meta_cifar100_{level}_stanet_5way_{shots}shot_{layers}",
        CIFAR.format(level=level), TWO_POOLS_OF_CIFAR, number, "Table 3",
    )  # fmt: skip


def _omniglot(shots: int, layers: str, *number: float) -> PaperRow:
    return _stanet(
        f"omniglot_stanet_5way_{shots}shot_{layers}", OMNIGLOT, TWO_POOLS, number, "Table 4"
    )


def _mini_imagenet(shots: int, layers: str, *number: float) -> PaperRow:
    return _stanet(
        f"mini_imagenet_stanet_5way_{shots}shot_conv4_{layers}",
        MINI_IMAGENET, FOUR_POOLS_OF_84, number, "Table 1, STANet-S",
    )  # fmt: skip


def _prototypical(dataset: str, protocol: str, shots: int, *number: float, source: str) -> PaperRow:
    of = "omniglot" if dataset.startswith("Omniglot") else "mini_imagenet"
    return PaperRow(
        f"{of}_prototypical_network_5way_{shots}shot", "stanet", PAPER,
        "Prototypical Networks", dataset, protocol, *number, source=source,
    )  # fmt: skip


OMNIGLOT_ROWS = (_omniglot(1, "3layers", 98.69, 0.22), _omniglot(1, "1layer", 98.10, 0.11))
EASY_ROWS = (_cifar("easy", 1, "3layers", 66.11, 0.42), _cifar("easy", 1, "1layer", 65.51, 0.44))
MINI_IMAGENET_PROTOTYPICAL = _prototypical(
    MINI_IMAGENET, "trained with 30 ways", 1, 49.42, 0.78, source="Table 1"
)
MINI_IMAGENET_ROWS = (
    _mini_imagenet(1, "3layers", 53.11, 0.60),
    _mini_imagenet(1, "1layer", 50.38, 0.65),
)
#: Beyond the first rows: other protocols, five shots, harder divisions.
FURTHER_ROWS = (
    PaperRow(
        "omniglot_stanet_5way_1shot_3layers_4_pools", "stanet", PAPER, "STANet, 3 layers",
        OMNIGLOT, FOUR_POOLS, 98.69, 0.22, "Table 4",
    ),
    PaperRow(
        "omniglot_stanet_5way_1shot_3layers_25_queries", "stanet", PAPER, "STANet, 3 layers",
        OMNIGLOT, "25 queries a task in training, five of each class; two pools, 7x7 locations",
        98.69, 0.22, "Table 4",
    ),
    _prototypical(
        "Omniglot, 1028 / 172 / 423 characters, rotations as classes", "trained with 60 ways",
        1, 97.4, source="Table 4",
    ),
    _omniglot(5, "3layers", 99.59, 0.33),
    _omniglot(5, "1layer", 99.41, 0.09),
    _cifar("easy", 5, "3layers", 78.54, 0.51),
    _cifar("easy", 5, "1layer", 78.31, 0.38),
    _prototypical(MINI_IMAGENET, "trained with 20 ways", 5, 68.20, 0.66, source="Table 1"),
    _mini_imagenet(5, "3layers", 67.16, 0.66),
    _mini_imagenet(5, "1layer", 65.67, 0.66),
    _cifar("moderate", 1, "3layers", 57.31, 0.39),
    _cifar("moderate", 1, "1layer", 56.62, 0.46),
    _cifar("moderate", 5, "3layers", 68.71, 0.43),
    _cifar("moderate", 5, "1layer", 67.38, 0.51),
    _cifar("hard", 1, "3layers", 42.98, 0.43),
    _cifar("hard", 1, "1layer", 42.94, 0.41),
    _cifar("hard", 5, "3layers", 55.23, 0.42),
    _cifar("hard", 5, "1layer", 54.91, 0.38),
)  # fmt: skip
