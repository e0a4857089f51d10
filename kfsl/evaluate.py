"""`python -m kfsl.evaluate`: accuracy of a trained learner on fixed episodes.

    python -m kfsl.evaluate --run_dir=DIR [--split=test] [--episodes=600] [--against=OTHER_DIR]
        [--classes=new|base|both] [--shard=2/8 | --merge]

Writes `evaluation/<split>.json` into the run directory. With `--against` the learner of another
run meets the same episodes, and the paired difference is printed and written beside it. With
`--classes=base` a learner that classifies base classes is asked about their held-out images
(`load_dataset.held_out_images`), with `both` about those and the new classes' together.

Several processes or machines can share the work: each computes a part, `--shard=0/8` to
`--shard=7/8`, and `--merge`, with the other options as they were, makes of all of them what a
single process would have written.
"""

import dataclasses
import hashlib
import os
import re
from typing import Any

from absl import flags

from kfsl.command_line import command, gin_files
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR, refuse, require
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.files import write_json
from kfsl.runs.paired_difference import paired_by_mode, paired_difference
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained, fitting_evaluation

CLASSES = ("new", "base", "both")


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("split", "test", "Which classes.")
    flags.DEFINE_integer("episodes", None, "How many; default: what the configuration says.")
    flags.DEFINE_enum("classes", "new", CLASSES, "Which classes the queries are of.")
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
    asked = (run, options.split, options.episodes, against, GIN_PARAM.value, options.classes)
    for line in evaluate_run(*asked, shard=_shard(options.shard), merge=options.merge):
        print(line)


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
        from kfsl import configurables
        from kfsl.evaluation import part_files

    experiment = configurables.trained_experiment(run, bindings)
    weights = experiment.weights
    experiment, arguments = _asked(run, experiment, split, classes, shard is not None or merge)
    if episodes is not None:
        arguments["episodes"] = episodes
    if merge:
        name = f"{arguments['split']}{'_and_base' if classes == 'both' else ''}"
        name = _overridden(name, bindings)
        found = part_files.merged(run, name, experiment.learner.objective, weights, episodes)
        lines = _told(found, run)
        part_files.remove(run, name)
    else:
        evaluate = configurables.command_of("evaluate", experiment)
        found = evaluate(experiment, **arguments, **({} if shard is None else {"shard": shard}))
        configurables.check_overrides(bindings, run, "evaluation")
        # The run may train on meanwhile: what counts is the file that was loaded.
        found = dataclasses.replace(found, weights=weights, overrides=bindings)
        if shard is not None:
            return [part_files.save(found, run, _overridden(found.name, bindings))]
        lines = _told(found, run)
    if against is None:
        return lines
    other = _other(against, found, experiment, arguments, bindings)
    return [*lines, *_comparison(run, against, found, other)]


def _asked(
    run: RunDirectory, experiment: Any, split: str, classes: str, in_parts: bool
) -> tuple[Any, dict[str, Any]]:
    """The experiment, and the arguments of its evaluation, that ask about some classes."""
    from kfsl.evaluation import base_classes
    from kfsl.experiment import Experiment

    if not isinstance(experiment, Experiment):
        if classes != "new":
            raise ValueError(
                f"{run.path} has a policy, which knows no classes; leave --classes out."
            )
        if in_parts:
            raise ValueError(
                f"{run.path} has a policy, whose tasks act together; leave --shard and --merge out."
            )
    if classes == "base":
        return base_classes.asked_alone(experiment), {"split": base_classes.BASE_TEST}
    if classes == "both":
        queries = base_classes.queries(experiment, split)
        return experiment, {"split": split, "base_queries": queries}
    return experiment, {"split": split}


def _told(found: Evaluation, run: RunDirectory) -> list[str]:
    return [found.summary(), *found.mode_lines(), *found.update_lines(), _save(found, run)]


def _other(
    against: RunDirectory,
    found: Evaluation,
    experiment: Any,
    arguments: dict[str, Any],
    bindings: list[str],
) -> Evaluation:
    """What another run's learner finds on the same episodes."""
    from kfsl import configurables

    other = fitting_evaluation(against, found)
    if other is not None:
        return other
    # The process has its threads by now; the other run may name another number.
    compared = configurables.trained_experiment(against, [*bindings, "set_up.threads = 0"])
    if found.after_updates:
        arguments = arguments | {"updates": len(found.after_updates) - 1, "rollouts": found.shots}
    other = configurables.command_of("evaluate", experiment, with_bindings=False)(
        dataclasses.replace(experiment, learner=compared.learner),
        **{**arguments, "episodes": found.episodes, "seed": found.seed},
    )
    return dataclasses.replace(other, weights=compared.weights)


def _comparison(
    run: RunDirectory, against: RunDirectory, found: Evaluation, other: Evaluation
) -> list[str]:
    """Writes the paired difference of two evaluations; lines for people."""
    difference = paired_difference(found, other)
    other_name = os.path.basename(against.path.rstrip("/"))
    path = run.evaluation_path(f"{found.name}_against_{other_name}")
    values = {
        "split": found.split,
        "against": against.path,
        # Of the same episodes: it may have been evaluated on more.
        "against_mean": dataclasses.replace(other, values=other.values[: found.episodes]).mean,
        "weights": found.weights,
        "against_weights": other.weights,
        "overrides": found.overrides,
    }
    apart = paired_by_mode(found, other)
    modes = {name: dataclasses.asdict(each) for name, each in apart.items()}
    write_json(path, {**values, **dataclasses.asdict(difference), "by_mode": modes})
    lines = [f"against {against.path}: {other.summary()}", difference.summary()]
    lines += [f"  {name}: {each.summary()}" for name, each in apart.items()]
    if found.transductive != other.transductive:
        which = "this run" if found.transductive else against.path
        lines.append(f"mind that {which} is transductive: its queries share their statistics")
    return lines


def _overridden(name: str, bindings: list[str]) -> str:
    """The name of an evaluation whose bindings are not the run's own."""
    if not bindings:
        return name
    return f"{name}_overridden_{hashlib.sha256(chr(10).join(bindings).encode()).hexdigest()[:8]}"


def _save(found: Evaluation, run: RunDirectory) -> str:
    """Writes an evaluation, but never over one of the same learner with more episodes."""
    path = run.evaluation_path(_overridden(found.name, found.overrides))
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
