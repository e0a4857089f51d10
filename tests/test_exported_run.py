"""The SavedModel of a run: made when it is missing or of other weights, and what it says."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.class_store import StoredClass
from data_pipelines.class_store_writer import write_class_store
from kfsl import FewShotClassifier, exported_run
from kfsl.calibration.record import Calibration
from kfsl.command_line import command
from kfsl.runs.learner_file import file_fingerprint
from kfsl.serving import formats
from tests.support import forked, letters
from tests.support.exported_model import CLASSES, write_folder, write_queries
from tests.support.formats import needs

CONFIG = """
Experiment.learner = @PrototypicalNetwork()
PrototypicalNetwork.backbone = @Conv4()
Conv4.image_shape = (8, 8, 1)
Conv4.filters = 4
Conv4.num_pools = 2
Experiment.dataset = @load_dataset()
load_dataset.name = 'shapes'
load_dataset.data_dir = {stores!r}
Experiment.sampler = @fixed_episode
fixed_episode.ways = 3
"""


def run_command(module: str, *arguments: str) -> subprocess.CompletedProcess:
    return forked.python(["-m", module, *arguments])


def write_store(path):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 8, 8, 1)).astype("uint8")
    names = [f"class{i}" for i in range(6)]
    write_class_store(
        path,
        [StoredClass(name, name, 4) for name in names],
        [(i, image) for i in range(6) for image in images[i]],
        image_shape=(8, 8, 1),
        metadata={
            "name": "shapes",
            "licence": "free",
            "splits": {"train": names[:3], "val": names[3:4], "test": names[4:]},
        },
    )
    return images


@pytest.fixture
def run(tmp_path):
    """A run directory that a process can read: nothing in it is of the tests' own."""
    from kfsl import configurables
    from kfsl.runs.run_directory import RunDirectory

    write_store(str(tmp_path / "stores" / "shapes"))
    run = RunDirectory(str(tmp_path / "run"))
    run.start(configurables.parse_text(CONFIG.format(stores=str(tmp_path / "stores"))))
    os.makedirs(os.path.dirname(run.best_learner))
    letters.prototypical_network().save(run.best_learner)
    return run


def test_predict_needs_nothing_but_the_run(run, tmp_path):
    support = write_folder(tmp_path / "support", CLASSES)
    queries = write_queries(tmp_path / "queries")
    output = tmp_path / "out.csv"
    arguments = (f"--run_dir={run.path}", f"--support={support}", f"--query={queries}")
    done = run_command("kfsl.predict", *arguments, f"--output={output}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"exported {run.path} to {run.saved_model}\n")
    assert "trained on shapes; images are scaled to 8x8, grey." in done.stdout
    assert len(output.read_text().splitlines()) == 4


def test_a_run_is_a_classifiers_model(run, tmp_path):
    support = write_folder(tmp_path / "support", CLASSES)
    queries = write_queries(tmp_path / "queries")
    of_run = FewShotClassifier(run.path).fit(support)
    assert os.path.isfile(os.path.join(run.saved_model, "saved_model.pb"))
    of_learner = FewShotClassifier(letters.prototypical_network()).fit(support)
    np.testing.assert_allclose(
        of_run.predict_proba(queries), of_learner.predict_proba(queries), atol=1e-5
    )


def test_export_of_a_run(run, tmp_path):
    description = exported_run.export_run(run, run.saved_model)
    assert description["learner"] == "PrototypicalNetwork"
    with open(os.path.join(run.saved_model, "classes.json"), encoding="utf-8") as file:
        classes = json.load(file)
    assert classes["dataset"] == "shapes"
    assert classes["licence"] == "free"
    assert classes["training_classes"] == ["class0", "class1", "class2"]
    # Of the training classes alone.
    mean = write_store(str(tmp_path / "again"))[:3, 0].mean()
    assert classes["mean_pixel"] == pytest.approx(mean, abs=0.01)
    lines = exported_run.summary(run.saved_model, description)
    assert lines[0] == f"PrototypicalNetwork is in {run.saved_model}"
    assert "any number of new classes, images 8x8x1, BN policy running." in lines[1]
    assert lines[2].endswith(f"python {run.saved_model}/example.py")


def test_an_export_is_reused_only_if_it_is_of_these_weights(run, monkeypatch, capsys):
    exported_run.export_run(run, run.saved_model)
    description = model_description(run)
    assert description["weights"] == file_fingerprint(run.best_learner)
    calls = []
    monkeypatch.setattr(exported_run, "export_run", lambda *arguments: calls.append(arguments))
    # A copied run has other times.
    os.utime(os.path.join(run.saved_model, "saved_model.pb"), (1, 1))
    assert exported_run.exported(run) == run.saved_model
    assert (calls, capsys.readouterr().out) == ([], "")
    # Later weights, of an earlier time than the graph's: the run trained on during the export.
    letters.prototypical_network(seed=5).save(run.best_learner)
    os.utime(run.best_learner, (0, 0))
    exported_run.exported(run)
    assert len(calls) == 1
    assert "what was there is of other weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"overrides": ["WAYS = 3"]}, "differed by WAYS = 3."),
        ({"weights": ""}, "other weights, or does not say of which"),
        ({"weights": None}, "other weights, or does not say of which"),
        ("{", "is damaged"),
    ],
)
def test_an_export_that_is_not_the_runs_own_is_made_again(run, capsys, changes, reason):
    exported_run.export_run(run, run.saved_model)
    described = os.path.join(run.saved_model, "model.json")
    values = changes
    if isinstance(changes, dict):
        values = {**model_description(run), **changes}
        # As exports of earlier releases are: without the key.
        values = json.dumps({key: value for key, value in values.items() if value is not None})
    with open(described, "w", encoding="utf-8") as file:
        file.write(values)
    exported_run.exported(run)
    assert reason in capsys.readouterr().out
    assert model_description(run)["weights"] == file_fingerprint(run.best_learner)
    assert model_description(run)["overrides"] == []


