"""The model card says what was measured of these weights, and nothing that was not."""

import dataclasses
import json
import os
import re

import pytest

from kfsl.evaluate import evaluate_run
from kfsl.exported_run import export_run
from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.learner_file import file_fingerprint
from kfsl.serving.export import export
from kfsl.serving.model_card import is_as_written, model_card
from kfsl.serving.run_cards import evaluations_of, refresh_cards
from tests.support import letters
from tests.support.exported_model import SHAPE, prototypical_network

WEIGHTS = "a" * 64
DESCRIPTION = {
    "learner": "STANet",
    "bn_policy": "running",
    "transductive": False,
    "image": {"shape": [8, 8, 1], "trained_shape": [8, 8, 1], "smallest_size": None},
    "ways": {"fixed": 5, "fewer": False},
    "shots": {"minimum": 1},
    "about": {
        "summary": "Attention.", "reference": "[Someone, 2018](https://example.org).",
        "backbone": "Conv4", "pretrained": False, "parameters": 112345, "trainable": 112000,
    },
    "calibration": None,
    "versions": {"kfsl": "0.1.0", "keras": "3.15.1", "numpy": None},
    "exported": "2026-01-02T03:04:05+00:00",
    "overrides": [],
    "weights": WEIGHTS,
}  # fmt: skip
CLASSES = {
    "dataset": "letters", "licence": "CC0", "citation": None, "fingerprint": "f00d",
    "training_classes": ["a", "b", "c"],
}  # fmt: skip
RAW = {"ece": 0.1234, "ece_interval": 0.0111}
SCALED = {"ece": 0.0456, "ece_interval": 0.0022}
WRITTEN = "2026-02-03T04:05:06+00:00"


def evaluation(**changes):
    values = {
        "split": "test", "values": [0.8, 1.0], "ways": 5, "shots": 1, "queries": 15, "seed": 0,
        "dataset": "letters", "dataset_fingerprint": "", "episodes_fingerprint": "",
        "learner": "STANet", "bn_policy": "running", "transductive": False, "weights": WEIGHTS,
        "environment": {"when": "2026-01-01T00:00:00+00:00"}, "calibration": {"raw": RAW},
    }  # fmt: skip
    return Evaluation(**{**values, **changes})


def card_of(evaluations=(), classes=CLASSES, **changes):
    return model_card({**DESCRIPTION, **changes}, classes, evaluations, written=WRITTEN)


def sections(card):
    """The paragraphs under each heading of a card."""
    found = re.split(r"^## (.*)\n", card, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def row(card, place=0):
    lines = [line for line in card.splitlines() if line.startswith("| ") and "---" not in line]
    return [cell.strip() for cell in lines[1 + place].strip("|").split(" | ")]


def test_a_measured_card_whole():
    card = card_of([evaluation()])
    head, text = card.split("---\n")[1:3]
    assert head == (
        "library_name: kfsl\nlicense: unknown\npipeline_tag: image-classification\n"
        "tags:\n- few-shot-learning\n- keras\n- saved_model\n"
        'model-index:\n- name: "STANet"\n  results:\n  - task:\n'
        '      type: image-classification\n      name: "5-way 1-shot"\n'
        '    dataset:\n      name: "letters"\n      type: "letters"\n      split: "test"\n'
        "    metrics:\n    - type: accuracy\n      value: 0.9\n"
        '      name: "mean of 2 episodes"\n    - type: accuracy_interval\n'
        f'      value: {evaluation().interval}\n      name: "half of the 95 % interval"\n'
        '    - type: ece\n      value: 0.1234\n      name: "expected calibration error"\n'
    )
    assert text.startswith("\n# STANet\n\nAttention.\n\nWritten by kfsl as a SavedModel.\n")
    assert "Reference: [Someone, 2018](https://example.org)." in text
    assert "- Backbone: Conv4\n- Parameters: 112,345, of which training moves 112,000\n" in text
    assert "Inductive" in text
    found = sections(card)
    assert "- Images of 8x8 pixels, 1 channel; that size alone\n" in found["What it takes"]
    assert "- Classes of an episode: 5\n" in found["What it takes"]
    assert found["Trained on"] == (
        "\n- Dataset: letters\n- Classes: the 3 of the split `train`; `classes.json` names them\n"
        "- Licence of the data: CC0\n- Fingerprint: `f00d`\n\n"
    )
    assert row(found["Measured"]) == [
        "test", "letters", "5-way 1-shot", "15", "2", "accuracy 90.00 ± 19.60 %", "running",
        "12.34 ± 1.11 %", "2026-01-01T00:00:00+00:00",
    ]  # fmt: skip
    assert "not calibrated: 0.9 does not mean" in found["Not known, and mind"]
    assert "- kfsl 0.1.0, keras 3.15.1\n- Exported 2026-01-02T03:04:05" in found["Versions"]
    assert f"This card was written {WRITTEN}." in found["Versions"]
    assert "Not evaluated" not in card


def test_an_evaluation_of_other_weights_is_not_shown():
    plain = card_of()
    assert "**Not evaluated.**" in plain
    assert "model-index" not in plain
    assert card_of([evaluation(weights="b" * 64)]) == plain
    # Weights from no file are nobody's: that both are unknown makes them not the same.
    assert "**Not evaluated.**" in card_of([evaluation(weights="")], weights="")


def test_other_bindings_stand_apart():
    card = card_of([evaluation(overrides=["WAYS = 3"], ways=3)])
    assert "**Not evaluated.**" in card
    assert "model-index" not in card
    assert row(card)[-1] == "`WAYS = 3`"
    own = card_of([evaluation(overrides=["WAYS = 3"])], overrides=["WAYS = 3"])
    assert "model-index" in own
    assert "It differs from how it was trained by `WAYS = 3`" in own


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ({"raw": RAW, "scaled": SCALED, "temperature": 2.0}, "4.56 ± 0.22 %"),
        ({"raw": RAW, "scaled": SCALED, "temperature": 3.0}, "-"),
        ({"raw": RAW}, "-"),
    ],
)
def test_calibration_error_is_of_the_probabilities_that_are_served(found, shown):
    served = {
        "temperature": 2.0, "split": "val", "episodes": 600, "ways": 5, "shots": 1,
        "before": {"ece": 0.2}, "after": {"ece": 0.02}, "rejection": None,
    }  # fmt: skip
    card = card_of([evaluation(calibration=found)], calibration=served)
    assert row(card)[7] == shown
    assert ("- type: ece" in card) == (shown != "-")
    assert ("A dash under ECE" in card) == (shown == "-")
    assert "at the temperature 2, as served" in card
    assert "calibrated by the temperature 2" in sections(card)["Not known, and mind"]


