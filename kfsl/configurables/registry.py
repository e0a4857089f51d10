"""What gin files can bind: the packages' public names, and a user's own."""

from collections.abc import Callable

import keras

import gin
from data_pipelines import samplers
from data_pipelines.class_counts import count_classes
from data_pipelines.load_dataset import load_dataset
from kfsl import backbones, figures, learners, objectives, reinforcement
from kfsl.configurables.kinds import KINDS
from kfsl.experiment import Experiment
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.layers.random_affine import RandomAffine
from kfsl.layers.shift_and_flip import ShiftAndFlip
from kfsl.training.process import set_up

#: Packages whose public names gin files can use: what a method adds, it adds there.
FACES = (learners, backbones, objectives, samplers, figures, reinforcement)

KERAS = (
    keras.initializers.VarianceScaling,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.SGD,
    keras.optimizers.schedules.CosineDecay,
    keras.optimizers.schedules.ExponentialDecay,
    keras.optimizers.schedules.PiecewiseConstantDecay,
    keras.optimizers.schedules.PolynomialDecay,
)
OTHERS = (
    Experiment,
    PixelNormalization,
    RandomAffine,
    ShiftAndFlip,
    count_classes,
    load_dataset,
    set_up,
)

_bound: dict[Callable, Callable] = {}


def configurable_by_name() -> dict[str, Callable]:
    """All that is registered, by the names that gin files use."""
    return {configurable.__name__: configurable for configurable in _bound}


def _register() -> None:
    for face in FACES:
        for name in face.__all__:
            register(getattr(face, name))
    commands = [function for kind in KINDS.values() for function in kind.commands.values()]
    for configurable in (*OTHERS, *commands):
        register(configurable)
    for configurable in KERAS:
        _bound[configurable] = gin.external_configurable(configurable, module="keras")


def register(configurable: Callable) -> Callable:
    """Makes a user's own learner, backbone or function known to gin files.

    Args:
        configurable: class or function. Its name is how gin files call it.

    Returns:
        `configurable`, unchanged, so that it can be used as a decorator.

    Example:
    ```python
    from kfsl import configurables

    @configurables.register
    def warm_up_steps(steps: int = 100) -> int:
        return steps

    configurables.parse([], ["warm_up_steps.steps = 3"])
    assert configurables.bound(warm_up_steps)() == 3
    ```
    """
    _bound[configurable] = gin.external_configurable(configurable, module=configurable.__module__)
    return configurable


def bound(configurable: Callable) -> Callable:
    """A registered class or function with gin's bindings applied when it is called."""
    return _bound[configurable]


_register()
