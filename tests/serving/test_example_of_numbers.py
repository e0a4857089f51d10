"""What the example of numbers says of files that it cannot take: a line, and no traceback."""

import re

import numpy as np
import pytest

from kfsl.serving.example_of_numbers import read_points


def refused(path):
    with pytest.raises(SystemExit) as ended:
        read_points(str(path), 2)
    # Text as exit code: Python prints it to standard error, and exits with 1.
    assert str(path) in ended.value.code
    assert "\n" not in ended.value.code
    return ended.value.code


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,y\n1,2\n", r"must hold lines of 2 numbers .*, without a header .*'x'"),
        ("1;2\n3;4\n", "with commas between them"),
        ("1,2\n3\n", "columns changed from 2 to 1 at row 2"),
        ("1,2,3\n", "has 3 numbers a line; this model needs 2"),
        ("\n", "is empty; this model needs lines of 2 numbers"),
    ],
    ids=["header", "delimiter", "ragged", "width", "empty"],
)
def test_files_that_are_refused(text, words, tmp_path):
    path = tmp_path / "given.csv"
    path.write_text(text)
    assert re.search(words, refused(path))


def test_a_file_that_is_missing(tmp_path):
    assert "cannot be read: No such file" in refused(tmp_path / "given.csv")


def test_numbers_are_read_behind_a_byte_order_mark_too(tmp_path):
    path = tmp_path / "given.csv"
    path.write_bytes(b"\xef\xbb\xbf1,2\r\n\r\n3,4.5\r\n")
    np.testing.assert_array_equal(read_points(str(path), 2), [[1, 2], [3, 4.5]])
