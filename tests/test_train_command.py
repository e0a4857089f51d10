"""The train command as a user meets it: good and bad input."""

import json
import os
import subprocess
import sys

import pytest

from kfsl.runs.run_directory import RunDirectory
from tests.support import forked, letters
from tests.support.commands import refused, run_command
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


def environment(folder):
    stores = str(folder / "stores")
    return {**os.environ, "PYTHONPATH": CHECKOUT, "KFSL_STORE_DIR": stores}


def train(folder, *arguments):
    return forked.python(["-m", "kfsl.train", *arguments], env=environment(folder), cwd=folder)


@pytest.fixture
def train_here(folder, monkeypatch, capsys):
    """The command in this process, in the user's folder; of modules there it sees none."""
    monkeypatch.setenv("KFSL_STORE_DIR", str(folder / "stores"))
    monkeypatch.chdir(folder)
    away = [path for path in sys.path if path not in ("", str(folder))]

    def call(*arguments):
        monkeypatch.setattr(sys, "path", list(away))
        return run_command(monkeypatch, capsys, "kfsl.train", *arguments)

    return call


@pytest.mark.long
def test_training_and_training_again(folder, train_here):
    # Started as a user starts it: what TensorFlow says at its import would show.
    first = subprocess.run(
        [sys.executable, "-m", "kfsl.train", "--gin_file=letters.gin"],
        env=environment(folder), cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    assert "Trained 6 steps, validation accuracy" in first.stdout
    assert first.stderr == ""
    assert "PrototypicalNetwork" in (folder / "runs/letters/operative.gin").read_text()
    again = train(folder, "--gin_file=letters.gin")
    assert again.returncode == 0, again.stderr
    assert "is done: trained 6 steps before" in again.stdout
    # Killed before its end was written, it has its end now.
    RunDirectory(str(folder / "runs/letters")).reopen()
    without_gin = train_here("--run_dir=runs/letters")
    assert "is done: trained 6 steps before" in without_gin.out, without_gin
    config = (folder / "runs/letters/config.gin").read_text()
    for other in ("fixed_episode.shots=2", "train.epochs=1"):
        answer = train_here("--gin_file=letters.gin", f"--gin_param={other}")
        refused(answer, "another configuration", other.replace("=", " = "), "--run_dir")
    refused(
        train_here("--run_dir=runs/letters", "--gin_param=train.epochs=3", "--gin_param=WAYS=2"),
        "another configuration",
        "Only train.epochs may grow",
    )
    assert (folder / "runs/letters/config.gin").read_text() == config
    more = train_here("--run_dir=runs/letters", "--gin_param=train.epochs=3")
    assert "Trained 9 steps" in more.out, more
    run = RunDirectory(str(folder / "runs/letters"))
    assert "train.epochs = 3" in run.config
    (growth,) = run.metadata["epochs_grown"]
    assert (growth["from"], growth["to"]) == (2, 3)
    started = train_here(
        "--gin_file=letters.gin", "--run_dir=runs/taken", "--gin_param=train.epochs=0",
        "--gin_param=train.start_from='runs/letters'",
    )  # fmt: skip
    assert "The weights of runs/letters were taken over, validation accuracy" in started.out
    again = train_here("--run_dir=runs/taken")
    assert "is done: the weights of runs/letters were taken over before" in again.out, again


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
        ("train.epochs = 0", ("train.epochs must be a whole number of at least 1; received 0",)),
        ("train.patience = 0", ("train.patience must be", "received 0")),
        ("train.seed = 1.5", ("train.seed must be a whole number", "received 1.5")),
        ("train.optimizer = @Adam", ("train.optimizer must be", "@Adam() with its brackets")),
        ("set_up.threads = -1", ("set_up.threads must be", "received -1")),
        (
            "Experiment.learner = @PrototypicalNetwork",
            ("Experiment.learner must be a learner", "with its brackets; received the class Proto"),
        ),
        ("Experiment.learner = 3", ("Experiment.learner must be a learner", "received 3")),
        (
            "Experiment.dataset = @load_dataset",
            (
                "Experiment.dataset must be a dataset",
                "brackets; received the function load_dataset",
            ),
        ),
        (
            "Experiment.sampler = @load_dataset",
            (
                "Experiment.sampler must be a function of (split, seed, index)",
                "function load_datas",
            ),
        ),
        ("Experiment.sampler = @Conv4", ("Experiment.sampler must be", "the class Conv4")),
        ("PrototypicalNetwork.objective = 'x'", ("`objective` must be an objective", "'x'")),
        (
            "PrototypicalNetwork.objective = @Regression",
            ("`objective` must be an objective", "brackets; received the class Regression"),
        ),
        (
            "PrototypicalNetwork.preprocessing = @PixelNormalization",
            ("`preprocessing` must be a Keras layer", "the class PixelNormalization"),
        ),
        (
            "PrototypicalNetwork.backbone = @Conv4",
            ("`backbone` must be a Keras model", "@Conv4() with its brackets", "the class Conv4"),
        ),
        ("PrototypicalNetwork.ways = 2.5", ("`ways` must be a whole number", "2.5")),
        ("load_dataset.held_out_images = 1.5", ("load_dataset.held_out_images must be a whole",)),
    ],
    ids=lambda value: value.split(" ")[0] if isinstance(value, str) else "",
)
def test_mistakes_in_bindings(folder, train_here, binding, words):
    answer = train_here("--gin_file=letters.gin", f"--gin_param={binding}", "--run_dir=new")
    refused(answer, *words)
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


