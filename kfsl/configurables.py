"""The one place that knows gin: what can be bound, and what was."""

import difflib
import inspect
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import keras

import gin
from data_pipelines import samplers
from data_pipelines.class_counts import count_classes
from data_pipelines.load_dataset import load_dataset
from kfsl import backbones, figures, learners
from kfsl.command_line import gin_files
from kfsl.evaluation.evaluate import evaluate
from kfsl.experiment import Experiment
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.layers.random_affine import RandomAffine
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained
from kfsl.training.process import set_up
from kfsl.training.train import train

#: Long enough that gin breaks no binding: one line is one binding.
LINE_LENGTH = 10_000

#: What any Keras object takes besides the arguments of its own signature.
KERAS_ARGUMENTS = ("name", "dtype", "trainable")

#: What each command runs; the bindings of another command's functions may lie unused.
COMMANDS = {"train": train, "evaluate": evaluate}

#: Packages whose public names gin files can use: what a method adds, it adds there.
FACES = (learners, backbones, samplers, figures)

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
OTHERS = (Experiment, PixelNormalization, RandomAffine, count_classes, load_dataset, set_up)

_bound: dict[Callable, Callable] = {}


class BindingError(ValueError):
    """A binding that gin does not know, or that nothing used."""


def _register() -> None:
    for face in FACES:
        for name in face.__all__:
            register(getattr(face, name))
    for configurable in (*OTHERS, *COMMANDS.values()):
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


def parse(paths: Sequence[str], bindings: Sequence[str] = ()) -> str:
    """Reads gin files and bindings; what was bound before is forgotten.

    Args:
        paths: list of str. The later file wins.
        bindings: list of str, such as `train.epochs=3`; they win over the files.

    Returns:
        The whole configuration as gin prints it: the same text for the same bindings.

    Raises:
        BindingError: naming a configurable, argument or macro that does not exist.
        GinFileError: naming a file that is missing or malformed.
    """
    return parse_text("\n".join(gin_files.text(path) for path in paths), bindings)


def parse_text(text: str, bindings: Sequence[str] = ()) -> str:
    """As `parse`, from gin text, such as a run's `config.gin`."""
    gin.clear_config()
    try:
        with gin.unlock_config():
            gin.parse_config([text, *bindings])
            gin.finalize()
        _check_arguments()
        return _configured()
    except (ValueError, NameError) as error:
        raise BindingError(_explained(str(error).split("\n")[0])) from error


def experiment() -> Experiment:
    """The experiment that the configuration describes, its process set up first.

    Raises:
        BindingError: if learner, dataset or sampler is not bound.
    """
    missing = [
        name for name in ("learner", "dataset", "sampler") if not _is_bound("Experiment", name)
    ]
    if missing:
        raise BindingError(
            f"Nothing is bound to {', '.join(f'Experiment.{name}' for name in missing)}: name a "
            f"configuration with --gin_file, such as one of {', '.join(gin_files.shipped())}."
        )
    bound(set_up)()
    return bound(Experiment)()


def trained_experiment(run: RunDirectory, bindings: Sequence[str] = ()) -> Experiment:
    """The experiment of a run, with the best weights it found.

    Args:
        run: `RunDirectory`.
        bindings: list of str. Win over the run's own.

    Returns:
        `Experiment`.

    Raises:
        RunDirectoryError: if it is no run directory.
        FileNotFoundError: if the run has no learner yet.
        ValueError: if its weights do not fit, or the data are not those it was trained on.
    """
    check_trained(run)
    parse_text(run.config, bindings)
    trained = experiment()
    if not any("load_dataset" in binding for binding in bindings):
        _check_same_data(run, trained)
    _load_weights(trained.learner, run.best_learner)
    return trained


def _check_same_data(run: RunDirectory, trained: Experiment) -> None:
    before = run.metadata.get("dataset_fingerprint", trained.dataset.fingerprint)
    if before != trained.dataset.fingerprint:
        raise ValueError(
            f"The dataset {trained.dataset.name!r} or its division has changed since {run.path} "
            "was trained: its test classes may be among those it learnt from. Prepare the data "
            "as they were, or train anew."
        )


