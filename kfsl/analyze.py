"""`python -m kfsl.analyze`: figures of what a trained learner does, and the numbers in them.

    python -m kfsl.analyze --analysis=NAME --run_dir=DIR [--compare=OTHER_DIR ...]
        [--split=val] [--index=0] [--query=0] [--count=10] [--episodes=100]
        [--levels=0,0.1,1] [--noise_scale=std] [--noise_seeds=3]
        [--source_mode=NAME] [--target_mode=NAME] [--targets=1] [--rate=0.001] [--kept_epochs=5,10]
    python -m kfsl.analyze --analysis=second_order --model=FILE.keras

Writes a PNG, a JSON file and tables as Markdown into `DIR/analysis/`, or beside the model's file;
with `--gin_param` under names of their own.
"""

import os
from collections.abc import Mapping
from typing import Any

from absl import flags

from kfsl.analysis import analyses
from kfsl.analysis.answer import Analysis
from kfsl.analysis.request import AnalysisRequest, check_model_file
from kfsl.command_line import command, gin_files
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR, refuse, require
from kfsl.runs.evaluation_name import overridden_name
from kfsl.runs.files import write_json, write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained

#: The flags that an analysis may have as an option, if its signature says so.
OPTIONS = (
    "compare",
    "split",
    "index",
    "query",
    "count",
    "levels",
    "episodes",
    "noise_scale",
    "noise_seeds",
    "source_mode",
    "target_mode",
    "targets",
    "rate",
    "kept_epochs",
    "model",
)


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    names = ", ".join(sorted(analyses.ANALYSES))
    flags.DEFINE_string("analysis", None, f"Which: {names}.")
    flags.DEFINE_multi_string("compare", [], "Another run; may be repeated.")
    flags.DEFINE_string("split", None, "Which classes; the analysis has a default.")
    flags.DEFINE_integer("index", 0, "Number of the episode, from 0.", lower_bound=0)
    flags.DEFINE_integer("query", 0, "Which query of the episode, from 0.", lower_bound=0)
    flags.DEFINE_integer("count", 10, "Length of lists.", lower_bound=1)
    flags.DEFINE_list("levels", [], "What is varied: noise, or inner steps; as 0,0.1,1.")
    flags.DEFINE_integer("episodes", None, "How many, where several are drawn.", lower_bound=2)
    flags.DEFINE_enum("noise_scale", "std", ("std", "variance"), "What a level of noise is.")
    flags.DEFINE_integer("noise_seeds", 3, "Draws of the noise to average.", lower_bound=1)
    flags.DEFINE_string("source_mode", None, "Mode of a mixture to learn from; all if not given.")
    flags.DEFINE_string("target_mode", None, "Mode of a mixture to be asked; all if not given.")
    flags.DEFINE_integer("targets", 1, "Target tasks, where sources act on them.", lower_bound=1)
    flags.DEFINE_float("rate", None, "Of an update that is looked at.", lower_bound=0.0)
    flags.DEFINE_list("kept_epochs", [], "Epochs of train.keep_epochs to look at, as 5,10.")
    flags.DEFINE_string("model", None, "A .keras file to audit (second_order) instead of a run.")
    command.run(_main)


def _main() -> None:
    given = flags.FLAGS
    refuse(GIN_FILE, "the run directory has its configuration")
    if not given.analysis:
        names = ", ".join(sorted(analyses.ANALYSES))
        raise ValueError(f"--analysis is missing; there are {names}.")
    name = analyses.current_name(given.analysis)
    options = {option: given[option].value for option in OPTIONS if given[option].present}
    if "compare" in options:
        options["compare"] = tuple(RunDirectory(path) for path in given.compare)
    if "levels" in options:
        options["levels"] = _numbers("levels", given.levels, float, "numbers", "0,0.1,1")
        analyses.check_levels(name, options["levels"])
    if "kept_epochs" in options:
        options["kept_epochs"] = _numbers("kept_epochs", given.kept_epochs, int, "epochs", "5,10")
    run = _run(name, options.get("model"))
    request = AnalysisRequest(run, tuple(GIN_PARAM.value))
    found, files = _found_and_files(name, request, options)
    if found.table:
        print(found.table)
    for path in files:
        print(f"written to {path}")
    if found.conclusion:
        print(found.conclusion)


def _run(analysis: str, model: str | None) -> RunDirectory | None:
    if model is None:
        return RunDirectory(require(RUN_DIR, "the run to look at"))
    if analysis != "second_order":
        raise ValueError("--model is for --analysis=second_order; others need a --run_dir.")
    refuse(RUN_DIR, "--model is given instead of a run")
    refuse(GIN_PARAM, "a model file has no configuration")
    check_model_file(model)
    return None


def _numbers(flag: str, given: list[str], kind: type, what: str, example: str) -> tuple[Any, ...]:
    try:
        return tuple(kind(each) for each in given)
    except ValueError:
        raise ValueError(
            f"--{flag} takes {what} with commas between them, such as {example}; received "
            f"{','.join(given)!r}."
        ) from None


def analyze(name: str, request: AnalysisRequest, **options: Any) -> list[str]:
    """Runs an analysis and writes what it found.

    Args:
        name: str. Key of `kfsl.analysis.analyses.ANALYSES`.
        request: `AnalysisRequest`.
        **options: those of the analysis.

    Returns:
        list of str, the files written.

    Raises:
        ValueError: if there is no such analysis or option, or it cannot be made of this run.
        FileNotFoundError: if the run lacks what the analysis needs.
    """
    return _found_and_files(analyses.current_name(name), request, options)[1]


def _found_and_files(
    name: str, request: AnalysisRequest, options: Mapping[str, Any]
) -> tuple[Analysis, list[str]]:
    for run in filter(None, (request.run, *options.get("compare", ()))):
        _ = run.config
        if name in analyses.OF_LEARNERS:
            check_trained(run)
    gin_files.check([], request.bindings)
    with command.quiet_start():
        run_analysis = analyses.find(name)
    analyses.check_options(name, run_analysis, list(options))
    found = run_analysis(request, **options)
    if request.bindings:
        from kfsl import configurables

        configurables.check_overrides(request.bindings, request.run.config, "this analysis")
    if request.run is None:
        stem = f"{os.path.splitext(options['model'])[0]}.{found.name}"
        subject = {"model": options["model"]}
    else:
        bindings = list(request.bindings)
        stem = os.path.join(request.run.path, "analysis", overridden_name(found.name, bindings))
        subject = {"run": request.run.path, **({"overrides": bindings} if bindings else {})}
    write_json(f"{stem}.json", {"analysis": name, **subject, **found.values})
    files = [f"{stem}.json"]
    if found.markdown:
        write_text(f"{stem}.md", f"{found.markdown}\n")
        files.append(f"{stem}.md")
    if found.figure is not None:
        found.figure.savefig(f"{stem}.png")
        files.insert(0, f"{stem}.png")
    return found, files if found.write is None else [*files, *found.write()]


if __name__ == "__main__":
    main()
