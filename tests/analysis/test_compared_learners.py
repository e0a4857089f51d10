"""Runs that are looked at together take tasks of one shape, or are told apart in one line."""

import keras
import numpy as np
import pytest

from data_pipelines.class_store import ClassStore
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.dataset import FewShotDataset
from kfsl import configurables
from kfsl.analysis.compared_learners import compared
from kfsl.analysis.request import CLASSES, NUMBERS, AnalysisRequest
from kfsl.backbones.conv4 import Conv4
from kfsl.learners.maml import MAML
from kfsl.learners.prototypical_network import PrototypicalNetwork
from kfsl.runs.run_directory import RunDirectory
from tests.support import gradient_runs, letters
from tests.support.commands import run_command

LARGE = (12, 12, 1)

OF_NUMBERS = """
Experiment.dataset = @letters_dataset()
letters_dataset.path = {store!r}
Experiment.sampler = @pixel_episode
MLP.hidden = (8,)
MLP.image_shape = ({length},)
Experiment.learner = @MAML()
MAML.backbone = @MLP()
MAML.objective = @Regression()
"""


@configurables.register
def large_letters(path: str) -> FewShotDataset:
    return FewShotDataset("large_letters", ClassStore.open(path), letters.SPLITS)


@configurables.register
def large_prototypes(shape: tuple = LARGE) -> PrototypicalNetwork:
    return PrototypicalNetwork(Conv4(image_shape=shape, filters=4, num_pools=2))


@configurables.register
def large_maml() -> MAML:
    images = keras.Input(LARGE)
    return MAML(
        keras.Model(images, keras.layers.Conv2D(4, 3, 2, activation="relu")(images)), ways=3
    )


@pytest.fixture(scope="module")
def large_store(store, tmp_path_factory):
    """The letters with a margin around them."""
    path = str(tmp_path_factory.mktemp("stores") / "large")
    small = ClassStore.open(store)
    classes = [
        letters.StoredClass(name, "all", int(count))
        for name, count in zip(small.class_names, small.counts, strict=True)
    ]
    owners = np.repeat(np.arange(len(classes)), small.counts).tolist()
    images = np.pad(small.images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    pixels = zip(owners, images, strict=True)
    write_class_store(path, classes, pixels, image_shape=LARGE, metadata={"name": "large_letters"})
    return path


def large_run(path, store, learner):
    lines = (
        f"Experiment.learner = @{learner.__name__}()\nExperiment.dataset = @large_letters()\n"
        f"large_letters.path = {store!r}\nExperiment.sampler = @fixed_episode\n"
        "fixed_episode.ways = 3\nfixed_episode.queries = 4\n"
    )
    run = RunDirectory(str(path))
    run.start(configurables.parse_text(lines))
    (path / "best").mkdir()
    learner().save(run.best_learner)
    run.update_metadata({"seed": 0, "dataset_fingerprint": large_letters(store).fingerprint})
    return run


@pytest.mark.parametrize("analysis", ["transference", "inner_steps"])
def test_images_of_another_shape_are_refused(
    analysis, store, large_store, tmp_path, monkeypatch, capsys
):
    small_run, learner = (
        (letters.trained_run, large_prototypes)
        if analysis == "transference"
        else (gradient_runs.maml_run, large_maml)
    )
    small = small_run(str(tmp_path / "small"), store)
    large = large_run(tmp_path / "large", large_store, learner)
    for run, other, shapes in (
        (small, large, ("(8, 8, 1)", "(12, 12, 1)")),
        (large, small, ("(12, 12, 1)", "(8, 8, 1)")),
    ):
        answer = run_command(
            monkeypatch, capsys, "kfsl.analyze", f"--analysis={analysis}", f"--run_dir={run.path}",
            f"--compare={other.path}", "--episodes=2",
        )  # fmt: skip
        assert answer.code == 2, answer.err
        assert len(answer.err.strip().splitlines()) == 1
        assert f"of {run.path!r} are of shape {shapes[0]}" in answer.err
        assert f"the network of {other.path!r} takes {shapes[1]}" in answer.err
        assert not (tmp_path / run.path / "analysis").exists()


def test_a_network_for_images_of_any_size_may_be_compared(
    store, large_store, tmp_path, monkeypatch
):
    monkeypatch.setattr(large_prototypes, "__defaults__", ((None, None, 1),))
    large = large_run(tmp_path / "large", large_store, large_prototypes)
    small = letters.trained_run(str(tmp_path / "small"), store)
    _, learners = compared(AnalysisRequest(small), (large,), "test")
    assert list(learners) == [small.path, large.path]


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("test/fixed_episode.ways = 4", "is made for 3 ways and the episodes have 4"),
        ("WAYS = 1", "must have 2 ways or more"),
        ("test/fixed_episode.shots = 9", "an episode can need"),
    ],
)
def test_what_evaluation_refuses_an_analysis_does_too(binding, message, store, tmp_path):
    run = gradient_runs.maml_run(str(tmp_path / "run"), store)
    with pytest.raises(ValueError, match=message):
        compared(AnalysisRequest(run, (binding,)), (), "test")


def test_learners_of_other_tasks_are_refused(store, tmp_path):
    run = gradient_runs.maml_run(str(tmp_path / "run"), store)
    other = RunDirectory(str(tmp_path / "of_numbers"))
    other.start(configurables.parse_text(OF_NUMBERS.format(store=store, length=2)))
    (tmp_path / "of_numbers/best").mkdir()
    experiment = configurables.experiment()
    experiment.learner.save(other.best_learner)
    other.update_metadata({"dataset_fingerprint": experiment.dataset.fingerprint})
    message = (
        "MAML with Regression is asked about 'query_inputs', and these episodes have query_images"
    )
    with pytest.raises(ValueError, match=message):
        compared(AnalysisRequest(run), (other,), "test", CLASSES, NUMBERS)


def test_base_classes_that_are_not_the_firsts_are_refused(store, tmp_path):
    run = letters.trained_run(str(tmp_path / "run"), store)
    turned = letters.trained_run(str(tmp_path / "turned"), store, turned=1)
    compared(AnalysisRequest(run), (turned,), "test")
    with pytest.raises(ValueError, match=rf"{turned.path} has other base classes than 'letters'"):
        compared(AnalysisRequest(run), (turned,), "test", base_classes=True)


def test_inputs_of_another_length_are_refused(store, tmp_path):
    runs = []
    for length in (2, 3):
        run = RunDirectory(str(tmp_path / f"of_{length}"))
        run.start(configurables.parse_text(OF_NUMBERS.format(store=store, length=length)))
        (tmp_path / f"of_{length}" / "best").mkdir()
        experiment = configurables.experiment()
        experiment.learner.save(run.best_learner)
        run.update_metadata({"dataset_fingerprint": experiment.dataset.fingerprint})
        runs.append(run)
    message = rf"the inputs of '{runs[0].path}' are of shape \(2,\), and .* takes \(3,\)\."
    with pytest.raises(ValueError, match=message):
        compared(AnalysisRequest(runs[0]), (runs[1],), "test", NUMBERS)


def test_runs_that_learnt_from_the_classes_are_refused(store, tmp_path):
    first = AnalysisRequest(letters.trained_run(str(tmp_path / "first"), store))
    turned = letters.trained_run(str(tmp_path / "turned"), store, turned=2)
    with pytest.raises(ValueError, match=rf"5 of the 5 test classes .*{turned.path} learnt from"):
        compared(first, (turned,), "test")
    assert list(compared(first, (turned,), "val")[1]) == [first.run.path, turned.path]
