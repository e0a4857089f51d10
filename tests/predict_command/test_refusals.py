"""What `kfsl.predict` refuses, by which word, and that nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from kfsl.predict import predict_folders
from kfsl.prediction.image_folders import find_support
from kfsl.prediction.request_checks import check_shots, check_ways
from kfsl.serving.export import export
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    prototypical_network,
    write_folder,
)
from tests.support.refusals import refusal


def test_fewer_images_than_a_model_learns_from_are_refused(tmp_path):
    for name, count in (("a", 2), ("b", 1)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.new("L", (4, 4), 9 * i).save(tmp_path / name / f"{i}.png")
    support = find_support(str(tmp_path))
    counts = dict(zip(support.classes, support.counts, strict=True))
    check_shots({"learner": "Implanting", "shots": {"minimum": 1}}, counts)
    with pytest.raises(ValueError, match=r"learns from 2 images .*'b' has 1\. Add 1 more"):
        check_shots({"learner": "Implanting", "shots": {"minimum": 2}}, counts)


def test_an_unreadable_image_is_named_and_the_output_kept(model, damaged, queries, tmp_path):
    output = tmp_path / "out.csv"
    output.write_text("earlier")
    with pytest.raises(ValueError, match=r"bee/1\.png"):
        predict_folders(model, damaged, queries, str(output))
    assert output.read_text() == "earlier"
    assert sorted(os.listdir(tmp_path)) == ["damaged", "out.csv", "queries"]


def test_empty_class_folder(model, queries, tmp_path):
    folder = Path(write_folder(tmp_path / "support", CLASSES))
    (folder / "dog").mkdir()
    with pytest.raises(ValueError, match=r"support/dog' has no image"):
        predict_folders(model, str(folder), queries)


@pytest.mark.parametrize(
    ("classes", "found"), [({}, "no images"), ({"ant": [(0, 0)]}, "only the folder 'ant'")]
)
def test_too_few_class_folders(model, queries, tmp_path, classes, found):
    (tmp_path / "support").mkdir()
    write_folder(tmp_path / "support", classes)
    with pytest.raises(ValueError, match=f"at least two classes.*has {found}"):
        predict_folders(model, str(tmp_path / "support"), queries)


def test_images_without_class_folders(model, queries):
    with pytest.raises(ValueError, match="has 3 images directly in it"):
        predict_folders(model, queries, queries)


@pytest.mark.parametrize("which", ["model", "support", "queries"])
def test_missing_paths_are_named(model, support, queries, which):
    paths = {"model": model, "support": support, "queries": queries, which: "/no/such/path"}
    with pytest.raises(FileNotFoundError, match="/no/such/path"):
        predict_folders(paths["model"], paths["support"], paths["queries"])


def test_no_query_image(model, support, tmp_path):
    (tmp_path / "notes.txt").write_text("about")
    with pytest.raises(ValueError, match="No image in"):
        predict_folders(model, support, str(tmp_path))


def test_a_saved_model_of_something_else(model, support, queries, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"without model\.json"):
        predict_folders(str(tmp_path / "other"), support, queries)
    with pytest.raises(FileNotFoundError, match=r"has no saved_model\.pb"):
        predict_folders(str(tmp_path / "queries"), support, queries)


@pytest.mark.parametrize(
    ("output", "message"),
    [("out.txt", "must end in .csv or .json"), ("no/out.csv", "does not exist; make it first")],
)
def test_outputs_that_cannot_be(model, support, queries, tmp_path, output, message):
    with pytest.raises((ValueError, OSError), match=message):
        predict_folders(model, support, queries, str(tmp_path / output))


@pytest.mark.parametrize(
    ("ways", "fewer", "refusal"),
    [
        (2, True, "at most 2 classes.*Leave 1 out"),
        (2, False, "exactly 2 classes.*Leave 1 out"),
        (4, False, "exactly 4 classes.*Add 1 more"),
        (4, True, None),
        (3, False, None),
    ],
)
def test_fixed_ways(support, ways, fewer, refusal):
    description = {"learner": "STANet", "ways": {"fixed": ways, "fewer": fewer}}
    if refusal is None:
        check_ways(description, len(CLASSES), repr(support))
        return
    with pytest.raises(ValueError, match=f"STANet tells {refusal}"):
        check_ways(description, len(CLASSES), repr(support))


def test_fewer_classes_than_ways_where_the_model_allows(support, queries, tmp_path):
    path = str(tmp_path / "model")
    export(prototypical_network(SHAPE, ways=5), path, image_shape=SHAPE)
    rows = [line.split() for line in predict_folders(path, support, queries)[2].splitlines()[1:]]
    assert [row[1] for row in rows] == ["ant", "bee", "cat"]
    assert all(sum(map(float, row[2:])) == pytest.approx(1.0, abs=0.002) for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--support is missing"),
        (["--support={support}", "--query={queries}"], "either --saved_model=DIR or --run_dir"),
        (
            ["--saved_model={model}", "--support={support}", "--query={queries}/no.png"],
            "no.png' does not exist",
        ),
        (
            ["--saved_model={model}", "--support={support}", "--query={queries}",
             "--gin_param=WAYS=3"],
            "--gin_param have no place here",
        ),
        (["--run_dir={queries}", "--support={support}", "--query={queries}"], "has no config.gin"),
    ],
)  # fmt: skip
def test_mistakes_take_one_line_and_no_time(
    model, support, queries, arguments, message, tmp_path_factory
):
    paths = {"model": model, "support": support, "queries": queries}
    filled = [argument.format(**paths) for argument in arguments]
    assert message in refusal(tmp_path_factory.mktemp("cwd"), "kfsl.predict", *filled)


def test_tensorflow_waits_until_the_input_is_read(model, damaged, queries):
    code = (
        "import sys\n"
        "from kfsl.predict import predict_folders\n"
        "try:\n"
        "    predict_folders(*sys.argv[1:])\n"
        "except ValueError as error:\n"
        "    print('1.png' in str(error), 'tensorflow' in sys.modules)\n"
    )
    arguments = [sys.executable, "-c", code, model, damaged, queries]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True False\n"


def test_base_classes_that_are_not_kept_are_refused(model, support, queries):
    with pytest.raises(ValueError, match=r"PrototypicalNetwork keeps no base classes.*Leave it"):
        predict_folders(model, support, queries, base_classes=True)