def test_transductive_pretrained_and_unknown_are_said():
    about = {**DESCRIPTION["about"], "pretrained": True}
    card = card_of([evaluation(transductive=True)], {}, transductive=True, about=about)
    assert "**Transductive**" in card
    assert row(card)[6] == "running, transductive"
    assert "Backbone: Conv4, trained elsewhere" in card
    assert "leakage and no few-shot results" in card
    assert "Not known: the export was not made from a run." in sections(card)["Trained on"]
    assert "leakage" not in card_of()


def test_when_nobody_knows_it_is_not_invented():
    assert row(card_of([evaluation(environment={})]))[-1] == "not known"


def test_what_is_no_number_is_none_in_the_index():
    card = card_of([evaluation(values=[float("nan"), 1.0])])
    assert "value: null" in card
    assert "NaN\n" not in card


def test_an_edited_card_is_known():
    card = card_of()
    assert is_as_written(card)
    assert not is_as_written(card.replace("Not evaluated", "Excellent"))
    assert not is_as_written(f"{card}More.\n")
    assert not is_as_written("# My model\n")
    assert not is_as_written("")


def test_an_export_from_python_says_not_evaluated(tmp_path):
    export(prototypical_network(), str(tmp_path / "model"), image_shape=SHAPE)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "**Not evaluated.**" in card
    assert "- Images of 16x16 pixels, 1 channel; other sizes too, 4 pixels or more\n" in card
    assert "Weights: from no file of a run" in card
    learner = prototypical_network()
    assert f"Parameters: {learner.count_params():,}, of which" in card


def card_file(run):
    return os.path.join(run.saved_model, "README.md")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_evaluate_after_export_tells_the_card(run):
    export_run(run, run.saved_model)
    assert "**Not evaluated.**" in read(card_file(run))
    lines = evaluate_run(run, "test", episodes=6)
    assert lines[-1] == f"told in {card_file(run)}"
    found = Evaluation.load(run.evaluation_path("test"))
    card = read(card_file(run))
    assert is_as_written(card)
    measured = row(card)
    assert measured[2:6] == [
        found.setting, "4", "6", f"accuracy {found.measure.text(found.mean, found.interval)}"
    ]  # fmt: skip
    assert measured[-1] == found.environment["when"]
    assert f"value: {json.dumps(found.mean)}\n" in card
    # An export that comes later has it from the beginning.
    export_run(run, run.saved_model)
    assert row(read(card_file(run))) == measured


def test_a_card_of_other_weights_is_left_alone(run):
    export_run(run, run.saved_model)
    before = read(card_file(run))
    letters.prototypical_network(seed=5).save(run.best_learner)
    lines = evaluate_run(run, "test", episodes=6)
    assert lines[-1].startswith("written to ")
    assert read(card_file(run)) == before


def test_an_edited_card_is_left_alone(run):
    export_run(run, run.saved_model)
    with open(card_file(run), "a", encoding="utf-8") as file:
        file.write("Ask Ada about this model.\n")
    edited = read(card_file(run))
    lines = evaluate_run(run, "test", episodes=6)
    assert lines[-1].startswith(f"not written: {card_file(run)}, which somebody has edited")
    assert read(card_file(run)) == edited


def test_nothing_about_a_card_hides_an_evaluation(run):
    export_run(run, run.saved_model)
    os.remove(card_file(run))
    os.mkdir(card_file(run))
    lines = refresh_cards(run, file_fingerprint(run.best_learner))
    assert len(lines) == 1
    assert lines[0].startswith(f"not written: {card_file(run)} (")
    with open(os.path.join(run.saved_model, "model.json"), "w", encoding="utf-8") as file:
        file.write("{")
    assert refresh_cards(run, file_fingerprint(run.best_learner)) == []


def test_what_counts_as_measured(run):
    weights = file_fingerprint(run.best_learner)
    assert evaluations_of(run, weights) == []
    mine = evaluation(weights=weights)
    mine.save(run.evaluation_path("test"))
    dataclasses.replace(mine, split="val", weights="b" * 64).save(run.evaluation_path("val"))
    for name, text in (("damaged", "{"), ("test_against_other", '{"split": "test"}')):
        with open(run.evaluation_path(name), "w", encoding="utf-8") as file:
            file.write(text)
    assert evaluations_of(run, weights) == [mine]
    assert evaluations_of(run, "") == []
