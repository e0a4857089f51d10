"""What can be done on the page, without the page."""

import numpy as np
import pytest
from PIL import Image

from kfsl import FewShotClassifier
from kfsl.backbones.resnet12 import ResNet12
from kfsl.demo import words
from kfsl.learners.implanting import Implanting
from kfsl.prediction.image_folders import find_support
from kfsl.prediction.rejection import NONE
from tests.support.demo_bench import bench_of, drawings, fill, stanet
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    draw,
    maml,
    prototypical_network,
    write_folder,
)


@pytest.fixture(scope="module")
def learner():
    return prototypical_network(SHAPE)


@pytest.fixture
def bench(learner):
    return bench_of(learner)


@pytest.fixture
def full(bench, tmp_path):
    fill(bench, tmp_path, ant=(0, 0, 1, 2), bee=(1, 0, 1, 2))
    bench.ask(drawings(tmp_path, 1, 9) + drawings(tmp_path, 0, 9))
    return bench


def contents(bench):
    """All that is to stay where something is refused."""
    return {name: list(files) for name, files in bench.images.items()}, bench.support, bench.queries


def test_two_classes_are_learnt_and_answer_as_the_classifier_does(full, learner, tmp_path):
    folder = write_folder(tmp_path / "same", {"ant": CLASSES["ant"], "bee": CLASSES["bee"]})
    expected = FewShotClassifier(learner).fit(folder).predict_proba(list(full.queries.files))
    table = full.table()
    np.testing.assert_allclose(table.probabilities, expected, atol=1e-6)
    assert table.images == ["1_9.png", "0_9.png"]
    assert table.predictions == ["bee", "ant"]


def test_what_is_added_later_is_learnt_as_if_it_had_been_there(full, learner, tmp_path):
    full.add_images("ant", drawings(tmp_path, 0, 3))
    full.add_class("  cat ")
    full.add_images("cat", drawings(tmp_path, 2, 0, 1))
    assert list(full.images) == ["ant", "bee", "cat"]
    classes = {"ant": [(0, i) for i in range(4)], "bee": CLASSES["bee"], "cat": CLASSES["cat"][:2]}
    whole = FewShotClassifier(learner).fit(write_folder(tmp_path / "whole", classes))
    queries = list(full.queries.files)
    np.testing.assert_allclose(full.table().probabilities, whole.predict_proba(queries), atol=1e-6)


def test_a_class_is_removed_and_comes_back(full, tmp_path):
    before = full.table().probabilities
    full.remove_class("bee")
    assert full.table() is None
    assert full.support is None
    assert full.lacking == "Two classes with images are the least, and only 'ant' has any so far."
    assert len(full.queries.files) == 2
    fill(full, tmp_path, bee=(1, 0, 1, 2))
    np.testing.assert_allclose(full.table().probabilities, before, atol=1e-6)


def test_an_empty_class_changes_no_answer(full):
    before, version = full.table().probabilities, full.version
    full.add_class("nothing yet")
    np.testing.assert_array_equal(full.table().probabilities, before)
    assert full.version == version + 1
    assert full.support.classes == ("ant", "bee")


def test_a_folder_can_be_started_from(bench, tmp_path):
    support = find_support(write_folder(tmp_path / "support", CLASSES))
    bench.start_with(support)
    assert {name: len(files) for name, files in bench.images.items()} == dict.fromkeys(CLASSES, 3)
    assert bench.support.names == support.names


def test_an_image_that_cannot_be_read_is_refused_with_all_that_came_with_it(full, tmp_path):
    before, table = contents(full), full.table().probabilities
    broken = tmp_path / "notes.png"
    broken.write_text("no image")
    message = r"^Cannot read the image notes\.png: it is no image of a known format\.$"
    with pytest.raises(ValueError, match=message):
        full.add_images("ant", [*drawings(tmp_path, 0, 5), broken])
    with pytest.raises(ValueError, match=message):
        full.ask([broken])
    assert contents(full) == before
    np.testing.assert_array_equal(full.table().probabilities, table)


