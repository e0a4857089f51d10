"""Models that classify no image files are refused."""

import pytest

from kfsl.prediction.request_checks import check_images


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, r"^model answers with numbers \(MAML\).* python model.example\.py$"),
        ({"trained_shape": [8, 8, 4]}, "takes images of 4 channels; image files give 1"),
    ],
)
def test_what_image_files_do_not_give_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        check_images({"learner": "MAML", "image": image}, "model")


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_pass(channels):
    description = {"learner": "MAML", "image": {"trained_shape": [8, 8, channels]}}
    assert check_images(description, "model") is None
