"""The one place that knows gin: what can be bound, and what was."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Sequence

import keras

import gin
from data_pipelines import samplers
from data_pipelines.class_counts import count_classes
from data_pipelines.dataset import FewShotDataset
from data_pipelines.load_dataset import load_dataset
from kfsl import backbones, figures, learners, objectives, reinforcement
from kfsl.command_line import gin_files
from kfsl.command_line.argument_names import argument_names
from kfsl.command_line.binding_uses import decides, is_used
from kfsl.command_line.command import GIN_NOTE
from kfsl.evaluation.evaluate import evaluate
from kfsl.experiment import (
    Experiment,
    check_not_trained_on,
    check_same_data,
    same_data,
)
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.layers.random_affine import RandomAffine
from kfsl.layers.shift_and_flip import ShiftAndFlip
from kfsl.reinforcement.evaluate_policy import evaluate_policy
from kfsl.reinforcement.policy_experiment import PolicyExperiment
from kfsl.reinforcement.train_policy import train_policy
from kfsl.runs.learner_file import load_weights
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained
from kfsl.training.process import set_up
from kfsl.training.train import train

#: Long enough that gin breaks no binding: one line is one binding.
LINE_LENGTH = 10_000

#: What any Keras object takes besides the arguments of its own signature.
KERAS_ARGUMENTS = ("name", "dtype", "trainable")

AnyExperiment = Experiment | PolicyExperiment


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the commands run for a kind of experiment.

    Args:
        commands: dict from a command's name to its function; the bindings of another command's
            function may lie unused.
        needed: tuple of str. Arguments without which there is no experiment.
    """

    commands: dict[str, Callable]
    needed: tuple[str, ...]


#: Kinds of experiments; which one a configuration is of, it says by what it binds.
KINDS: dict[type, Kind] = {
    Experiment: Kind({"train": train, "evaluate": evaluate}, ("learner", "dataset", "sampler")),
    PolicyExperiment: Kind(
        {"train": train_policy, "evaluate": evaluate_policy}, ("learner", "environment")
    ),
}

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


class BindingError(ValueError):
    """A binding that gin does not know, or that nothing used."""


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
    except ImportError as error:
        raise BindingError(
            f"{str(error).splitlines()[0]}: an import of the configuration failed. A module of "
            "your own must lie in the current folder, or in one of PYTHONPATH."
        ) from error


def experiment() -> AnyExperiment:
    """The experiment that the configuration describes, its process set up first.

    Raises:
        BindingError: if learner, dataset or sampler is not bound.
    """
    kind = _kind_bound()
    missing = [name for name in KINDS[kind].needed if not _is_bound(kind.__name__, name)]
    if missing:
        raise BindingError(
            f"Nothing is bound to {', '.join(f'{kind.__name__}.{name}' for name in missing)}: name "
            f"a configuration with --gin_file, such as one of {', '.join(gin_files.shipped())}."
        )
    bound(set_up)()
    try:
        return bound(kind)()
    except ImportError as error:  # Of an extra that is not installed.
        raise BindingError(str(error).split(GIN_NOTE)[0]) from error


def is_of_episodes(experiment: AnyExperiment) -> bool:
    """Whether an experiment draws episodes from data, and no policy acts in it."""
    return isinstance(experiment, Experiment)


def command_of(command: str, experiment: AnyExperiment, with_bindings: bool = True) -> Callable:
    """What a command runs for an experiment.

    Args:
        command: str. `"train"` or `"evaluate"`.
        experiment: `Experiment`, or `PolicyExperiment`.
        with_bindings: bool. Whether gin's bindings are applied when it is called.

    Returns:
        Function of the experiment and its own arguments.
    """
    function = KINDS[type(experiment)].commands[command]
    return bound(function) if with_bindings else function


def _kind_bound() -> type:
    """The kind of experiment whose learner is bound."""
    return next((kind for kind in KINDS if _is_bound(kind.__name__, "learner")), Experiment)


def trained_experiment(run: RunDirectory, bindings: Sequence[str] = ()) -> AnyExperiment:
    """The experiment of a run, with the best weights it found.

    Bindings may name other data than the run's, if no class held out there was trained on.

    Args:
        run: `RunDirectory`.
        bindings: list of str. Win over the run's own.

    Returns:
        `Experiment`, whose `weights` say which file was loaded.

    Raises:
        RunDirectoryError: if it is no run directory.
        FileNotFoundError: if the run has no learner yet.
        ValueError: if its weights do not fit, the data are not those it was trained on, or
            bindings would test it on classes that it learnt from.
    """
    check_trained(run)
    if "set_up.strategy" in run.config:
        # Of training alone: other commands have no other workers to wait for.
        bindings = [*bindings, "set_up.strategy = None"]
    parse_text(run.config, bindings)
    trained = experiment()
    if isinstance(trained, Experiment) and not same_data(run, trained.dataset):
        check_not_trained_on(run, _own_data(run, bindings), trained.dataset)
        # What was used is asked for later, and gin has forgotten it by now.
        parse_text(run.config, bindings)
        trained = experiment()
    trained.weights = load_weights(trained.learner, run.best_learner)
    return trained


def _own_data(run: RunDirectory, bindings: Sequence[str]) -> FewShotDataset:
    """The data that a run was trained on, whatever bindings say."""
    parse_text(run.config, ["Experiment.learner = None"])
    try:
        data = gin.get_bindings("Experiment")["dataset"]
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{', '.join(bindings) or 'The configuration'} names other data than {run.path} was "
            f"trained on, and whether it learnt from their test classes cannot be told: {error}"
        ) from error
    check_same_data(
        run,
        data,
        "was trained on other data",
        "Test classes may be among those it learnt from. Prepare the data as they were, or train "
        "anew.",
    )
    return data


def operative() -> str:
    """The part of the configuration that was used so far, defaults included."""
    return gin_files.without_rules(gin.operative_config_str(LINE_LENGTH))


def check_used(command: str) -> None:
    """Refuses bindings that nothing used: they are mostly misspelt or of another method.

    Args:
        command: str. `"train"` or `"evaluate"`; the bindings of the other's function are exempt.

    Raises:
        BindingError: naming the first unused binding.
    """
    used = gin_files.bindings(operative())
    for scope, selector, argument in gin_files.bindings(_configured()):
        if _belongs_to_another_command(selector, command):
            continue
        if not is_used((scope, selector, argument), used):
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
        return f"{message} It has {', '.join(argument_names(by_name[argument[1]]))}."
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
        known = argument_names(configurable)
        if argument not in (*known, *KERAS_ARGUMENTS):
            raise BindingError(
                f"{selector} has no argument {argument!r}; it has {', '.join(known)}."
            )


def _configured() -> str:
    return gin_files.without_rules(gin.config_str(LINE_LENGTH))


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
            if not decides(binding, known, uses):
                raise BindingError(
                    f"The binding {override} has no effect on {what}; nothing was written. Leave "
                    "it out, or bind what is used: evaluation/fixed_episode.ways, say, where the "
                    "configuration has that scope."
                )


def _belongs_to_another_command(selector: str, command: str) -> bool:
    commands = KINDS[_kind_bound()].commands
    others = [function.__name__ for name, function in commands.items() if name != command]
    return selector.split(".")[-1] in others


def _is_bound(selector: str, argument: str) -> bool:
    return argument in gin.get_bindings(selector, resolve_references=False)


_register()
