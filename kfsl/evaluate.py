"""`python -m kfsl.evaluate`: accuracy of a trained learner on fixed episodes.

    python -m kfsl.evaluate --run_dir=DIR [--split=test] [--episodes=600] [--against=OTHER_DIR]
        [--classes=new|base|both] [--open_set] [--shard=2/8 | --merge]
    python -m kfsl.evaluate --run_dir=DIR --calibrate [--episodes=600] [--known_accepted=0.95]

Writes `evaluation/<split>.json` into the run directory, and what it found into the model cards of
the run's exports of the same weights. With `--against` the learner of another run meets the same
episodes, of classes that it did not learn from either, and the paired difference is printed and
written beside it. With `--classes=base` a learner that classifies base classes is asked about their
held-out images (`load_dataset.held_out_images`), with `both` about those and the new classes'
together.

With `--open_set` an episode also asks about classes that it does not have, whose queries are to be
rejected. `--calibrate` fits, on validation classes, the temperature at which probabilities are
honest and the threshold of rejection, and writes `calibration.json`; the export that follows has
both.

Several processes or machines can share the work: each computes a part, `--shard=0/8` to
`--shard=7/8`, and `--merge`, with the other options as they were, makes of all of them what a
single process would have written.
"""

import dataclasses
import os
import re
from typing import Any

from absl import flags

from kfsl.calibration.threshold import KNOWN_ACCEPTED
from kfsl.calibration.words import calibration_lines, evaluation_lines
from kfsl.command_line import command, gin_files
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR, refuse, require
from kfsl.runs.comparison import compared
from kfsl.runs.evaluation_name import evaluation_name, overridden_name
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained, fitting_evaluation
from kfsl.serving.run_cards import refresh_cards

CLASSES = ("new", "base", "both")


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("split", "test", "Which classes.")
    flags.DEFINE_integer("episodes", None, "How many; default: what the configuration says.")
    flags.DEFINE_enum("classes", "new", CLASSES, "Which classes the queries are of.")
    flags.DEFINE_bool("open_set", False, "Ask about classes too that an episode does not have.")
    flags.DEFINE_bool("calibrate", False, "Fit temperature and threshold on validation classes.")
    flags.DEFINE_float(
        "known_accepted", KNOWN_ACCEPTED, "Known queries that the threshold lets pass."
    )
    flags.DEFINE_string("against", None, "Another run, to meet the same episodes.")
    flags.DEFINE_string("shard", None, "Compute one part alone: its number from 0, / and how many.")
    flags.DEFINE_bool("merge", False, "Put parts together that were computed before.")
    command.run(_main)


def _main() -> None:
    run = RunDirectory(require(RUN_DIR, "the run to evaluate"))
    refuse(GIN_FILE, "the run directory has its configuration")
    options = flags.FLAGS
    against = RunDirectory(options.against) if options.against else None
    if options.classes == "base" and options["split"].present:
        raise ValueError("--classes=base has a split of its own; leave --split out.")
    _alone("calibrate", "split", "classes", "open_set", "against", "shard", "merge")
    _alone("open_set", "classes")
    if options.calibrate:
        share = options.known_accepted
        print("\n".join(calibrate_run(run, options.episodes, GIN_PARAM.value, share)))
        return
    if options["known_accepted"].present:
        raise ValueError("--known_accepted is for --calibrate, which fits the threshold.")
    asked = (run, options.split, options.episodes, against, GIN_PARAM.value, options.classes)
    parts = {"shard": _shard(options.shard), "merge": options.merge}
    for line in evaluate_run(*asked, **parts, open_set=options.open_set):
        print(line)


def _alone(flag: str, *others: str) -> None:
    for other in others:
        if flags.FLAGS[flag].value and flags.FLAGS[other].present:
            raise ValueError(f"--{flag} does not go with --{other}; leave one out.")


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not int(match[1]) < int(match[2]):
        raise ValueError(
            "--shard must be a part's number, from 0, and how many there are, such as 0/8 or 7/8; "
            f"received {text!r}."
        )
    return int(match[1]), int(match[2])


def evaluate_run(
    run: RunDirectory,
    split: str = "test",
    episodes: int | None = None,
    against: RunDirectory | None = None,
    bindings: list[str] | None = None,
    classes: str = "new",
    shard: tuple[int, int] | None = None,
    merge: bool = False,
    open_set: bool = False,
) -> list[str]:
    """Evaluates the best learner of a run and writes what it found.

    Args:
        run: `RunDirectory`.
        split: str. `"train"`, `"val"` or `"test"`.
        episodes: int or None. The configuration's own number when None.
        against: `RunDirectory` or None. A run to compare with.
        bindings: list of str. Gin bindings that win over the runs' own.
        classes: str. `"new"`: the split's; `"base"`: held-out images of base classes; `"both"`:
            those besides each episode's queries, told apart among all.
        shard: pair of int or None. Which part of how many to compute alone, from 0.
        merge: bool. Whether to put parts together instead of computing.
        open_set: bool. Whether episodes ask about classes too that they do not have.

    Returns:
        list of str, lines for people.

    Raises:
        ValueError: if a run directory, a binding or the number of episodes is wrong.
        FileNotFoundError: if a run has no trained learner.
    """
    bindings = bindings or []
    if shard is not None and (merge or against is not None):
        other = "--merge puts parts together" if merge else "--against compares what is whole"
        raise ValueError(f"--shard computes a part and {other}; leave one out.")
    _check(run, against, episodes, bindings)
    with command.quiet_start():
        from data_pipelines.samplers import open_set_episode
        from kfsl import configurables
        from kfsl.evaluation import part_files
        from kfsl.evaluation.asked import asked

    experiment = configurables.trained_experiment(run, bindings)
    weights = experiment.weights
    unknown = configurables.bound(open_set_episode) if open_set else None
    in_parts = shard is not None or merge
    experiment, arguments = asked(run, experiment, split, classes, in_parts, unknown)
    if episodes is not None:
        arguments["episodes"] = episodes
    if merge:
        name = evaluation_name(arguments["split"], classes == "both", open_set)
        name = overridden_name(name, bindings)
        found = part_files.merged(run, name, experiment.learner.objective, weights, episodes)
        lines = _told(found, run)
        part_files.remove(run, name)
    else:
        evaluate = configurables.command_of("evaluate", experiment)
        found = evaluate(experiment, **arguments, **({} if shard is None else {"shard": shard}))
        configurables.check_overrides(bindings, run.config, "evaluation")
        # The run may train on meanwhile: what counts is the file that was loaded.
        found = dataclasses.replace(found, weights=weights, overrides=bindings)
        if shard is not None:
            return [part_files.save(found, run, overridden_name(found.name, bindings))]
        lines = _told(found, run)
    if against is None:
        return lines
    other = _other(run, against, found, experiment, arguments, bindings)
    return [*lines, *compared(run, against, found, other)]


