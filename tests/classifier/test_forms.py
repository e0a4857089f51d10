"""Images and labels in every form in which they are given."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kfsl import FewShotClassifier
from tests.support.exported_model import CLASSES, draw

NAMES = list(CLASSES)


def every_form(images, folder):
    """The same images in all the forms that people have them in."""
    paths = []
    for number, image in enumerate(images):
        paths.append(folder / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    return {
        "paths": paths,
        "text": [str(path) for path in paths],
        "array of text": np.array([str(path) for path in paths]),
        "array of paths": np.array(paths, object),
        "pictures": [Image.fromarray(image) for image in images],
        "array": images,
        "array with channels": images[..., None],
        "colours": np.repeat(images[..., None], 3, axis=-1),
        "transparency": [Image.fromarray(image).convert("RGBA") for image in images],
        "list of arrays": list(images),
        "tensor": tf.constant(images),
        "integers": images.astype("int64"),
        "deep": images.astype("uint16") * 257,
        "floats": images.astype("float32"),
        "small floats": images / 255.0,
    }


def test_every_form_of_images_is_the_same_image(fitted, drawings, tmp_path):
    images, _ = drawings
    # Images that reach both ends, so that their range is known.
    images = images.copy()
    images[:, 0, :2] = 0, 255
    expected = fitted.predict_proba(images)
    for form, given in every_form(images, tmp_path).items():
        found = fitted.predict_proba(given)
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=form)


def test_sizes_may_differ_within_one_call(fitted):
    given = [draw(0, 5, (20, 40)), np.asarray(draw(1, 5, (90, 17))), draw(2, 5)]
    found = fitted.predict_proba(given)
    apart = np.concatenate([fitted.predict_proba([each]) for each in given])
    np.testing.assert_allclose(found, apart, atol=1e-6)
    assert fitted.predict(given).tolist() == NAMES


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ([3, 3, 3, 1, 1, 1, 2, 2, 2], np.dtype(int)),
        (np.repeat([2.0, 1.0, 3.0], 3), np.dtype(float)),
        (np.repeat(["x", "z", "y"], 3), np.dtype("<U1")),
        ([True] * 3 + [False] * 6, np.dtype(bool)),
        ([("a", 1)] * 3 + [None] * 3 + [frozenset([1])] * 3, np.dtype(object)),
        (np.repeat([[5], [6], [7]], 3, axis=0), np.dtype(int)),
        (tf.repeat([5, 6, 7], 3), np.dtype(int)),
    ],
)
def test_labels_of_any_hashable_kind(model, drawings, labels, dtype):
    images, _ = drawings
    classifier = FewShotClassifier(model).fit(images, labels)
    assert classifier.classes_.dtype == dtype
    predictions = classifier.predict(images)
    assert predictions.dtype == dtype
    plain = [np.ravel(each).item() if hasattr(each, "shape") else each for each in list(labels)]
    assert predictions.tolist() == plain
    assert classifier.score(images, labels) == 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "Labels are missing, one for each image"),
        (["a"] * 8, "Received 8 labels for 9 images"),
        (["a"] * 9, "2 classes or more; received 1 class, 'a'"),
        ("abcdefghi", "Labels are a sequence.*received str"),
        (np.linspace(0.1, 0.9, 9), "Unknown label type: 0.1 is no class"),
        ([*"abcdefgh", float("nan")], "Unknown label type: nan is no class"),
        (np.zeros((9, 2)), r"one for each image, \[n\]; received the shape \(9, 2\)"),
    ],
)
def test_labels_that_are_none(model, drawings, labels, message):
    with pytest.raises(ValueError, match=message):
        FewShotClassifier(model).fit(drawings[0], labels)


def test_a_label_that_is_not_hashable(model, drawings):
    with pytest.raises(TypeError, match=r"must be hashable.*received \['a'\] \(list\)"):
        FewShotClassifier(model).fit(drawings[0], [["a"]] * 9)


def test_support_and_queries_of_other_depths_are_refused(model, drawings):
    images, names = drawings
    classifier = FewShotClassifier(model).fit(images / 255.0, names)
    # Floats from 0 to 255 would all be white beside floats from 0 to 1, or these black.
    with pytest.raises(ValueError, match=r"ask for the range \[0.0, 255.0\].*from \[0.0, 1.0\]"):
        classifier.predict(images.astype("float32"))
    # Files and arrays of 8 bits can be told apart from both.
    assert classifier.predict(images).tolist() == names
