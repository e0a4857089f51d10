"""Learning support sets and answering, from Python."""

import os
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest

import kfsl
from kfsl import FewShotClassifier
from kfsl.backbones.conv4 import Conv4
from kfsl.classifier.image_inputs import ImageInputs
from kfsl.learners.dense_classification import DenseClassification
from kfsl.prediction.image_folders import find_queries, find_support
from kfsl.serving.export import export
from tests.support.exported_model import CLASSES, SHAPE, draw, maml, prototypical_network

NAMES = list(CLASSES)


def softmax(logits):
    scores = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def expected_probabilities(learner, support, queries, **steps):
    """What the learner's own three functions say of folders."""
    files = find_support(support)
    features = learner.embed(files.pixels(SHAPE)[None])
    state = learner.adapt(features, np.array([files.labels], "int32"), **steps)
    query = learner.embed(find_queries(queries).pixels(SHAPE)[None])
    return softmax(np.asarray(learner.infer(state, query)["logits"][0]))


def test_folders(fitted, queries):
    assert fitted.classes_.tolist() == NAMES
    assert fitted.image_names(queries) == ["ant.png", "bee.png", "cat.png"]
    assert fitted.predict(queries).tolist() == NAMES


def test_probabilities_are_the_learners_own(fitted, support, queries):
    expected = expected_probabilities(prototypical_network(SHAPE), support, queries)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(fitted.predict_proba(queries), expected, atol=1e-5)


@pytest.mark.parametrize("steps", [None, 6])
def test_gradient_steps(support, queries, steps):
    classifier = FewShotClassifier(maml(), steps=steps).fit(support)
    expected = expected_probabilities(maml(), support, queries, steps=steps or 3)
    np.testing.assert_allclose(classifier.predict_proba(queries), expected[:, :3], atol=1e-5)


def test_classes_are_sorted_and_columns_follow(model, drawings, queries):
    images, names = drawings
    order = [8, 0, 4, 1, 7, 3, 2, 5, 6]
    classifier = FewShotClassifier(model).fit(images[order], [names[i] for i in order])
    expected = FewShotClassifier(model).fit(images, names)
    assert classifier.classes_.tolist() == NAMES
    np.testing.assert_allclose(
        classifier.predict_proba(queries), expected.predict_proba(queries), atol=1e-6
    )


def test_images_and_classes_that_come_later(model, drawings, queries):
    images, names = drawings
    whole = FewShotClassifier(model).fit(images, names)
    grown = FewShotClassifier(model).partial_fit(images[:4], names[:4], classes=NAMES)
    assert grown.classes_.tolist() == ["ant", "bee"]
    grown.partial_fit(images[4:6], names[4:6]).add_class("cat", images[6:])
    np.testing.assert_allclose(
        grown.predict_proba(queries), whole.predict_proba(queries), atol=1e-6
    )
    assert grown.evaluate_loo().indices.tolist() == list(range(9))
    # A fit forgets.
    grown.fit(images[:6], names[:6])
    assert grown.classes_.tolist() == ["ant", "bee"]


def test_what_is_refused_leaves_it_as_it_was(fitted, drawings, queries, tmp_path):
    images, _ = drawings
    before = fitted.predict_proba(queries)
    (tmp_path / "no.png").write_bytes(b"no image")
    for refused in (
        lambda: fitted.add_class("bee", images[:1]),
        lambda: fitted.add_class("dog", [tmp_path / "no.png"]),
        lambda: fitted.partial_fit([tmp_path / "no.png"], ["dog"]),
        lambda: fitted.partial_fit(images, ["dog"]),
        lambda: fitted.fit(images[:1], ["dog"]),
        lambda: fitted.fit(images[:2], ["dog", "cow"][:1]),
    ):
        with pytest.raises(ValueError, match=r"."):
            refused()
    fitted.head = "unknown"
    with pytest.raises(ValueError, match="`head` must be one of simple_shot"):
        fitted.fit(images[:2], ["dog", "cow"])
    assert fitted.classes_.tolist() == NAMES
    np.testing.assert_array_equal(fitted.predict_proba(queries), before)


