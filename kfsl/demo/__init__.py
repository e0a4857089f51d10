"""`python -m kfsl.demo`: a page in the browser, where images are dropped into classes.

    python -m kfsl.demo --saved_model=DIR [--support=DIR] [--port=N]
    python -m kfsl.demo --run_dir=RUN [--support=DIR] [--port=N]
    python -m kfsl.demo --model=efficientnet_lite0 [--support=DIR] [--port=N]

The page learns the classes as soon as there are two, and says of further images which class each
is of, how far the support set can be trusted, and, where the model has it, where it looks.
`--run_dir=RUN` exports the run's best learner if it is not yet, and can show attention too;
`--model` names a pretrained network. The page is served to this machine alone and fetches nothing
from the internet. It needs Gradio: pip install 'kfsl[demo]'.
"""

import importlib.util
import socket

from absl import flags

from kfsl.command_line import command
from kfsl.command_line.flags import GIN_FILE, GIN_PARAM, RUN_DIR, refuse
from kfsl.exported_run import exported
from kfsl.prediction.image_folders import SupportFiles, find_support
from kfsl.prediction.request_checks import check_images, check_shots, check_ways
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import check_trained
from kfsl.serving.files import read_description

#: Of this machine alone.
HOST = "127.0.0.1"
PORT = 7860


def main() -> None:
    """The console script."""
    # Defined here, not at import: other commands have flags of the same name.
    flags.DEFINE_string("saved_model", None, "The folder that kfsl.export wrote.")
    flags.DEFINE_string("model", None, "A pretrained network, such as efficientnet_lite0.")
    flags.DEFINE_string("support", None, "A folder with one folder of images per class.")
    flags.DEFINE_integer("port", PORT, "Where the page is served.")
    command.run(_main)


def _main() -> None:
    options = flags.FLAGS
    _check_options(options.saved_model, options.model, options.port)
    support = find_support(options.support) if options.support else None
    run = RunDirectory(RUN_DIR.value) if RUN_DIR.value else None
    if run is not None:
        check_trained(run)
    if options.saved_model:
        _check_model(options.saved_model, support)
    _check_installed()
    saved_model = options.saved_model
    if run is not None:
        saved_model = exported(run)
        _check_model(saved_model, support)
    with command.quiet_start():
        from kfsl.demo.demo_model import DemoModel
        from kfsl.demo.server import serve
        from kfsl.demo.workbench import Workbench

        model = (
            DemoModel.of_network(options.model)
            if options.model
            else DemoModel.of_export(saved_model, run)
        )
    bench = Workbench(model)
    if support is not None:
        bench.start_with(support)
    serve(bench, HOST, options.port)


def _check_options(saved_model: str | None, model: str | None, port: int) -> None:
    """Refuses flags that contradict each other, or a port that cannot be had.

    Raises:
        ValueError: naming what is wrong.
        OSError: if something else has the port.
    """
    if [bool(saved_model), bool(RUN_DIR.value), bool(model)].count(True) != 1:
        raise ValueError(
            "Name one model: --saved_model=DIR, --run_dir=RUN or --model=efficientnet_lite0."
        )
    for flag in (GIN_FILE, GIN_PARAM):
        refuse(flag, "the model is made; export it anew to change it")
    if not 1 <= port <= 65535:
        raise ValueError(f"--port must be 1 to 65535; received {port}.")
    with socket.socket() as probe:
        # As servers do: of a page that has just ended the port is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise OSError(
                f"The port {port} cannot be had ({error.strerror}): name another with --port=N."
            ) from error


def _check_model(saved_model: str, support: SupportFiles | None) -> None:
    description = read_description(saved_model)
    check_images(description, saved_model)
    if support is not None:
        check_ways(description, len(support.classes), repr(str(support.root)))
        check_shots(description, dict(zip(support.classes, support.counts, strict=True)))


def _check_installed() -> None:
    if importlib.util.find_spec("gradio") is None:
        raise RuntimeError(
            "The page needs Gradio, which is not installed: pip install 'kfsl[demo]'"
        )
