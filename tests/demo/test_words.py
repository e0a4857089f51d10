"""What the page says, as HTML."""

import re

import numpy as np
from PIL import Image

from kfsl.demo import words
from kfsl.prediction.table import PredictionTable
from tests.support.demo_bench import bench_of, drawings, fill
from tests.support.exported_model import SHAPE, prototypical_network


def cells(text):
    return [re.findall("<t[hd]>(.*?)</t[hd]>", row) for row in text.split("</tr>")[:-1]]


def test_names_are_text_in_the_page():
    table = PredictionTable(["<b>.png"], ("a&b", "<i>"), np.array([[0.25, 0.75]]))
    assert cells(words.as_table(table)) == [
        ["image", "prediction", "a&amp;b", "&lt;i&gt;"],
        ["&lt;b&gt;.png", "&lt;i&gt;", "0.250", "0.750"],
    ]
    assert words.as_list(["<script>"]) == "<ul><li>&lt;script&gt;</li></ul>"
    assert words.as_alert("<b>") == '<p role="alert">&lt;b&gt;</p>'
    assert (words.as_list([]), words.as_alert("")) == ("", "")


def test_of_many_classes_the_likeliest_are_told():
    row = np.array([[0.01] * 8 + [0.7, 0.22]])
    table = PredictionTable(["1.png"], tuple("abcdefghij"), row)
    assert cells(words.as_table(table)) == [
        ["image", "prediction", "likeliest classes"],
        ["1.png", "i", "i 0.700, j 0.220, a 0.010"],
    ]


def test_what_makes_images_doubtful_is_warned_of(tmp_path):
    bench = bench_of(prototypical_network(SHAPE))
    assert words.support_lines(bench) == [bench.lacking]
    fill(bench, tmp_path, ant=(0, 0), bee=(1, 0, 1, 2))
    blank = tmp_path / "blank.png"
    Image.new("L", (9, 9), 255).save(blank)
    bench.ask([blank, *drawings(tmp_path, 1, 2)])
    lines = words.support_lines(bench)
    assert lines[0] == "Support set: 2 classes, 4 images, 1 to 3 a class."
    assert "Not estimated, since they have one image only: ant." in lines
    warnings = [line for line in lines if line.startswith("Warning: ")]
    assert any("ant has 1, bee has 3" in line for line in warnings)
    assert any("support images too say nothing: 1_2.png" in line for line in warnings)
    assert any("blank.png" in line for line in warnings)


def test_the_title_says_what_becomes_of_images():
    bench = bench_of(prototypical_network(SHAPE))
    assert words.title(bench) == "drawn: PrototypicalNetwork; images are scaled to 16x16, grey."
