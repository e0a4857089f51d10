"""Task embeddings: for TensorBoard's projector, and as a figure."""

import csv
import json
import os

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector

from kfsl import configurables
from kfsl.analysis.multimodal import task_embeddings
from kfsl.analysis.multimodal.task_embeddings import (
    embedded_tasks,
    nearest_alike,
    principal_axes,
)
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.figures.projector import THUMBNAIL, sheet, thumbnail
from tests.support import mixed_runs


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return mixed_runs.write_mixed(str(tmp_path_factory.mktemp("stores") / "mixed"))


def test_embeddings_are_those_of_the_evaluated_tasks(mixed, tmp_path):
    run = mixed_runs.mixed_run(str(tmp_path / "kml"), mixed)
    experiment = configurables.trained_experiment(run)
    vectors, known, pictures = embedded_tasks(experiment, "test", 4)
    assert vectors.shape == (4, 8)
    assert sorted(known["mode"]) == ["dark", "dark", "plain", "plain"]
    for mode, classes in zip(known["mode"], known["classes"], strict=True):
        assert [name.split("/")[0] for name in classes.split(", ")] == [mode] * 3
    from data_pipelines import pipeline
    from kfsl.evaluation.evaluate import EVALUATION_SEED

    for number in range(4):
        episode, _ = pipeline.episode_at(
            experiment.dataset, "test", experiment.evaluation_sampler, EVALUATION_SEED, number
        )
        learner = experiment.learner
        support, _ = learner.embed_episode(episode, training=False)
        state = learner.adapt(support, episode["support_labels"])
        np.testing.assert_allclose(state["task_embedding"][0], vectors[number], atol=1e-5)
        first = episode["support_images"].numpy()[0]
        np.testing.assert_array_equal(pictures[number], thumbnail(first))


def test_tensorboard_reads_what_is_written(mixed, tmp_path):
    run = mixed_runs.mixed_run(str(tmp_path / "kml"), mixed)
    files = analyze("task_embeddings", AnalysisRequest(run), episodes=6)
    assert all(os.path.isfile(file) for file in files)
    folder = os.path.join(run.tensorboard, "task_embeddings_test")
    with open(os.path.join(folder, "projector_config.pbtxt"), encoding="utf-8") as file:
        config = text_format.Parse(file.read(), projector.ProjectorConfig())
    (embedding,) = config.embeddings
    vectors = np.loadtxt(os.path.join(folder, embedding.tensor_path), delimiter="\t")
    with open(next(f for f in files if f.endswith(".json")), encoding="utf-8") as file:
        values = json.load(file)
    np.testing.assert_allclose(vectors, values["embeddings"], rtol=1e-4)
    with open(os.path.join(folder, embedding.metadata_path), encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["mode"] for row in rows] == values["modes"]
    _, known, _ = embedded_tasks(configurables.trained_experiment(run), "test", 6)
    assert [row["classes"] for row in rows] == known["classes"]
    with Image.open(os.path.join(folder, embedding.sprite.image_path)) as sprite:
        assert sprite.size == (3 * THUMBNAIL, 3 * THUMBNAIL)
    assert list(embedding.sprite.single_image_dim) == [THUMBNAIL, THUMBNAIL]
    # Events of its own make the folder a run, and only runs are asked for a projector.
    assert any("tfevents" in name for name in os.listdir(folder))
    there = sorted(os.listdir(folder))
    assert "% of the tasks lie nearest" in _analysis(run).conclusion
    assert sorted(os.listdir(folder)) == there


def _analysis(run):
    return task_embeddings.analyze(AnalysisRequest(run), episodes=4)


def test_a_binding_without_effect_writes_nothing(mixed, tmp_path):
    run = mixed_runs.mixed_run(str(tmp_path / "kml"), mixed)
    request = AnalysisRequest(run, ("fixed_episode.shots = 2",))
    with pytest.raises(configurables.BindingError, match="nothing was written"):
        analyze("task_embeddings", request, episodes=2)
    assert not os.path.exists(run.tensorboard)


def test_learners_without_task_encoder_are_refused(run):
    with pytest.raises(ValueError, match="embeds no tasks"):
        analyze("task_embeddings", AnalysisRequest(run))


def test_principal_axes_and_neighbours():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50, 6)) * [5.0, 1.0, 0.1, 0.1, 0.1, 0.1]
    points, shares = principal_axes(vectors)
    values, directions = np.linalg.eigh(np.cov(vectors.T))
    expected = (vectors - vectors.mean(0)) @ directions[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(shares, values[::-1][:2] / values.sum())
    points, shares = principal_axes(vectors[:, :1])
    np.testing.assert_array_equal(points[:, 1], 0.0)
    assert shares == [pytest.approx(1.0), 0.0]
    line = np.array([[0.0], [1.0], [10.0], [12.0], [4.0]])
    assert nearest_alike(line, ["a", "a", "b", "b", "b"]) == 0.8


def test_pictures_stand_in_rows():
    reds = [np.full((4, 4, 1), shade, "uint8") for shade in (10, 20, 30)]
    whole = sheet(reds)
    assert whole[::4, ::4, 0].tolist() == [[10, 20], [30, 255]]
    assert thumbnail(reds, 8).shape == (8, 8, 3)
