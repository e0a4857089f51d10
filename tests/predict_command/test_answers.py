"""What `kfsl.predict` says and writes of the queries."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kfsl.predict import predict_folders
from kfsl.prediction.image_folders import common_values, find_queries, find_support
from tests.support.exported_model import (
    CLASSES,
    SHAPE,
    draw,
    prototypical_network,
    said,
    write_folder,
)


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
