"""The experiment that a configuration describes, new or with the weights of a run."""

import copy
from collections.abc import Callable, Iterator, Sequence

import gin
from data_pipelines.dataset import FewShotDataset
from data_pipelines.function_dataset import FunctionDataset
from kfsl.command_line import gin_files
from kfsl.command_line.command import GIN_NOTE, one_line
from kfsl.configurables.bindings import BindingError, bound_kind, is_bound, parse_text
from kfsl.configurables.kinds import KINDS, AnyExperiment
from kfsl.configurables.registry import bound
from kfsl.experiment import Experiment
from kfsl.runs.learner_file import load_weights
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained
from kfsl.training.learnt_classes import (
    check_not_trained_on,
    check_same_data,
    check_start_data,
    check_unseen,
    same_data,
)
from kfsl.training.process import set_up


def experiment() -> AnyExperiment:
    """The experiment that the configuration describes, its process set up first.

    Raises:
        BindingError: if learner, dataset or sampler is not bound.
    """
    kind = bound_kind()
    missing = [name for name in KINDS[kind].needed if not is_bound(kind.__name__, name)]
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


def command_of(command: str, experiment: AnyExperiment) -> Callable:
    """What a command runs for an experiment; gin's bindings are applied when it is called.

    Args:
        command: str. `"train"` or `"evaluate"`.
        experiment: `Experiment`, or `PolicyExperiment`.

    Returns:
        Function of the experiment and its own arguments.
    """
    return bound(KINDS[type(experiment)].commands[command])


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
        for start in _starts(run.metadata.get("start_from")):
            _check_start(start, trained.dataset)
        # What was used is asked for later, and gin has forgotten it by now.
        parse_text(run.config, bindings)
        trained = experiment()
    trained.weights = load_weights(trained.learner, run.best_learner)
    return trained


def check_comparison(
    run: RunDirectory,
    trained: AnyExperiment,
    experiment: AnyExperiment,
    splits: Sequence[str],
    bindings: Sequence[str] = (),
) -> None:
    """Refuses to ask a run's learner about classes of another run's data that it learnt from.

    What is bound afterwards may be the configuration of `run`.

    Args:
        run: `RunDirectory`.
        trained: `Experiment` or `PolicyExperiment`. Its own, as `trained_experiment` gave it.
        experiment: likewise. Of the run whose episodes both meet.
        splits: sequence of str. Where those are drawn from.
        bindings: sequence of str. That `trained` was made with.

    Raises:
        ValueError: naming such a class.
    """
    if not isinstance(experiment, Experiment) or not isinstance(trained, Experiment):
        return  # Policies meet no classes; of tasks of another kind the learner tells itself.
    data = trained.dataset if same_data(run, trained.dataset) else _own_data(run, bindings)
    if not isinstance(data, FewShotDataset) or not isinstance(experiment.dataset, FewShotDataset):
        return
    check_unseen(run, data, experiment.dataset, splits)
    for start in _starts(run.metadata.get("start_from")):
        _check_start(start, experiment.dataset, splits)


def check_start(config: str, run: RunDirectory) -> None:
    """Refuses to begin with weights of a run that learnt from classes that are held out here.

    Where it cannot be told, a line says so. The configuration is read anew.

    Args:
        config: str. The configuration, which is bound.
        run: `RunDirectory`. Where it trains; what was begun was looked at then.

    Raises:
        ValueError: naming such a class.
    """
    # A copy: it has the macros' values.
    source = copy.deepcopy(gin.get_bindings("train", resolve_references=False).get("start_from"))
    starts = list(_starts(source))
    if not starts or "start_from" in run.metadata or not is_bound("Experiment", "dataset"):
        return
    try:
        data = _bound_data(config)
    except (ImportError, OSError, TypeError, ValueError):
        data = None  # `experiment` tells of it.
    if isinstance(data, FewShotDataset):
        for start in starts:
            _check_start(start, data)
    parse_text(config)


def _starts(source: object) -> Iterator[RunDirectory]:
    """The run that another begins with, the run that this one began with, and so on."""
    met = set()
    while isinstance(source, str) and not source.endswith(".keras") and source not in met:
        met.add(source)
        run = RunDirectory(source)
        if not run.exists:
            return
        yield run
        source = run.metadata.get("start_from")


def _check_start(
    start: RunDirectory, data: FewShotDataset, splits: Sequence[str] | None = None
) -> None:
    if same_data(start, data):
        return
    try:
        learnt_from = _own_data(start, ())
    except ValueError as error:
        print(f"Mind that {one_line(error)}")
        return
    if isinstance(learnt_from, FewShotDataset):
        check_start_data(start, learnt_from, data, splits)


def _bound_data(config: str) -> FewShotDataset | FunctionDataset:
    """The data of a configuration, without its learner."""
    parse_text(config, ["Experiment.learner = None"])
    return gin.get_bindings("Experiment")["dataset"]


def _own_data(run: RunDirectory, bindings: Sequence[str]) -> FewShotDataset:
    """The data that a run was trained on, whatever bindings say."""
    try:
        data = _bound_data(run.config)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"{', '.join(bindings) or 'the configuration'} names other data than {run.path} was "
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