def _load_weights(learner: keras.Model, path: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # What it says becomes the error below.
            learner.load_weights(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is damaged or holds another learner's weights: "
            f"{str(error).splitlines()[0][:120]}"
        ) from error


def operative() -> str:
    """The part of the configuration that was used so far, defaults included."""
    return _without_rules(gin.operative_config_str(LINE_LENGTH))


def check_used(command: str) -> None:
    """Refuses bindings that nothing used: they are mostly misspelt or of another method.

    Args:
        command: str. Key of `COMMANDS`; the bindings of the others' functions are exempt.

    Raises:
        BindingError: naming the first unused binding.
    """
    used = gin_files.bindings(operative())
    for scope, selector, argument in gin_files.bindings(_configured()):
        if _belongs_to_another_command(selector, command):
            continue
        if not any(_applies((scope, selector, argument), use) for use in used):
            binding = ".".join(part for part in (selector, argument) if part)
            prefix = f"{scope}/" if scope else ""
            raise BindingError(
                f"The binding {prefix}{binding} is not used by this configuration. Remove it, "
                "or bind what would use it. If another binding took its place, change the value "
                "it gives instead, or copy the gin file."
            )


def _explained(message: str) -> str:
    by_name = {configurable.__name__: configurable for configurable in _bound}
    argument = re.match(r"Configurable '(?:\w+\.)*(\w+)' doesn't have a parameter named", message)
    if argument:
        return f"{message} It has {', '.join(_arguments(by_name[argument[1]]))}."
    unknown = re.match(r"No configurable matching '(?:\w+\.)*(\w+)'", message)
    if unknown:
        close = difflib.get_close_matches(unknown[1], by_name, n=3) or sorted(by_name)
        return f"{message} Perhaps: {', '.join(close)}."
    return message


def _check_arguments() -> None:
    """Refuses arguments that a class would swallow in its `**kwargs`; gin lets them pass."""
    by_name = {configurable.__name__: configurable for configurable in _bound}
    for _, selector, argument in gin_files.bindings(_configured()):
        configurable = by_name.get(selector.split(".")[-1])
        if configurable is None or not argument:
            continue
        known = _arguments(configurable)
        if argument not in (*known, *KERAS_ARGUMENTS):
            raise BindingError(
                f"{selector} has no argument {argument!r}; it has {', '.join(known)}."
            )


def _configured() -> str:
    return _without_rules(gin.config_str(LINE_LENGTH))


def _without_rules(text: str) -> str:
    """gin's text without its lines of `=`, which are as long as its longest line may be."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("# ==")) + "\n"


def check_overrides(overrides: Sequence[str], run: RunDirectory, what: str) -> None:
    """Refuses bindings of the command line that changed nothing of what a command does.

    Args:
        overrides: list of str. Bindings that should win over the run's own.
        run: `RunDirectory`.
        what: str. What they should have had an effect on, for the message.

    Raises:
        BindingError: naming the first binding without effect.
    """
    uses = gin_files.bindings(operative())
    known = gin_files.bindings("\n".join([run.config, *overrides]))
    for override in overrides:
        for binding in gin_files.bindings(override):
            narrower = [other for other in known if _is_narrower(other, binding)]
            if not any(
                _applies(binding, use) and not any(_applies(other, use) for other in narrower)
                for use in uses
            ):
                raise BindingError(
                    f"The binding {override} has no effect on {what}; nothing was written. Leave "
                    "it out, or bind what is used: evaluation/fixed_episode.ways, say, where the "
                    "configuration has that scope."
                )


def _is_narrower(binding: tuple[str, str, str], than: tuple[str, str, str]) -> bool:
    return _applies(than, binding) and binding[0] != than[0]


def _applies(binding: tuple[str, str, str], use: tuple[str, str, str]) -> bool:
    (scope, *name), (used_scope, *used_name) = binding, use
    parts, used_parts = ([p for p in s.split("/") if p] for s in (scope, used_scope))
    same = [part.split(".")[-1] for part in name] == [part.split(".")[-1] for part in used_name]
    return same and used_parts[: len(parts)] == parts


def _belongs_to_another_command(selector: str, command: str) -> bool:
    others = [function.__name__ for name, function in COMMANDS.items() if name != command]
    return selector.split(".")[-1] in others


def _is_bound(selector: str, argument: str) -> bool:
    return argument in gin.get_bindings(selector, resolve_references=False)


def _arguments(configurable: Any) -> list[str]:
    """The names that a function or class takes; a learner, those of its base classes too."""
    parameters = list(inspect.signature(configurable).parameters)
    if "kwargs" in parameters and inspect.isclass(configurable):
        for base in configurable.__bases__:
            if base.__module__.startswith("kfsl.learners."):
                parameters += _arguments(base)
    return [name for name in dict.fromkeys(parameters) if name != "kwargs"]


_register()
