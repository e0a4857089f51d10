"""`python -m kfsl.export`: the SavedModel of a run's best learner, or its ONNX or LiteRT files.

    python -m kfsl.export --run_dir=RUN [--format=saved_model|onnx|litert] [--output=DIR]

Writes `RUN/saved_model`, `RUN/onnx` or `RUN/litert`, or another folder. It takes a support set and
queries as inputs and needs neither kfsl nor Keras; ONNX and LiteRT files, one for each signature,
need no TensorFlow either. Probabilities are calibrated if the run is: see
`kfsl.evaluate --calibrate`. Beside the graph lies a model card, `README.md`.
"""

from absl import flags

from kfsl.command_line import command
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR, refuse, require
from kfsl.exported_run import export_run, summary
from kfsl.runs.run_directory import RunDirectory
from kfsl.serving.formats import FORMATS


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("output", None, "The folder to write; default: the format's in the run.")
    flags.DEFINE_enum("format", "saved_model", list(FORMATS), "What to write.")
    command.run(_main)


def _main() -> None:
    run = RunDirectory(require(RUN_DIR, "the run to export"))
    refuse(GIN_FILE, "the run directory has its configuration")
    format_name = flags.FLAGS.format
    path = flags.FLAGS.output or run.exported(format_name)
    description = export_run(run, path, GIN_PARAM.value, format_name)
    print("\n".join(summary(path, description)))


if __name__ == "__main__":
    main()