def test_a_broken_image_is_refused_before_there_are_two_classes(bench, tmp_path):
    cut = tmp_path / "cut.png"
    whole = drawings(tmp_path, 0, 0)[0].read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    bench.add_class("ant")
    with pytest.raises(ValueError, match=r"^Cannot read the image cut\.png: "):
        bench.add_images("ant", [cut])
    assert bench.images == {"ant": []}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ant", "There is a class 'ant' already"),
        (" ant\n", "There is a class 'ant' already"),
        (" ", "A class needs a name"),
        (NONE, "cannot be called 'none of these'"),
    ],
)
def test_names_that_are_refused(full, name, message):
    before = contents(full)
    with pytest.raises(ValueError, match=message):
        full.add_class(name)
    assert contents(full) == before


def test_nothing_is_classified_with_one_class(bench, tmp_path):
    with pytest.raises(ValueError, match=r"Nothing can be classified yet: .* no class has any"):
        bench.ask(drawings(tmp_path, 0, 9))
    fill(bench, tmp_path, ant=(0, 0))
    with pytest.raises(ValueError, match=r"Nothing can be classified yet: .* only 'ant' has any"):
        bench.ask(drawings(tmp_path, 0, 9))
    assert bench.queries.files == ()


def test_dropping_nothing_is_refused(full):
    with pytest.raises(ValueError, match="No image was dropped"):
        full.ask([])


def test_images_are_taken_out_one_by_one(full, tmp_path):
    twice = full.images["ant"][0]
    full.add_images("ant", [twice])
    with_copy = full.table().probabilities
    full.remove_image("ant", twice)
    assert len(full.support.files) == 6
    assert not np.array_equal(full.table().probabilities, with_copy)
    with pytest.raises(ValueError, match="No image was chosen"):
        full.remove_image("ant", None)


def test_what_another_window_took_away_is_told(full, tmp_path):
    gone = full.images["ant"][0]
    full.remove_image("ant", gone)
    before = contents(full)
    with pytest.raises(ValueError, match="no longer in 'ant': another window took it out"):
        full.remove_image("ant", gone)
    full.remove_class("bee")
    for late in (
        lambda: full.remove_image("bee", gone),
        lambda: full.add_images("bee", drawings(tmp_path, 1, 5)),
    ):
        with pytest.raises(ValueError, match="no class 'bee' any more: another window removed it"):
            late()
    assert list(full.images) == ["ant"]
    assert before[0]["ant"] == full.images["ant"]


def test_only_what_is_on_the_page_is_kept(full, tmp_path):
    for number in range(4):
        full.ask(drawings(tmp_path, 0, 20 + number))
    full.remove_image("ant", full.images["ant"][0])
    assert len(full._pixels) == 5 + 1