def test_leave_one_out(fitted, support, drawings):
    images, names = drawings
    left_out = fitted.evaluate_loo()
    assert left_out.accuracy == left_out.correct / 9
    low, high = left_out.interval_95
    assert low < left_out.accuracy <= high
    others = [i for i in range(9) if i != 4]
    apart = FewShotClassifier(fitted.model).fit(images[others], [names[i] for i in others])
    found = apart.predict_proba(images[4:5])[0]
    np.testing.assert_allclose(left_out.probabilities[4], found, atol=1e-5)


def test_a_mislabelled_image_is_found(model, drawings):
    images, names = drawings
    wrong = [*names[:8], "ant"]
    assert FewShotClassifier(model).fit(images, wrong).evaluate_loo().mistaken.tolist() == [8]


def test_single_images_cannot_be_left_out(model, drawings):
    images, names = drawings
    left_out = FewShotClassifier(model).fit(images[::3], names[::3]).evaluate_loo()
    assert np.isnan(left_out.accuracy)
    assert (left_out.interval_95, left_out.mistaken.tolist()) == ((0.0, 1.0), [])


def test_score_of_a_folder_and_of_labels(fitted, support, drawings):
    images, names = drawings
    assert fitted.score(support) == 1.0
    assert fitted.score(images, [*names[:7], "ant", "ant"]) == pytest.approx(7 / 9)


def test_none_of_the_classes(model, drawings):
    images, names = drawings
    with pytest.raises(ValueError, match=r"no threshold.* 9 images can be left out, where 19"):
        FewShotClassifier(model, none_label="no").fit(images, names)
    many = np.stack([np.asarray(draw(i % 3, i)) for i in range(21)])
    classifier = FewShotClassifier(model, none_label="no").fit(many, [i % 3 for i in range(21)])
    strangers = np.stack([np.asarray(draw(10 + i, i)) for i in range(12)])
    logits = classifier.answers(strangers)["logits"]
    expected = logits.max(axis=-1) < classifier.rejection_.threshold
    assert expected.sum() > 0
    predictions = classifier.predict(strangers).tolist()
    assert [each == "no" for each in predictions] == expected.tolist()
    known = [None if each == "no" else each for each in classifier.predict(many).tolist()]
    kept = [i for i, each in enumerate(known) if each is not None]
    assert len(kept) >= 19
    assert [known[i] for i in kept] == [i % 3 for i in kept]


def test_none_label_is_no_class(model, drawings):
    images, names = drawings
    with pytest.raises(ValueError, match="none_label='ant' is a class of the support set"):
        FewShotClassifier(model, none_label="ant").fit(images, names)


