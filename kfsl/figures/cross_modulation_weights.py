"""What the weights of cross-modulation say: which channels use it, and from which stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kfsl.figures.text_table import text_table

if TYPE_CHECKING:
    from kfsl.learners.base.learner import Learner

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
#: Below it a factor counts as switched off. Adam takes steps of about the learning rate, so the
#: L1 penalty seldom leaves exact zeros.
SPARSE_BELOW = 1e-3
SCALES = ("gamma0", "beta0")
HALVES = ("self", "cross")


def check_cross_modulated(learner: Learner) -> None:
    """Refuses learners without cross-modulation.

    Args:
        learner: `Learner`.

    Raises:
        ValueError: unless it is a `CrossModulationLearner`.
    """
    from kfsl.learners.base.cross_modulation_learner import CrossModulationLearner

    if not isinstance(learner, CrossModulationLearner):
        raise ValueError(
            f"{type(learner).__name__} has no cross-modulation to look at: use a run of a "
            "CrossModulationNetwork, a CrossModulationPrototypicalNetwork or another "
            "CrossModulationLearner."
        )


def block_scales(learner: Learner) -> dict[str, dict[str, np.ndarray]]:
    """The factors that a network has learnt for its generators' outputs.

    Args:
        learner: `CrossModulationLearner`.

    Returns:
        Name of the modulated layer -> `gamma0` and `beta0`, float64 `[C]` each.

    Raises:
        ValueError: for other learners.
    """
    check_cross_modulated(learner)
    return {
        stage.name: {
            "gamma0": np.asarray(modulation.film.gamma_scale, "float64"),
            "beta0": np.asarray(modulation.film.beta_scale, "float64"),
        }
        for stage, modulation in zip(learner.stages, learner.modulations, strict=True)
    }


def block_kernels(learner: Learner) -> dict[str, dict[str, np.ndarray]]:
    """The generators' weights, in two halves.

    Args:
        learner: `CrossModulationLearner`.

    Returns:
        Name of the modulated layer -> `self`, the rows that meet features of the stream that is
        modulated, and `cross`, those that meet the other's; float64 `[C, 2 C]` each. The first
        `C` columns make `gamma`, the others `beta`.

    Raises:
        ValueError: for other learners.
    """
    check_cross_modulated(learner)
    kernels = {}
    for stage, modulation in zip(learner.stages, learner.modulations, strict=True):
        rows = modulation.generator.kernel_rows()
        kernels[stage.name] = {
            half: np.asarray(own, "float64") for half, own in zip(HALVES, rows, strict=True)
        }
    return kernels


def scale_values(learner: Learner) -> dict[str, Any]:
    """Distributions of `|gamma0|` and `|beta0|`, block by block, as JSON can hold them.

    Args:
        learner: `CrossModulationLearner`.

    Returns:
        dict: `blocks`, from modulated layers to `gamma0` and `beta0`, each with `quantiles` (at
        the levels of that name), `mean` and `sparse`, the share below `sparse_below`.

    Raises:
        ValueError: for other learners.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), figure 2a.

    Example:
    ```python
    from kfsl.figures.cross_modulation_weights import scale_values
    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.cross_modulation_network import CrossModulationNetwork

    learner = CrossModulationNetwork(Conv4(image_shape=(28, 28, 1), filters=4))
    found = scale_values(learner)["blocks"]["block4_bn"]["gamma0"]
    assert (found["mean"], found["sparse"]) == (1.0, 0.0)
    ```
    """
    return {
        "quantiles": list(QUANTILES),
        "sparse_below": SPARSE_BELOW,
        "blocks": {
            block: {name: _distribution(np.abs(scales[name])) for name in SCALES}
            for block, scales in block_scales(learner).items()
        },
    }


def scale_table(values: Mapping[str, Any]) -> str:
    """The medians, means and sparsities of `scale_values` as lines of text."""
    rows = [("block", "", "median", "mean", "largest", f"below {values['sparse_below']:g}")]
    for block, scales in values["blocks"].items():
        for name, found in scales.items():
            numbers = (
                found["quantiles"][QUANTILES.index(0.5)],
                found["mean"],
                found["quantiles"][-1],
            )
            rows.append(
                (
                    block,
                    f"|{name}|",
                    *(f"{number:.4f}" for number in numbers),
                    f"{100 * found['sparse']:.1f} %",
                )
            )
    return text_table(rows)


def norm_values(learner: Learner) -> dict[str, Any]:
    """Mean L2 norms of the columns of the generators' halves, as JSON can hold them.

    Args:
        learner: `CrossModulationLearner`.

    Returns:
        dict: `blocks`, from modulated layers to `self`, `cross` and `ratio`, the second divided
        by the first (None where that is 0), over all columns, and the same over the columns of
        `gamma` and of `beta`.

    Raises:
        ValueError: for other learners.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273), figure 2c.

    Example:
    ```python
    from kfsl.figures.cross_modulation_weights import norm_values
    from kfsl.backbones.conv4 import Conv4
    from kfsl.learners.cross_modulation_network import CrossModulationNetwork

    learner = CrossModulationNetwork(Conv4(image_shape=(28, 28, 1), filters=4))
    assert set(norm_values(learner)["blocks"]) == {"block2_bn", "block3_bn", "block4_bn"}
    ```
    """
    blocks = {}
    for block, halves in block_kernels(learner).items():
        norms = {half: np.linalg.norm(halves[half], axis=0) for half in HALVES}
        channels = len(norms["self"]) // 2
        columns = {"gamma": slice(0, channels), "beta": slice(channels, None)}
        blocks[block] = {
            **_means(norms),
            **{
                name: _means({half: norms[half][own] for half in HALVES})
                for name, own in columns.items()
            },
        }
    return {"blocks": blocks}


def norm_table(values: Mapping[str, Any]) -> str:
    """The numbers of `norm_values` as lines of text."""
    rows = [("block", "columns", "self", "cross", "cross / self")]
    for block, found in values["blocks"].items():
        for name, norms in (("all", found), ("gamma", found["gamma"]), ("beta", found["beta"])):
            ratio = "" if norms["ratio"] is None else f"{norms['ratio']:.3f}"
            rows.append((block, name, f"{norms['self']:.4f}", f"{norms['cross']:.4f}", ratio))
    return text_table(rows)


def _distribution(values: np.ndarray) -> dict[str, Any]:
    return {
        "quantiles": np.quantile(values, QUANTILES).tolist(),
        "mean": float(values.mean()),
        "sparse": float(np.mean(values < SPARSE_BELOW)),
    }


def _means(norms: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    own, cross = (float(norms[half].mean()) for half in HALVES)
    return {"self": own, "cross": cross, "ratio": cross / own if own else None}
