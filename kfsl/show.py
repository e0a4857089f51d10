"""`python -m kfsl.show`: looks at an episode, or at the classes a learner finds hard.

    python -m kfsl.show --run_dir=DIR [--split=val] [--index=0] [--output=FILE.png]
    python -m kfsl.show --gin_file=FILE.gin [--split=val] [--index=0] [--output=FILE.png]
    python -m kfsl.show --run_dir=DIR --hardest=10 [--split=test]

An episode of the split `train` is the one that training drew at that number; the others are
those of `kfsl.evaluate`. Without a run there are no predictions.
"""

import os

from absl import flags

from kfsl.command_line import command, gin_files
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR, refuse
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained, stored_evaluation


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("split", None, "Which classes; default val, for --hardest test.")
    flags.DEFINE_integer("index", 0, "Number of the episode, from 0.")
    flags.DEFINE_string("output", None, "The picture; default: a name that says what it shows.")
    flags.DEFINE_integer("hardest", None, "List so many of the hardest and most confused classes.")
    command.run(_main)


def _main() -> None:
    options = flags.FLAGS
    run = RunDirectory(RUN_DIR.value) if RUN_DIR.value else None
    if options.hardest is not None:
        for name in ("gin_file", "gin_param", "index", "output"):
            refuse(options[name], "--hardest lists what an evaluation of the run found")
        print(hardest(run, options.split or "test", options.hardest))
        return
    path = show_episode(
        run,
        GIN_FILE.value,
        GIN_PARAM.value,
        options.split or "val",
        options.index,
        options.output,
    )
    print(f"written to {path}")


def hardest(run: RunDirectory | None, split: str, count: int) -> str:
    """The hardest and the most confused classes that an evaluation of a run found.

    Args:
        run: `RunDirectory` or None.
        split: str.
        count: int. How many of each.

    Returns:
        str, lines for people.

    Raises:
        ValueError: if there is no run or no positive `count`.
        FileNotFoundError: if the run was not evaluated on that split.
    """
    if run is None:
        raise ValueError("--hardest lists classes of an evaluated run: name it with --run_dir.")
    if count < 1:
        raise ValueError(f"--hardest must be at least 1; received {count}.")
    from kfsl.analysis.evaluations.confusion import confusion_text

    return confusion_text(stored_evaluation(run, split), count)


def show_episode(
    run: RunDirectory | None,
    gin_paths: list[str],
    bindings: list[str],
    split: str,
    index: int,
    output: str | None = None,
) -> str:
    """Draws an episode, with the predictions of the run's learner if there is a run.

    Args:
        run: `RunDirectory` or None.
        gin_paths: list of str. What describes the episodes where there is no run.
        bindings: list of str. Gin bindings that win.
        split: str.
        index: int, from 0.
        output: str or None. Where the picture goes.

    Returns:
        Path of the picture.

    Raises:
        ValueError: if neither or both of run and gin files are given, `index` is negative, or a
            binding has no effect on the episode.
    """
    if (run is None) == (not gin_paths):
        raise ValueError("Name either a run with --run_dir or a configuration with --gin_file.")
    if index < 0:
        raise ValueError(f"--index must not be negative; received {index}.")
    gin_files.check(gin_paths, bindings)
    if run is not None:
        check_trained(run)
    output = output or _default_output(run, split, index)
    check_picture(output)
    with command.quiet_start():
        from kfsl import configurables
        from kfsl.analysis.numbered_episode import numbered_episode
        from kfsl.experiment import Experiment
        from kfsl.figures.any_episode import any_episode_figure

    if run is None:
        config = configurables.parse(gin_paths, bindings)
        experiment, learner, seed = configurables.experiment(), None, None
    else:
        config = run.config
        experiment = configurables.trained_experiment(run, bindings)
        learner, seed = experiment.learner, run.metadata.get("seed")
    if not isinstance(experiment, Experiment):
        raise ValueError(
            f"{run.path if run else gin_paths[-1]} is of a policy, which has rollouts and no "
            "episodes: python -m kfsl.analyze --analysis=navigation --run_dir=RUN draws them."
        )
    drawn = numbered_episode(experiment, split, index, seed)
    configurables.check_overrides(bindings, config, "this episode")
    figure = any_episode_figure(learner, *drawn)
    os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
    figure.savefig(output)
    return output


def check_picture(path: str) -> None:
    """Refuses a name that matplotlib could not write.

    Raises:
        ValueError: naming the endings it can.
    """
    endings = (".png", ".svg", ".pdf")
    if not path.endswith(endings):
        raise ValueError(f"--output must end in {', '.join(endings)}; received {path!r}.")


def _default_output(run: RunDirectory | None, split: str, index: int) -> str:
    name = f"episode_{split}_{index}.png"
    return name if run is None else os.path.join(run.path, "analysis", name)


if __name__ == "__main__":
    main()
