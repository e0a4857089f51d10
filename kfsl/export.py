"""`python -m kfsl.export`: the SavedModel of a run's best learner.

    python -m kfsl.export --run_dir=RUN [--output=DIR]

Writes `RUN/saved_model`, or another folder. It takes a support set and queries as inputs and
needs neither kfsl nor Keras. Its probabilities are calibrated if the run is: see
`kfsl.evaluate --calibrate`.
"""

from absl import flags

from kfsl.command_line import command
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR, refuse, require
from kfsl.exported_run import export_run, summary
from kfsl.runs.run_directory import RunDirectory


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("output", None, "The folder to write; default: saved_model in the run.")
    command.run(_main)


def _main() -> None:
    run = RunDirectory(require(RUN_DIR, "the run to export"))
    refuse(GIN_FILE, "the run directory has its configuration")
    path = flags.FLAGS.output or run.saved_model
    description = export_run(run, path, GIN_PARAM.value)
    print("\n".join(summary(path, description)))


if __name__ == "__main__":
    main()
