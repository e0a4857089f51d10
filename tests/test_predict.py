"""`kfsl.predict` on folders of images: what it says, writes and refuses."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kfsl.predict import predict_folders
from kfsl.prediction import support_report
from kfsl.prediction.image_folders import common_values, find_queries, find_support
from kfsl.prediction.request_checks import check_shots, check_ways
from kfsl.prediction.served_learner import MOST_LEFT_OUT, ServedLearner
from kfsl.prediction.table import PredictionTable
from kfsl.serving.export import export
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    draw,
    prototypical_network,
    said,
    write_folder,
    write_queries,
)
from tests.support.refusals import refusal


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("exports") / "model")
    trained_on = {"dataset": "patterns", "mean_pixel": 120.0}
    learner = prototypical_network(SHAPE)
    export(learner, path, image_shape=SHAPE, training_data=trained_on)
    return path


@pytest.fixture(scope="module")
def support(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("images") / "support", CLASSES)


@pytest.fixture
def queries(tmp_path):
    return write_queries(tmp_path / "queries")


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


def test_predicts_and_writes_csv(model, support, queries, tmp_path):
    output = str(tmp_path / "out.csv")
    lines = predict_folders(model, support, queries, output)
    with open(output, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["prediction"]) for row in rows] == [
        ("ant.png", "ant"), ("bee.png", "bee"), ("cat.png", "cat"),
    ]  # fmt: skip
    assert list(rows[0]) == ["image", "prediction", "probability", "p(ant)", "p(bee)", "p(cat)"]
    for row in rows:
        scores = [float(row[f"p({name})"]) for name in CLASSES]
        assert sum(scores) == pytest.approx(1.0, abs=1e-5)
        assert float(row["probability"]) == max(scores) > 0.5
    assert lines[0] == (
        "PrototypicalNetwork trained on patterns; images are scaled to 16x16, grey."
    )
    assert lines[2].splitlines()[0].split() == ["image", "prediction", "ant", "bee", "cat"]
    assert said(lines, "Support set: 3 classes of 3 images each.")
    assert said(lines, "9 of 9 support images (100%; 95 % interval 70% to 100%; guessing 33%)")
    assert said(lines, "not calibrated")
    assert not said(lines, "Warning")


def test_probabilities_are_the_learners(model, support, queries, tmp_path):
    output = str(tmp_path / "out.json")
    predict_folders(model, support, queries, output)
    with open(output, encoding="utf-8") as file:
        found = json.load(file)
    files = find_support(support)
    episode = {
        "support_images": files.pixels(SHAPE)[None],
        "support_labels": np.array([files.labels], "int32"),
        "query_images": find_queries(queries).pixels(SHAPE)[None],
    }
    logits = np.array(prototypical_network(SHAPE)(episode)["logits"][0], "float64")
    expected = np.exp(logits - logits.max(axis=-1, keepdims=True))
    expected /= expected.sum(axis=-1, keepdims=True)
    rows = [list(row["probabilities"].values()) for row in found["predictions"]]
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert found["classes"] == list(found["predictions"][0]["probabilities"]) == list(CLASSES)
    assert found["support"]["leave_one_out"]["correct"] == 9


def test_any_format_and_size(model, support, tmp_path):
    folder = tmp_path / "formats"
    folder.mkdir()
    bee = draw(1, 5)
    pixels = np.asarray(bee)
    bee.resize((61, 61)).convert("RGB").save(folder / "photo.jpg", quality=95)
    bee.save(folder / "bitmap.bmp")
    bee.quantize(64).save(folder / "palette.gif")
    Image.fromarray(pixels.astype("uint16") * 257).save(folder / "sixteen.png")
    # Fully transparent where the picture is light: over white it is the same picture.
    alpha = np.where(pixels > 250, 0, 255).astype("uint8")
    Image.merge("LA", (bee, Image.fromarray(alpha))).save(folder / "alpha.png")
    turned = Image.fromarray(np.rot90(pixels).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned: rotate clockwise to see it upright.
    turned.save(folder / "turned.tiff", exif=exif)
    lines = predict_folders(model, support, str(folder))
    rows = [line.split() for line in lines[2].splitlines()[1:]]
    assert len(rows) == 6
    for name, prediction, _, score, _ in rows:
        assert prediction == "bee", name
        assert float(score) > 0.5, name


def test_one_file(model, support, tmp_path):
    draw(2, 7).save(tmp_path / "one.png")
    lines = predict_folders(model, support, str(tmp_path / "one.png"))
    assert lines[2].splitlines()[1].split()[:2] == ["one.png", "cat"]


def test_queries_in_class_folders_are_scored(model, support, tmp_path):
    drawings = {"ant": [(0, 20), (0, 21)], "cat": [(2, 20), (1, 21)]}
    lines = predict_folders(model, support, write_folder(tmp_path / "test", drawings))
    assert said(lines, "3 of 4 queries (75.0%; 95 % interval 30% to 95%) get the class")


def test_what_is_no_image_is_skipped_and_counted(model, tmp_path, queries):
    folder = Path(write_folder(tmp_path / "support", CLASSES))
    (folder / "README.txt").write_text("about")
    (folder / "ant" / ".hidden.png").write_text("no image")
    (folder / "ant" / "Thumbs.db").write_text("no image")
    (folder / ".cache").mkdir()
    (Path(queries) / "notes.txt").write_text("about")
    lines = predict_folders(model, str(folder), queries)
    assert said(lines, "Left out in the support set: 1 .db, 1 .txt, 2 hidden.")
    assert said(lines, "Left out among the queries: 1 .txt.")
    assert said(lines, "Support set: 3 classes of 3 images each.")


def test_support_and_queries_are_scaled_from_one_range(tmp_path):
    for part, top in (("support", 4095), ("query", 1000)):
        for name in CLASSES:
            (tmp_path / part / name).mkdir(parents=True)
            ramp = np.linspace(0, top, 64).reshape(8, 8).astype("uint16")
            Image.fromarray(ramp).save(tmp_path / part / name / "1.png")
    files = find_support(str(tmp_path / "support")), find_queries(str(tmp_path / "query"))
    values = common_values(*files)
    assert values.chosen() == {"integers": [0, 4095]}
    assert [one.pixels((8, 8, 1), values).max() for one in files] == [255, 62]


# === The honest word ===


def test_blank_images_are_named(model, queries, support, tmp_path):
    Image.new("L", (16, 16), 7).save(Path(queries) / "dark.png")
    lines = predict_folders(model, support, queries)
    assert said(lines, "Warning: Hardly anything can be seen in these images")
    assert said(lines, "have one value: dark.png. Look")


def test_an_image_in_the_wrong_folder_is_named(model, queries, tmp_path):
    drawings = {**CLASSES, "cat": [*CLASSES["cat"], (0, 8)]}
    output = tmp_path / "out.json"
    lines = predict_folders(
        model, write_folder(tmp_path / "support", drawings), queries, str(output)
    )
    assert said(lines, "9 of 10 support images")
    assert said(lines, "cat/3.png disagrees with its folder: it looks like ant (")
    (found,) = json.loads(output.read_text())["support"]["leave_one_out"]["disagreeing"]
    assert (found["image"], found["folder"], found["prediction"]) == ("cat/3.png", "cat", "ant")


def test_one_shot_cannot_be_estimated(model, queries, tmp_path):
    drawings = {name: images[:1] for name, images in CLASSES.items()}
    output = tmp_path / "out.json"
    lines = predict_folders(
        model, write_folder(tmp_path / "support", drawings), queries, str(output)
    )
    assert said(lines, "cannot be estimated: every class has one image only")
    assert json.loads(output.read_text())["support"]["leave_one_out"] is None


def test_a_class_of_one_image_among_others_is_said(model, queries, tmp_path):
    drawings = {**CLASSES, "bee": [(1, 0)], "ant": [(0, i) for i in range(4)]}
    lines = predict_folders(model, write_folder(tmp_path / "support", drawings), queries)
    assert said(lines, "7 of 7 support images")
    assert said(lines, "Not estimated, since they have one image only: bee.")
    assert said(lines, "Class sizes differ very much: bee has 1, ant has 4.")


def test_copies_are_pointed_out(model, tmp_path):
    drawings = {"ant": [(0, 0), (0, 0), (0, 1)], "bee": [(1, 0), (0, 1)]}
    folder = write_folder(tmp_path / "support", drawings)
    lines = predict_folders(model, folder, os.path.join(folder, "bee", "0.png"))
    assert said(lines, "The same image lies in two classes: ant/2.png = bee/1.png.")
    assert said(lines, "copies of others in their class: 1;")
    assert said(lines, "Queries that are support images too say nothing: 0.png.")


def test_exchanged_ink_and_paper_are_pointed_out(model, support, queries):
    files, images = find_support(support), np.full((9, *SHAPE), 20, "uint8")
    found = support_report.warnings_of(files, images, find_queries(queries), images[:3], 230.0)
    assert said(found, "much darker (mean pixel 20) than the training images (230)")
    assert not said(
        support_report.warnings_of(files, images, find_queries(queries), images[:3], 100.0),
        "darker",
    )


def test_a_transductive_model_says_why_nothing_is_estimated(support, queries, tmp_path):
    path = str(tmp_path / "model")
    learner = prototypical_network(SHAPE, bn_policy="batch")
    export(learner, path, image_shape=SHAPE)
    lines = predict_folders(path, support, queries)
    assert said(lines, "cannot be estimated: this model is transductive")
    assert said(lines, "Transductive: all 3 queries were classified at once.")


def test_leaving_out_is_leaving_out(model):
    served = ServedLearner.load(model)
    rng = np.random.default_rng(0)
    features = served.embed(rng.integers(0, 256, (4, *SHAPE)).astype("uint8"))
    labels = np.array([0, 0, 1, 2])
    left_out = served.leave_one_out(features, labels)
    assert left_out.indices.tolist() == [0, 1]
    without_first = served.answers(features[1:], labels[1:], features[:1])["probabilities"]
    np.testing.assert_allclose(left_out.probabilities[0], without_first[0], atol=1e-6)


def test_leaving_out_is_capped(model, monkeypatch):
    served = ServedLearner.load(model)
    told = {"probabilities": np.ones((1, 2)) / 2, "logits": np.zeros((1, 2))}
    monkeypatch.setattr(served, "answers", lambda *arguments: told)
    labels = np.repeat([0, 1], 1000)
    left_out = served.leave_one_out(np.zeros((2000, 1)), labels)
    assert len(np.unique(left_out.indices)) == MOST_LEFT_OUT
    assert np.bincount(left_out.labels).tolist() == [MOST_LEFT_OUT // 2] * 2


@pytest.mark.parametrize(
    ("correct", "tried", "interval"),
    # Newcombe (1998), table I, method 3: 15 of 148 and 0 of 20.
    [(15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611))],
)
def test_wilson_interval(correct, tried, interval):
    assert support_report.wilson_interval(correct, tried) == pytest.approx(interval, abs=5e-5)


def test_many_classes_print_the_likeliest():
    classes = [f"c{i}" for i in range(20)]
    probabilities = np.eye(20)[[4, 9]] * 0.9 + 0.005
    table = PredictionTable(["a.png", "b.png"], classes, probabilities)
    first, second = table.text().splitlines()[1:]
    assert first.split()[:4] == ["a.png", "c4", "c4", "0.905,"]
    assert second.count(",") == 2
    assert len(table.csv().splitlines()[0].split(",")) == 23
    assert len(table.text(rows=1).splitlines()) == 2


# === What it refuses ===


@pytest.fixture
def damaged(tmp_path):
    folder = Path(write_folder(tmp_path / "damaged", CLASSES))
    (folder / "bee" / "1.png").write_bytes((folder / "bee" / "0.png").read_bytes()[:80])
    return str(folder)


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


# === As commands ===


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