def calibrated(run, **changes):
    """Writes a calibration of the run's learner, as `kfsl.evaluate --calibrate` does."""
    values = {
        "temperature": 2.0, "split": "val", "episodes": 600, "ways": 5, "shots": 1, "queries": 15,
        "seed": 0, "dataset": "shapes", "dataset_fingerprint": "", "overrides": [],
        "weights": file_fingerprint(run.best_learner),
        "settings": changes.get("settings") or model_description(run)["settings"],
        "before": {"ece": 0.2}, "after": {"ece": 0.02}, "rejection": None,
    }  # fmt: skip
    found = Calibration(**{**values, **changes})
    found.save(run.calibration_path)
    return found


def test_the_runs_calibration_is_exported(run):
    plain = exported_run.export_run(run, run.saved_model)
    assert plain["calibration"] is None
    assert "not calibrated" in exported_run.summary(run.saved_model, plain)[-1]
    written = calibrated(run)
    described = exported_run.export_run(run, run.saved_model)
    assert described["calibration"] == model_description(run)["calibration"] == written.served()
    told = exported_run.summary(run.saved_model, described)[-1]
    assert "calibrated by the temperature 2, fitted on 600 5-way 1-shot validation episodes" in told
    assert "calibration error is 2.0 % with it, 20.0 % without" in told


@pytest.mark.parametrize("changes", [{"weights": "other"}, {"settings": "other"}])
def test_a_calibration_of_another_learner_is_not(run, changes):
    exported_run.export_run(run, run.saved_model)
    calibrated(run, **changes)
    assert exported_run.export_run(run, run.saved_model)["calibration"] is None


def test_predict_exports_again_what_was_calibrated_since(run, monkeypatch, capsys):
    exported_run.export_run(run, run.saved_model)
    calibrated(run)
    exported_run.exported(run)
    assert "since what was there is of another calibration." in capsys.readouterr().out
    assert model_description(run)["calibration"]["temperature"] == 2.0
    monkeypatch.setattr(
        exported_run, "export_run", lambda *arguments: pytest.fail("exported again")
    )
    exported_run.exported(run)
    # Of another learner than the run's it changes nothing.
    os.remove(run.calibration_path)
    rewritten = {**model_description(run), "calibration": None}
    with open(os.path.join(run.saved_model, "model.json"), "w", encoding="utf-8") as file:
        json.dump(rewritten, file)
    calibrated(run, settings="other")
    exported_run.exported(run)
    assert capsys.readouterr().out == ""