def test_images_that_do_not_go_with_the_queries_are_refused(full, tmp_path):
    """They would be learnt, and then nothing on the page could be answered."""
    deep = {}
    for name, largest in (("query", 60000), ("class", 4000)):
        pixels = np.asarray(draw(0, 5)).astype("uint16") * (largest // 255)
        deep[name] = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(deep[name])
    full.ask([deep["query"]])
    full.add_class("cat")
    before, table = contents(full), full.table().probabilities
    with pytest.raises(ValueError, match=r"ask for the range \[0, 65535\].*from \[0, 4095\]"):
        full.add_images("cat", [deep["class"]])
    assert contents(full) == before
    np.testing.assert_array_equal(full.table().probabilities, table)


def test_an_image_in_the_wrong_class_is_told_where_it_lies(bench, tmp_path):
    fill(bench, tmp_path, cat=(2, 0, 1, 2), ant=(0, 0, 1, 2))
    bench.add_images("cat", drawings(tmp_path, 0, 7))
    # Learnt before the last of its class: places are counted within the class.
    bench.add_images("ant", drawings(tmp_path, 0, 3))
    assert words.suspects(bench) == {("cat", 3): "ant"}
    lines = words.support_lines(bench)
    assert any(line.startswith("cat/0_7.png disagrees with its class: it") for line in lines)
    assert any("7 of 8 support images" in line and "get their class" in line for line in lines)
    assert not any("folder" in line for line in lines)
    bench.remove_image("cat", bench.images["cat"][3])
    assert words.suspects(bench) == {}


def test_none_of_these_is_what_the_classifier_calls_so(bench, learner, tmp_path):
    numbers = range(12)
    fill(bench, tmp_path, ant=(0, *numbers), bee=(1, *numbers))
    files = [*drawings(tmp_path, 0, 21, 22, 23), *drawings(tmp_path, 5, 20)]
    bench.ask(files)
    classifier = FewShotClassifier(learner, none_label=NONE)
    classifier.fit(list(bench.support.files), [n.split("/")[0] for n in bench.support.names])
    table = bench.table(none_of_these=True)
    assert table.predictions == classifier.predict(files).tolist()
    assert set(table.predictions) == {"ant", NONE}
    told = words.query_lines(bench, table, none_of_these=True)
    rejected = table.predictions.count(NONE)
    assert any(f"None of these: {rejected} of 4 images" in line for line in told)
    assert NONE not in bench.table().predictions


def test_a_line_to_none_of_these_that_is_not_known_is_said_so(full):
    table = full.table(none_of_these=True)
    assert NONE not in table.predictions
    told = words.query_lines(full, table, none_of_these=True)
    assert any(
        "of the support set 6 images can be left out, where 19 are needed" in t for t in told
    )
    assert not any("left out" in line for line in words.query_lines(full, table, False))


def test_a_model_of_three_ways_waits_for_the_third_and_refuses_the_fourth(tmp_path):
    bench = bench_of(stanet(ways=3))
    fill(bench, tmp_path, a=(0, 0, 1), b=(1, 0, 1))
    assert "exactly 3 classes apart, and the page has 2 classes. Add 1 more" in bench.lacking
    fill(bench, tmp_path, c=(2, 0, 1))
    bench.ask(drawings(tmp_path, 2, 9))
    assert bench.table().classes == ["a", "b", "c"]
    bench.add_class("d")
    before = contents(bench)
    with pytest.raises(ValueError, match="exactly 3 classes apart, and the support set has 4"):
        bench.add_images("d", drawings(tmp_path, 3, 0))
    assert contents(bench) == before


def test_a_method_that_learns_from_two_images_waits_for_the_second(tmp_path):
    backbone = ResNet12(image_shape=SHAPE, filters=(4, 4, 4, 4))
    bench = bench_of(Implanting(backbone, base_classes=5, channels=2, updates=1))
    fill(bench, tmp_path, ant=(0, 0), bee=(1, 0, 1))
    assert "2 images or more of each class, and 'ant' has 1. Add 1 more." in bench.lacking
    bench.add_images("ant", drawings(tmp_path, 0, 1))
    assert bench.lacking is None
    assert bench.support.counts == [2, 2]


def test_of_a_transductive_model_no_left_out_image_is_told(tmp_path):
    bench = bench_of(maml(bn_policy="batch"))
    fill(bench, tmp_path, a=(0, 0, 1), b=(1, 0, 1), c=(2, 0, 1), d=(3, 0, 1))
    assert bench.left_out() is None
    assert words.suspects(bench) == {}
    assert "cannot be estimated: this model is transductive" in words.support_lines(bench)[1]


def test_images_of_sixteen_bits_are_read_as_the_classifier_reads_them(bench, tmp_path):
    fill(bench, tmp_path, ant=(0, 0, 1), bee=(1, 0, 1))
    deep = tmp_path / "deep.png"
    Image.fromarray(np.asarray(draw(1, 9)).astype("uint16") * 257).save(deep)
    bench.ask([deep])
    assert bench.table().predictions == ["bee"]
    (shown,) = bench.pixels([deep])
    np.testing.assert_array_equal(shown, bench.model.pixels(drawings(tmp_path, 1, 9))[0])