def calibrate_run(
    run: RunDirectory,
    episodes: int | None = None,
    bindings: list[str] | None = None,
    known_accepted: float = KNOWN_ACCEPTED,
) -> list[str]:
    """Fits temperature and threshold of a run's best learner and writes `calibration.json`.

    Args:
        run: `RunDirectory`.
        episodes: int or None. The configuration's own number when None.
        bindings: list of str. Gin bindings that win over the run's own.
        known_accepted: float, in 0..1. Share of known queries that the threshold lets pass.

    Returns:
        list of str, lines for people.

    Raises:
        ValueError: as `evaluate_run`; if there are no classes; for a share outside of 0..1.
        FileNotFoundError: if the run has no trained learner.
    """
    bindings = bindings or []
    if not 0 < known_accepted < 1:
        raise ValueError(f"--known_accepted must be between 0 and 1; received {known_accepted}.")
    _check(run, None, episodes, bindings)
    with command.quiet_start():
        from data_pipelines.samplers import open_set_episode
        from kfsl import configurables
        from kfsl.evaluation.calibrate import calibrate

    experiment = configurables.trained_experiment(run, bindings)
    found = calibrate(
        experiment,
        configurables.command_of("evaluate", experiment),
        configurables.bound(open_set_episode),
        known_accepted,
        **({} if episodes is None else {"episodes": episodes}),
    )
    configurables.check_overrides(bindings, run.config, "calibration")
    dataclasses.replace(found, overrides=bindings).save(run.calibration_path)
    return [*calibration_lines(found), f"written to {run.calibration_path}"]


def _told(found: Evaluation, run: RunDirectory) -> list[str]:
    lines = [found.summary(), *found.mode_lines(), *found.update_lines()]
    lines += [*evaluation_lines(found.calibration, found.open_set), _save(found, run)]
    return [*lines, *refresh_cards(run, found.weights)]


def _other(
    run: RunDirectory,
    against: RunDirectory,
    found: Evaluation,
    experiment: Any,
    arguments: dict[str, Any],
    bindings: list[str],
) -> Evaluation:
    """What another run's learner finds on the same episodes."""
    from data_pipelines.dataset import BASE_TEST
    from kfsl import configurables

    other = fitting_evaluation(against, found)
    if other is not None:
        return other
    # The process has its threads by now; the other run may name another number.
    own_bindings = [*bindings, "set_up.threads = 0"]
    compared = configurables.trained_experiment(against, own_bindings)
    splits = [arguments["split"], *([BASE_TEST] if arguments.get("base_queries") else [])]
    configurables.check_comparison(against, compared, experiment, splits, own_bindings)
    arguments = {name: value for name, value in arguments.items() if name != "calibration"}
    if found.after_updates:
        arguments = arguments | {"updates": len(found.after_updates) - 1, "rollouts": found.shots}
    # How tasks are evaluated is bound with the sampler, how a policy is updated with the policy.
    if configurables.is_of_episodes(experiment):
        configurables.parse_text(run.config, bindings)
    other = configurables.command_of("evaluate", experiment)(
        dataclasses.replace(experiment, learner=compared.learner),
        **{**arguments, "episodes": found.episodes, "seed": found.seed},
    )
    return dataclasses.replace(other, weights=compared.weights)


def _save(found: Evaluation, run: RunDirectory) -> str:
    """Writes an evaluation, but never over one of the same learner with more episodes."""
    path = run.evaluation_path(overridden_name(found.name, found.overrides))
    if os.path.isfile(path):
        stored = Evaluation.load(path)
        if stored.weights == found.weights and stored.episodes > found.episodes:
            return f"not written: {path} has {stored.episodes} episodes"
    found.save(path)
    return f"written to {path}"


def _check(
    run: RunDirectory, against: RunDirectory | None, episodes: int | None, bindings: list[str]
) -> None:
    if episodes is not None and episodes < 2:
        raise ValueError(
            f"--episodes must be at least 2, or there is no interval; received {episodes}."
        )
    gin_files.check([], bindings)
    for directory in (run, against):
        if directory is not None:
            check_trained(directory)


if __name__ == "__main__":
    main()
