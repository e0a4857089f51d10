"""The page itself: the command as a process, and a real browser."""

import errno
import socket
import sys

import pytest

from kfsl.serving.export import export
from tests.support import demo_page
from tests.support.demo_bench import drawings
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    prototypical_network,
    write_folder,
    write_queries,
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(demo_page.missing() is not None, reason=str(demo_page.missing())),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    export(prototypical_network(SHAPE), path, image_shape=SHAPE)
    return path


@pytest.fixture(scope="module")
def process(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("process")
    support = write_folder(folder / "support", CLASSES)
    started = demo_page.DemoProcess(f"--saved_model={model}", f"--support={support}", folder=folder)
    yield started
    started.end()


@pytest.fixture
def page(process):
    opened = demo_page.DemoPage(process.address)
    yield opened
    opened.close()


def test_from_a_folder_of_classes_to_predictions(page, tmp_path):
    page.wait(lambda: page.headings() == ["ant: 3 images", "bee: 3 images", "cat: 3 images"])
    assert "9 of 9 support images" in page.told("support")
    queries = write_queries(tmp_path / "queries")
    page.drop("queries", [f"{queries}/{name}.png" for name in CLASSES])
    page.wait(lambda: len(page.rows()) == 4)
    head, *rows = page.rows()
    assert head == ["image", "prediction", *CLASSES]
    assert [row[:2] for row in rows] == [[f"{name}.png", name] for name in CLASSES]
    for row in rows:
        assert sum(map(float, row[2:])) == pytest.approx(1, abs=0.0016)
        assert float(row[2 + list(CLASSES).index(row[1])]) == max(map(float, row[2:]))
    assert "not calibrated" in page.told("told")
    assert "norm of its feature maps" in page.told("shows")
    first = page.wait(page.picture)
    page.driver.find_elements("css selector", "#asked .thumbnail-item")[1].click()
    page.wait(lambda: page.picture() not in ("", first))


def test_what_cannot_be_read_is_told_and_what_was_there_stays(page, tmp_path):
    page.drop("queries", drawings(tmp_path, 1, 9))
    page.wait(lambda: [row[0] for row in page.rows()[1:]] == ["1_9.png"])
    before = page.rows(), page.told("support")
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    for part in ("queries", "drop-0"):
        page.open()
        assert page.told("message") == ""
        page.drop(part, [broken])
        told = page.wait(lambda: page.told("message"))
        assert told == "Cannot read the image broken.png: it is no image of a known format."
        assert (page.rows(), page.told("support")) == before
    # A new drop at the same place is taken, and the message goes.
    page.drop("drop-0", drawings(tmp_path, 0, 7))
    page.wait(lambda: page.headings()[0] == "ant: 4 images")
    assert page.told("message") == ""


def test_a_class_is_added_and_removed(page, tmp_path):
    page.drop("queries", drawings(tmp_path, 5, 9))
    page.wait(lambda: [row[0] for row in page.rows()[1:]] == ["5_9.png"])
    page.add_class("dog <b>")
    page.wait(lambda: page.headings()[3:] == ["dog <b>: 0 images"])
    page.drop("drop-3", drawings(tmp_path, 5, 0, 1, 2))
    page.wait(lambda: page.headings()[3:] == ["dog <b>: 3 images"])
    head, row = page.rows()
    assert head[2:] == [*CLASSES, "dog <b>"]
    assert row[1] == "dog <b>"
    page.add_class("ant")
    told = page.wait(lambda: page.told("message"))
    assert told == "There is a class 'ant' already: drop its images there."
    page.find("#remove-3").click()
    page.wait(lambda: len(page.headings()) == 3)
    page.wait(lambda: page.rows()[0][2:] == list(CLASSES))
    assert page.rows()[1][1] != "dog <b>"


def test_an_image_in_the_wrong_class_is_seen_and_taken_out(page, tmp_path):
    page.wait(lambda: len(page.headings()) == 3)
    page.drop("drop-2", drawings(tmp_path, 1, 8))
    page.wait(lambda: page.headings()[2] == "cat: 4 images, 1 doubtful")
    assert "cat/1_8.png disagrees with its class: it looks like bee (" in page.told("support")
    images = "#class-2 .thumbnail-item"
    last = page.wait(lambda: page.driver.find_elements("css selector", images)[3])
    assert last.text == "bee?"
    last.click()
    page.wait(lambda: page.driver.find_elements("css selector", f"{images}.selected"))
    page.find("#class-2 .take-out").click()
    page.wait(lambda: page.headings()[2] == "cat: 3 images")
    assert "disagrees" not in page.told("support")


def test_nothing_is_fetched_from_elsewhere(page, process, tmp_path):
    page.drop("queries", drawings(tmp_path, 0, 9))
    page.wait(lambda: [row[0] for row in page.rows()[1:]] == ["0_9.png"])
    fetched = page.asked_for()
    assert any(address.endswith(".js") for address in fetched)
    own = (f"{process.address}/", "data:", "blob:")
    assert [address for address in fetched if not address.startswith(own)] == []


def test_without_a_folder_classes_are_made_by_hand(model, tmp_path):
    process = demo_page.DemoProcess(f"--saved_model={model}", folder=tmp_path)
    page = demo_page.DemoPage(process.address)
    try:
        assert "no class has any so far" in page.told("support")
        page.add_class("ant")
        page.drop("drop-0", drawings(tmp_path, 0, 0, 1))
        page.wait(lambda: page.headings() == ["ant: 2 images"])
        page.drop("queries", drawings(tmp_path, 1, 9))
        told = page.wait(lambda: page.told("message"))
        assert told == (
            "Nothing can be classified yet: Two classes with images are the least, and only "
            "'ant' has any so far."
        )
        page.add_class("bee")
        page.drop("drop-1", drawings(tmp_path, 1, 0, 1))
        page.wait(lambda: "4 of 4 support images" in page.told("support"))
        page.drop("queries", drawings(tmp_path, 1, 9))
        page.wait(lambda: [row[:2] for row in page.rows()[1:]] == [["1_9.png", "bee"]])
        assert list(process.kept.glob("kfsl-demo-*/**/*.png")) != []
    finally:
        page.close()
        code = process.end()
    assert code == 0
    # What was dropped went with the page.
    assert list(process.kept.glob("kfsl-demo-*")) == []
    assert process.log.read_text(encoding="utf-8") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only there all of 127.* is this machine")
def test_one_address_of_this_machine_is_served(process):
    port = int(process.address.rpartition(":")[2])
    answers = {}
    for host in ("127.0.0.1", "127.0.0.2"):
        with socket.socket() as probe:
            answers[host] = probe.connect_ex((host, port))
    assert answers == {"127.0.0.1": 0, "127.0.0.2": errno.ECONNREFUSED}
