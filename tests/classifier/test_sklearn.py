"""scikit-learn's protocol: its own checks, and its tools on images."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from kfsl import FewShotClassifier
from kfsl.backbones.conv4 import Conv4
from kfsl.serving.export import export
from tests.support import tabular_classifier
from tests.support.exported_model import draw

#: Checks that other packages have to be there for.
SKIPPED = {"check_array_api_input", "check_classifier_data_not_an_array"}


@pytest.fixture(scope="module")
def images():
    """Two classes of drawings of different sizes, and their names."""
    sizes = [(32, 32), (20, 50), (40, 24), (32, 16), (50, 50), (18, 18)]
    found = [draw(i % 2, i, size) for i, size in enumerate(sizes)]
    return np.array(found, object), np.array(["ant", "bee"] * 3)


def test_its_estimator_checks(tmp_path):
    # They are of tables, so of a classifier whose images are rows of numbers.
    path = str(tmp_path / "model")
    shape = (tabular_classifier.HEIGHT, 2, 1)
    export(tabular_classifier.learner(), path, image_shape=shape)
    estimator = tabular_classifier.TabularClassifier(path)
    with pytest.warns(UserWarning, match=r"does not inherit from `sklearn.base.BaseEstimator`"):
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = [(each["check_name"], each["exception"]) for each in results
              if each["status"] == "failed"]  # fmt: skip
    assert failed == []
    assert {each["check_name"] for each in results if each["status"] == "skipped"} <= SKIPPED
    assert sum(each["status"] == "passed" for each in results) >= 50


def test_arguments(model):
    classifier = FewShotClassifier(model, steps=None, none_label="no")
    assert is_classifier(classifier)
    assert classifier.get_params() == {
        "model": model, "head": None, "image_size": None, "steps": None, "base_classes": False,
        "none_label": "no",
    }  # fmt: skip
    assert repr(classifier) == f"FewShotClassifier(model={model!r}, none_label='no')"
    assert classifier.set_params(none_label=None).none_label is None
    with pytest.raises(ValueError, match="Invalid parameter 'shots' for FewShotClassifier: its"):
        classifier.set_params(shots=3)


def test_a_clone_is_not_fitted_and_shares_the_network(images):
    backbone = Conv4(image_shape=(16, 16, 1), filters=4, num_pools=2)
    classifier = FewShotClassifier(backbone).fit(*images)
    copy = clone(classifier)
    assert copy.model is backbone
    with pytest.raises(NotFittedError, match="call `fit`"):
        copy.predict(images[0])


def test_cross_validation_is_held_out_accuracy(model, images):
    pictures, names = images
    scores = cross_val_score(FewShotClassifier(model), pictures, names, cv=3)
    expected = []
    for train, test in StratifiedKFold(3).split(np.zeros(6), names):
        classifier = FewShotClassifier(model).fit(pictures[train], names[train])
        expected.append(classifier.score(pictures[test], names[test]))
    assert scores.tolist() == expected
    assert scores.mean() == 1.0


def test_a_pipeline(model, images):
    pictures, names = images
    upright = FunctionTransformer(lambda rows: [each.rotate(180) for each in rows])
    pipeline = make_pipeline(upright, FewShotClassifier(model)).fit(pictures, names)
    expected = FewShotClassifier(model).fit([each.rotate(180) for each in pictures], names)
    turned = [each.rotate(180) for each in pictures]
    np.testing.assert_allclose(
        pipeline.predict_proba(pictures), expected.predict_proba(turned), atol=1e-6
    )


def test_a_search_over_heads(images):
    backbone = Conv4(image_shape=(16, 16, 1), filters=4, num_pools=2)
    heads = ["simple_shot", "logistic_regression", "prototypical_network"]
    search = GridSearchCV(FewShotClassifier(backbone), {"head": heads}, cv=3).fit(*images)
    assert search.cv_results_["param_head"].tolist() == heads
    assert search.best_score_ == 1.0


def test_a_network_is_pickled_with_its_weights(images):
    backbone = Conv4(image_shape=(16, 16, 1), filters=4, num_pools=2)
    classifier = FewShotClassifier(backbone).fit(*images)
    copy = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_allclose(
        copy.predict_proba(images[0]), classifier.predict_proba(images[0]), atol=1e-6
    )
