"""The train command as a user meets it: good and bad input."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import letters
from tests.support.refusals import refusal

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

GIN = """
Experiment.learner = @PrototypicalNetwork()
PrototypicalNetwork.backbone = @Conv4()
Conv4.image_shape = (8, 8, 1)
Conv4.filters = 4
Conv4.num_pools = 2
Experiment.dataset = @load_dataset()
load_dataset.name = 'letters'
load_dataset.split = {split!r}
Experiment.sampler = @fixed_episode
fixed_episode.ways = %WAYS
fixed_episode.queries = 2
WAYS = 3
train.epochs = 2
train.steps_per_epoch = 3
train.validation_episodes = 4
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a prepared dataset and a gin file."""
    folder = tmp_path_factory.mktemp("user")
    letters.write_letters(str(folder / "stores" / "letters"))
    split = folder / "split.json"
    lists = {name: [f"c{i:02d}" for i in numbers] for name, numbers in letters.SPLITS.items()}
    split.write_text(json.dumps(lists))
    (folder / "letters.gin").write_text(GIN.format(split=str(split)))
    return folder


def train(folder, *arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": CHECKOUT,
        "KFSL_STORE_DIR": str(folder / "stores"),
    }
    command = [sys.executable, "-m", "kfsl.train", *arguments]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def assert_refused(result, *words):
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.long
def test_training_and_training_again(folder):
    first = train(folder, "--gin_file=letters.gin")
    assert first.returncode == 0, first.stderr
    assert "Trained 6 steps, validation accuracy" in first.stdout
    assert first.stderr == ""
    assert "PrototypicalNetwork" in (folder / "runs/letters/operative.gin").read_text()
    again = train(folder, "--gin_file=letters.gin")
    assert again.returncode == 0, again.stderr
    assert "is done: 6 steps" in again.stdout
    without_gin = train(folder, "--run_dir=runs/letters")
    assert "is done: 6 steps" in without_gin.stdout, without_gin.stderr
    other = train(folder, "--gin_file=letters.gin", "--gin_param=fixed_episode.shots=2")
    assert_refused(other, "another configuration", "fixed_episode.shots = 2", "--run_dir")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("--gin_file is missing", "gin/stanet.gin")),
        (("--gin_file=nothing.gin",), ("nothing.gin", "gin/stanet.gin")),
        (("--gin_file=letters.gin", "--gin_param=train.epochs="), ("--gin_param",)),
        (("letters.gin",), ("letters.gin", "--name=value")),
    ],
    ids=["no-gin", "missing-file", "malformed", "positional"],
)
def test_mistakes_seen_before_tensorflow_is_imported(folder, arguments, words, tmp_path):
    gin_file = tmp_path / "letters.gin"
    gin_file.write_text((folder / "letters.gin").read_text())
    message = refusal(tmp_path, "kfsl.train", *arguments)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ("Conv5.filters = 3", ("Conv5",)),
        ("Conv4.filter = 3", ("filter", "num_pools")),
        ("STANet.num_layers = 2", ("STANet.num_layers", "not used")),
        ("SHOTS = 2", ("SHOTS", "not used")),
        ("WAYS = 9", ("9", "5")),
        ("train.jit_compile = True", ("set_up.deterministic = False",)),
        ("train.epochs = 'x'", ("epochs", "'x'")),
        ("train.start_from = 'nowhere'", ("nowhere", "not a run directory")),
        ("Adam.learning_rate = 1e-3", ("Adam.learning_rate", "not used")),
        ("Conv4.image_shape = 8", ("Conv4", "wrong type")),
        ("Conv4.image_shape = (9, 8, 1)", ("(9, 8, 1)", "IMAGE_SHAPE = (8, 8, 1)")),
        ("load_dataset.name = 'omnigloss'", ("omnigloss", "prepare")),
        ("PrototypicalNetwork.bn_policy = 'train'", ("'train'", "running")),
    ],
    ids=lambda value: value.split(" ")[0] if isinstance(value, str) else "",
)
def test_mistakes_in_bindings(folder, binding, words):
    result = train(folder, "--gin_file=letters.gin", f"--gin_param={binding}", "--run_dir=new")
    assert_refused(result, *words)
    assert not (folder / "new").exists()


@pytest.mark.long
def test_xla_by_a_binding(folder):
    losses = []
    for run_dir, jit_compile in (("xla", True), ("plain", False)):
        bindings = (f"train.jit_compile = {jit_compile}", "set_up.deterministic = False")
        result = train(
            folder,
            "--gin_file=letters.gin",
            f"--run_dir={run_dir}",
            *(f"--gin_param={binding}" for binding in bindings),
        )
        # Keras would say so, if it went on without XLA.
        assert (result.returncode, result.stderr) == (0, "")
        lines = (folder / run_dir / "metrics.jsonl").read_text().splitlines()
        losses.append(json.loads(lines[-1])["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_folder_of_something_else_is_left_alone(folder):
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.jpg").write_text("")
    result = train(folder, "--gin_file=letters.gin", "--run_dir=photos")
    assert_refused(result, "photos", "not a run directory")
    assert os.listdir(folder / "photos") == ["cat.jpg"]


def test_importing_kfsl_and_the_command_is_quick():
    probe = (
        "import sys, kfsl, data_pipelines, kfsl.train; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'numpy')))"
    )
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    probed = subprocess.run([sys.executable, "-c", probe], env=environment, check=False)
    assert probed.returncode == 0
