"""`python -m kfsl.train`: trains a learner that gin files describe.

    python -m kfsl.train --gin_file=gin/stanet.gin [--gin_param=train.epochs=3] [--run_dir=DIR]

Called again it goes on where it stopped, or says that it is done; with more `train.epochs` than
before, and nothing else changed, it goes on to those. With a run directory of an earlier call,
`--gin_file` may be left out. A second call while the first trains is refused.
"""

import os

from kfsl.command_line import command, gin_files
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR
from kfsl.runs.measure import measure_named
from kfsl.runs.run_directory import RunDirectory


def main() -> None:
    """The console script."""
    command.run(_main, command.RESUMES)


def _main() -> None:
    paths, bindings = GIN_FILE.value, GIN_PARAM.value
    run = RunDirectory(_run_directory(paths))
    if not paths and not run.exists:
        raise ValueError(
            "--gin_file is missing: name a configuration, such as one of "
            f"{', '.join(gin_files.shipped())}."
        )
    gin_files.check(paths, bindings)
    with command.quiet_start():
        from kfsl import configurables
        from kfsl.training.lost_worker import lost_worker_told

    config = (
        configurables.parse(paths, bindings)
        if paths
        else configurables.parse_text(run.config, bindings)
    )
    run.check(config)
    configurables.check_start(config, run)
    with lost_worker_told(lambda: "nothing was begun", RuntimeError):
        experiment = configurables.experiment()
    session = configurables.command_of("train", experiment)(experiment, run)
    configurables.check_used("train")
    if session.done:
        session.fit()  # Trains nothing; it tells the end of a training that was killed before it.
        print(f"{run.path} is done: {_trained(run)} before. Nothing to do.")
        return
    if session.writes:
        run.start(config)
    logs = session.fit(configurables.operative())
    if session.writes:
        print(_summary(run, logs, experiment.learner.objective.measure.name))


def _run_directory(paths: list[str]) -> str:
    if RUN_DIR.value:
        return RUN_DIR.value
    name = os.path.splitext(os.path.basename(paths[-1]))[0] if paths else ""
    return os.path.join("runs", name)


def _summary(run: RunDirectory, logs: dict[str, float], metric: str) -> str:
    validation = ""
    if f"val_{metric}" in logs:
        told = measure_named(metric).text(logs[f"val_{metric}"], logs[f"val_{metric}_interval"])
        validation = f", validation {metric} {told}"
    told = _trained(run)
    return (
        f"{told[0].upper()}{told[1:]}{validation}. The run is in {run.path}; "
        f"evaluate it: python -m kfsl.evaluate --run_dir={run.path}"
    )


def _trained(run: RunDirectory) -> str:
    metadata = run.metadata
    steps = metadata.get("steps", 0)
    if not steps and "start_from" in metadata:
        return f"the weights of {metadata['start_from']} were taken over"
    return f"trained {steps} steps"


if __name__ == "__main__":
    main()