def test_an_export_says_which_weights_it_loaded(run, monkeypatch):
    loaded = file_fingerprint(run.best_learner)
    train_on_when(monkeypatch, run)
    exported_run.export_run(run, run.saved_model)
    assert model_description(run)["weights"] == loaded != file_fingerprint(run.best_learner)


def train_on_when(monkeypatch, run):
    """The run gets other weights after they were loaded and before anything is written."""
    from kfsl import configurables

    def check_overrides(*arguments):
        letters.prototypical_network(seed=5).save(run.best_learner)

    monkeypatch.setattr(configurables, "check_overrides", check_overrides)


def model_description(run):
    with open(os.path.join(run.saved_model, "model.json"), encoding="utf-8") as file:
        return json.load(file)


@pytest.mark.parametrize(("classes", "most"), [(1, 1), (500, 500), (501, 500), (999, 500)])
def test_the_mean_pixel_is_of_500_images_at_most(monkeypatch, classes, most):
    taken = []

    class Images:
        def __getitem__(self, rows):
            taken.append(len(rows))
            return np.zeros(len(rows))

    split = SimpleNamespace(
        offsets=np.arange(classes), num_classes=classes, class_names=["a"] * classes
    )
    store = SimpleNamespace(metadata={}, images=Images())
    dataset = SimpleNamespace(store=store, name="a", fingerprint="", split=lambda name: split)
    exported_run.training_data(dataset)
    assert classes / 3 < taken[0] <= most


def test_export_with_another_policy(run, tmp_path):
    path = str(tmp_path / "support_policy")
    bindings = ['PrototypicalNetwork.bn_policy = "support"']
    description = exported_run.export_run(run, path, bindings)
    assert description["bn_policy"] == "support"
    assert description["overrides"] == bindings
    with pytest.raises(
        ValueError, match=r"fixed_episode\.shots=2 has no effect on the exported learner"
    ):
        exported_run.export_run(run, str(tmp_path / "other"), ["fixed_episode.shots=2"])
    assert not os.path.exists(tmp_path / "other")


def test_export_refuses_what_it_cannot_do(run, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="kfsl did not export"):
        exported_run.check_export(run, str(tmp_path / "thesis"))
    os.remove(run.best_learner)
    with pytest.raises(FileNotFoundError, match="no trained learner yet"):
        exported_run.check_export(run, run.saved_model)
    done = run_command("kfsl.export", f"--run_dir={run.path}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no trained learner yet" in done.stderr
    assert "--run_dir is missing" in command.one_line(ValueError(run_command("kfsl.export").stderr))


@pytest.mark.parametrize(
    "format_name", [pytest.param(n, marks=needs(n)) for n in ("onnx", "litert")]
)
def test_a_format_is_written_by_the_command(run, format_name):
    done = run_command("kfsl.export", f"--run_dir={run.path}", f"--format={format_name}")
    assert (done.returncode, done.stderr) == (0, "")
    folder = run.exported(format_name)
    assert done.stdout.startswith(f"PrototypicalNetwork is in {folder}\n")
    script = os.path.join(folder, "example.py")
    assert f"On your images:  python {script} SUPPORT_FOLDER QUERY_FOLDER\n" in done.stdout
    with open(os.path.join(folder, "model.json"), encoding="utf-8") as file:
        described = json.load(file)
    assert described["weights"] == file_fingerprint(run.best_learner)
    assert "Dataset: shapes" in (Path(folder) / "README.md").read_text()
    assert not os.path.exists(run.saved_model)
    # What is asked of a SavedModel is refused.
    asked = ("--support=x", "--query=y")
    refused = run_command("kfsl.predict", f"--saved_model={folder}", *asked)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_format_that_is_none_is_refused(run):
    done = run_command("kfsl.export", f"--run_dir={run.path}", "--format=torch")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "saved_model|onnx|litert" in done.stderr


def test_a_format_whose_packages_are_missing_is_refused_first(run, monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'kfsl\[litert\]'$"):
        exported_run.check_export(run, run.exported("litert"), format_name="litert")
    exported_run.check_export(run, run.saved_model)