def test_a_folder_of_something_else_is_left_alone(folder, train_here):
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.jpg").write_text("")
    answer = train_here("--gin_file=letters.gin", "--run_dir=photos")
    refused(answer, "photos", "not a run directory")
    assert os.listdir(folder / "photos") == ["cat.jpg"]


OWN = """
import keras

from kfsl.configurables import register


@register
def own_backbone(kind: str = "sequential") -> keras.Model:
    layers = [keras.layers.Flatten(), keras.layers.Dense(3)]
    if kind == "functional":
        layers.insert(0, keras.Input((8, 8, 1)))
    return Subclassed() if kind == "subclassed" else keras.Sequential(layers)


class Subclassed(keras.Model):
    def call(self, images):
        return keras.ops.mean(images, axis=(1, 2))
"""


@pytest.mark.parametrize("kind", ["sequential", "subclassed", "functional"])
def test_a_backbone_of_the_users_own_module(folder, train_here, kind):
    (folder / "own_backbones.py").write_text(OWN)
    text = (folder / "letters.gin").read_text()
    text = "".join(line for line in text.splitlines(True) if not line.startswith("Conv4"))
    text = "import own_backbones\n" + text.replace("@Conv4()", "@own_backbone()")
    (folder / f"{kind}.gin").write_text(f"{text}own_backbone.kind = '{kind}'\n")
    answer = train_here(f"--gin_file={kind}.gin", f"--run_dir={kind}", "--gin_param=train.epochs=1")
    if kind == "functional":
        assert answer.code == 0, answer
        assert RunDirectory(str(folder / kind)).config.startswith("import own_backbones")
    else:
        refused(answer, "is not built", "keras.Input")
        assert not (folder / kind).exists()


def test_a_module_that_is_not_there(folder, train_here):
    (folder / "missing.gin").write_text("import own_missing\n")
    refused(train_here("--gin_file=missing.gin"), "own_missing", "current folder", "PYTHONPATH")


def test_a_defect_of_a_users_module_keeps_its_traceback(folder, train_here):
    (folder / "own_defect.py").write_text("1 / 0\n")
    (folder / "defect.gin").write_text("import own_defect\n")
    with pytest.raises(ZeroDivisionError):
        train_here("--gin_file=defect.gin")


def test_a_full_memory_or_disk_is_told_in_one_line(train_here, monkeypatch):
    import tensorflow as tf

    from kfsl.training.training_session import TrainingSession

    def fails(*arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\n a tensor")

    monkeypatch.setattr(TrainingSession, "fit", fails)
    answer = train_here("--gin_file=letters.gin", "--run_dir=full")
    refused(answer, "no more memory or disk", "OOM when allocating a tensor")


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("train", ("gin_file", "gin_param", "run_dir")),
        ("evaluate", ("run_dir", "gin_param", "split", "episodes", "against")),
        ("export", ("run_dir", "output")),
        ("predict", ("saved_model", "support", "query")),
        ("analyze", ("run_dir", "analysis")),
        ("show", ("run_dir", "split", "index")),
        ("results", ("help",)),
    ],
)
def test_help_names_the_flags(command, flags, monkeypatch, capsys):
    answer = run_command(monkeypatch, capsys, f"kfsl.{command}", "--help")
    assert f"python -m kfsl.{command}" in answer.out
    for flag in flags:
        assert f"--{flag}" in answer.out or f"--[no]{flag}" in answer.out, answer.out


def test_a_terminal_without_the_letters_of_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    message = refusal(tmp_path, "kfsl.train", "--gin_file=\u017c\u00f3\u0142w.gin")
    assert "\\u017c\\xf3\\u0142w.gin" in message


def test_importing_kfsl_and_the_command_is_quick():
    probe = (
        "import sys, kfsl, data_pipelines, kfsl.train; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'numpy')))"
    )
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    probed = subprocess.run([sys.executable, "-c", probe], env=environment, check=False)
    assert probed.returncode == 0
