"""Class activation maps, over images of base classes and of new ones."""

import json

import numpy as np
import pytest
from matplotlib.colors import to_hex

from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.figures.class_activation import (
    activation_columns,
    chosen_queries,
    class_activation_figure,
)
from kfsl.figures.images import RIGHT, WRONG
from kfsl.learners.prototypical_network import PrototypicalNetwork
from kfsl.training.callbacks.figure_summary import figure_to_rgb
from tests.support import dense_runs, letters


@pytest.fixture(scope="module")
def dense(store, tmp_path_factory):
    return dense_runs.dense_run(str(tmp_path_factory.mktemp("runs") / "dense"), store)


@pytest.fixture(scope="module")
def episode(store):
    from data_pipelines import pipeline
    from data_pipelines.samplers import fixed_episode

    def sampler(split, seed, index):
        return fixed_episode(split, seed, index, ways=3, shots=2, queries=4)

    return pipeline.episode_at(letters.letters(store), "test", sampler, seed=0, index=0)


def test_maps_are_the_probabilities_of_each_location(episode):
    images, _ = episode
    learner = dense_runs.letters_dense()
    state = learner.adapt(learner.embed(images["support_images"]), images["support_labels"])
    queries = learner.embed(images["query_images"])
    maps = np.asarray(learner.activation_maps(queries, state))
    assert maps.shape == (1, 12, 2, 2, 3)
    np.testing.assert_allclose(maps.sum(-1), 1.0, rtol=1e-5)
    # By hand, for one location.
    vector = np.asarray(queries)[0, 5, 1, 0].astype("float64")
    prototypes = np.asarray(state["prototypes"])[0].astype("float64")
    cosines = prototypes @ vector / np.linalg.norm(prototypes, axis=1) / np.linalg.norm(vector)
    powers = np.exp(10.0 * cosines)
    np.testing.assert_allclose(maps[0, 5, 1, 0], powers / powers.sum(), rtol=1e-4)
    # Their mean over locations is what a dense reading answers (14).
    answer = np.exp(np.asarray(learner.infer(state, queries)["logits"]))
    np.testing.assert_allclose(maps.mean((2, 3)), answer, rtol=1e-4)
    base = np.asarray(learner.activation_maps(queries))
    answer = np.exp(np.asarray(learner.classify_base(queries)["logits"]))
    np.testing.assert_allclose(base.mean((2, 3)), answer, rtol=1e-4)


def test_maps_of_implants_are_those_of_the_widened_network(episode):
    images, _ = episode
    learner = dense_runs.letters_implanting()
    support, queries = learner.embed_episode(images, training=False)
    state = learner.adapt(support, images["support_labels"])
    maps = np.asarray(learner.activation_maps(queries, state))
    answer = np.exp(np.asarray(learner.infer(state, queries)["logits"]))
    np.testing.assert_allclose(maps.mean((2, 3)), answer, rtol=1e-4)


def test_flattened_classes_have_no_maps(episode):
    images, _ = episode
    learner = dense_runs.letters_dense(reading="flatten")
    with pytest.raises(ValueError, match="no activation maps"):
        learner.activation_maps(learner.embed(images["query_images"]))


def test_the_figure_says_which_class_and_how_sure(episode):
    images, labels = episode
    names = [f"class {i}" for i in range(5)]
    learner = dense_runs.letters_dense()
    columns = activation_columns({"": learner}, images, labels, names, columns=6)
    figure = class_activation_figure(learner, images, labels, names, columns=6)
    pictures, maps = np.array(figure.axes, dtype=object).reshape(2, 6)
    for column, picture, overlay in zip(columns, pictures, maps, strict=True):
        seen = column.seen[""]
        np.testing.assert_array_equal(picture.images[0].get_array(), column.image[..., 0])
        assert picture.get_title() == column.name
        assert overlay.get_xlabel() == f"{seen.predicted} {seen.score:.2f}"
        color = RIGHT if seen.predicted == column.name else WRONG
        assert to_hex(overlay.xaxis.label.get_color()) == color
        np.testing.assert_array_equal(overlay.images[1].get_array(), seen.map)
        assert overlay.images[1].get_clim() == (0, 1)
        assert tuple(overlay.images[1].get_extent()) == (-0.5, 7.5, 7.5, -0.5)
    assert figure_to_rgb(figure).ndim == 3  # As TensorBoard gets it.


def test_queries_on_which_learners_differ_are_shown_in_turn():
    rights = np.array([[1, 1, 0, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0, 1]], bool)
    assert chosen_queries(rights, 4) == [0, 1, 2, 3]
    assert chosen_queries(rights, 100) == [0, 4, 6, 1, 2, 3, 5]
    assert chosen_queries(rights[:1], 3) == [0, 1, 2]


def test_other_learners_have_no_maps(episode):
    images, labels = episode
    learner = PrototypicalNetwork(dense_runs.backbone())
    with pytest.raises(ValueError, match=r"PrototypicalNetwork has no class activation maps"):
        class_activation_figure(learner, images, labels, list("abcde"))


def test_two_runs_see_the_same_images(dense, store, tmp_path):
    pooled = dense_runs.dense_run(str(tmp_path / "pooled"), store, reading="average")
    files = analyze("class_activation", AnalysisRequest(dense), compare=(pooled,), count=6)
    assert [file.rsplit(".")[-1] for file in files] == ["png", "json"]
    with open(files[1], encoding="utf-8") as file:
        values = json.load(file)
    assert values["runs"] == {"dense": dense.path, "pooled": pooled.path}
    assert [image["group"] for image in values["images"]] == [
        "base classes", None, None, "new, 3-way 2-shot", None, None,
    ]  # fmt: skip
    names = letters.letters(store)
    base, new = (set(names.split(split).class_names) for split in ("train", "test"))
    assert {image["class"] for image in values["images"][:3]} <= base
    assert {image["class"] for image in values["images"][3:]} <= new
    for image in values["images"]:
        for seen in image["runs"].values():
            assert np.shape(seen["map"]) == (2, 2)
            assert 0 < seen["score"] <= 1