def test_base_classes(drawings, support, queries, tmp_path):
    images, names = drawings
    keras.utils.set_random_seed(0)
    backbone = Conv4(image_shape=SHAPE, filters=4, num_pools=2)
    learner = DenseClassification(backbone, base_classes=2)
    path = str(tmp_path / "model")
    export(learner, path, image_shape=SHAPE, training_data={"training_classes": ["fly", "bee"]})
    classifier = FewShotClassifier(path, base_classes=True).fit(images, names)
    assert classifier.classes_.tolist() == ["fly", "bee (trained)", *NAMES]
    found = classifier.predict_proba(queries)
    files = find_support(support)
    features = learner.embed(files.pixels(SHAPE)[None])
    state = learner.adapt(features, np.array([files.labels], "int32"))
    query = learner.embed(find_queries(queries).pixels(SHAPE)[None])
    expected = softmax(np.asarray(learner.classify_jointly(state, query)["logits"][0]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(ValueError, match="`none_label` does not go with `base_classes=True`"):
        FewShotClassifier(path, base_classes=True, none_label="no").fit(images, names)
    with pytest.raises(ValueError, match="PrototypicalNetwork keeps no base classes"):
        FewShotClassifier(prototypical_network(SHAPE), base_classes=True).fit(images, names)


def test_a_transductive_model(drawings):
    images, names = drawings
    classifier = FewShotClassifier(prototypical_network(SHAPE, bn_policy="batch"))
    classifier.fit(images, names)
    assert classifier.transductive
    with pytest.raises(ValueError, match="Leave-one-out says nothing of a transductive model"):
        classifier.evaluate_loo()


def test_before_fit(model, queries):
    classifier = FewShotClassifier(model)
    for ask in (
        lambda: classifier.predict(queries),
        lambda: classifier.predict_proba(queries),
        classifier.evaluate_loo,
        lambda: classifier.save("nowhere"),
        lambda: classifier.add_class("a", queries),
        lambda: classifier.rejection_,
    ):
        with pytest.raises(ValueError, match="is not fitted yet: call `fit`"):
            ask()


def test_one_image_from_a_file(fitted, queries):
    assert fitted.predict(os.path.join(queries, "bee.png")).tolist() == ["bee"]
    assert fitted.predict(Path(queries, "bee.png")).tolist() == ["bee"]


def test_many_images_are_read_some_at_a_time(fitted, monkeypatch):
    images = [draw(i % 3, i) for i in range(70)]
    expected = np.concatenate([fitted.predict_proba(images[i : i + 7]) for i in range(0, 70, 7)])
    sizes, pixels = [], ImageInputs.pixels

    def counted(self, *arguments):
        sizes.append(len(self))
        return pixels(self, *arguments)

    monkeypatch.setattr(ImageInputs, "pixels", counted)
    np.testing.assert_allclose(fitted.predict_proba(images), expected, atol=1e-6)
    assert (max(sizes), sum(sizes)) == (32, 70)


def test_pickles_keep_the_support_set(fitted, queries):
    copy = pickle.loads(pickle.dumps(fitted))
    assert copy.classes_.tolist() == NAMES
    np.testing.assert_array_equal(copy.predict_proba(queries), fitted.predict_proba(queries))


@pytest.mark.parametrize("weights", [("first", "second"), ("", "")])
def test_a_pickle_does_not_meet_other_weights(support, queries, tmp_path, weights):
    path, learner = str(tmp_path / "model"), prototypical_network(SHAPE)
    export(learner, path, image_shape=SHAPE, weights=weights[0])
    pickled = pickle.dumps(FewShotClassifier(path).fit(support))
    export(learner, path, image_shape=SHAPE, weights=weights[0])
    assert pickle.loads(pickled).predict(queries).tolist() == NAMES
    learner.trainable_weights[0].assign(2 * learner.trainable_weights[0])
    export(learner, path, image_shape=SHAPE, weights=weights[1])
    unpickled = pickle.loads(pickled)
    with pytest.raises(ValueError, match="has other weights than when this classifier was fitted"):
        unpickled.predict(queries)
    assert unpickled.fit(support).predict(queries).tolist() == NAMES
    # Pickles of earlier releases do not say which weights they are of.
    del unpickled._used["weights"]
    assert pickle.loads(pickle.dumps(unpickled)).predict(queries).tolist() == NAMES


def test_arguments_that_are_changed_are_for_the_next_fit(drawings, queries, tmp_path):
    images, names = drawings
    classifier = FewShotClassifier(maml(), steps=1).fit(images, names)
    before = classifier.predict_proba(queries)
    classifier.set_params(steps=6, base_classes=True, none_label="ant", head="unknown")
    assert classifier.predict(queries).tolist() == classifier.classes_[before.argmax(-1)].tolist()
    classifier.save(tmp_path / "model")
    copies = (pickle.loads(pickle.dumps(classifier)), FewShotClassifier.load(tmp_path / "model"))
    for same in (classifier, *copies):
        np.testing.assert_allclose(same.predict_proba(queries), before, atol=1e-6)
    classifier.partial_fit(images[:1], names[:1])
    assert classifier.classes_.tolist() == NAMES
    classifier.set_params(head=None, base_classes=False, none_label=None).fit(images, names)
    assert np.abs(classifier.predict_proba(queries) - before).max() > 1e-4


def test_it_is_found_in_kfsl():
    assert kfsl.FewShotClassifier is FewShotClassifier
    with pytest.raises(AttributeError, match="module 'kfsl' has no attribute 'Nothing'"):
        _ = kfsl.Nothing
