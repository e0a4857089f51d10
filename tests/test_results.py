"""RESULTS.md from evidence."""

import json
import os

import pytest

from kfsl.evidence.collection import collect, collect_experts, generate, page_beside
from kfsl.evidence.registry import paper_row
from kfsl.runs.files import write_json, write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import weights_fingerprint
from tests.support.evidence import METADATA, ROW, evaluated_run, evaluation
from tests.test_evaluate import command


@pytest.fixture
def run(tmp_path):
    return evaluated_run(str(tmp_path / "run"))


@pytest.fixture
def results(tmp_path):
    return str(tmp_path / "results")


@pytest.fixture
def page(tmp_path):
    return str(tmp_path / "RESULTS.md")


def table_rows(page):
    """Each table row as a dict from column to cell."""
    with open(page, encoding="utf-8") as file:
        lines = [line[2:-3].split(" | ") for line in file if line.startswith("| ")]
    return [
        dict(zip(lines[0], line, strict=True)) for line in lines if line[0] not in ("Method", "---")
    ]


def test_the_page_is_beside_the_evidence():
    assert page_beside("results") == "RESULTS.md"
    assert page_beside("anew/results/") == os.path.join("anew", "RESULTS.md")


def test_a_run_becomes_a_row(run, results, page):
    collect(run, results, "omniglot_protonet", ROW)
    assert sorted(os.listdir(os.path.join(results, "omniglot_protonet"))) == [
        "config.gin",
        "evaluation.json",
        "metadata.json",
        "row.json",
    ]
    assert generate(results, page).endswith("RESULTS.md: 1 rows")
    (row,) = table_rows(page)
    # Mean 0.95; sample variance 4 * 0.05 ** 2 / 3.
    half = 100 * 1.96 * (4 * 0.05**2 / 3 / 4) ** 0.5
    assert row["Method"] == "ProtoNet [1]"
    assert row["Data and protocol"] == "omniglot"
    assert row["Setting"] == "5-way 1-shot"
    assert row["Paper"] == "97.4"
    assert row["Ours"] == f"95.00 ± {half:.2f}"
    assert row["Reached"] == "met, -2.40"  # The interval is wider than that.
    assert row["Beside"] == "–"
    assert row["Updates"] == "100"
    assert row["Episodes"] == "4"
    assert row["Seeds"] == "3"
    assert row["Training"] == "41 min"
    assert row["Hardware"] == r"Some CPU \| fast, 2 cores"
    assert row["Commit"] == "0123456789 + changes"
    with open(page, encoding="utf-8") as file:
        assert "1. three layers\n" in file.read()


def test_a_row_of_the_registry_says_what_the_registry_says(run, results, page):
    name = "omniglot_stanet_5way_1shot_3layers"
    collect(run, results, name, {"note": "Short."})
    with open(os.path.join(results, name, "row.json"), encoding="utf-8") as file:
        assert json.load(file) == {"note": "Short."}
    generate(results, page)
    (row,) = table_rows(page)
    assert row["Method"] == "STANet, 3 layers [1]"
    assert row["Paper"] == "98.69 ± 0.22 (Table 4)"
    assert "7x7 locations" in row["Data and protocol"]
    with open(page, encoding="utf-8") as file:
        assert "Not run yet: omniglot_stanet_5way_1shot_1layer, " in file.read()


def learnt(run, accuracies, seed=0, **changes):
    """Makes a run one of a seed that was evaluated with these accuracies."""
    run.update_metadata({"seed": seed})
    fields = {"values": accuracies, "weights": weights_fingerprint(run), **changes}
    evaluation(**fields).save(run.evaluation_path("test"))


def test_seeds_are_one_line_and_a_claim_is_a_difference_on_the_same_episodes(run, results, page):
    layers = {1: "omniglot_stanet_5way_1shot_1layer", 3: "omniglot_stanet_5way_1shot_3layers"}
    for name, seed, accuracies in (
        (layers[3], 0, [0.9, 1.0, 0.9, 0.8]),
        (f"{layers[3]}_seed1", 1, [1.0, 1.0, 0.8, 0.8]),
        (layers[1], 0, [0.9, 0.9, 0.8, 0.7]),
    ):
        learnt(run, accuracies, seed)
        collect(run, results, name, {})
    generate(results, page)
    three, one = table_rows(page)
    # Means over the seeds: 0.95, 1.0, 0.85, 0.8.
    assert three["Ours"].endswith(" (90.00, 90.00)")
    assert three["Ours"].startswith("90.00 ± 8.95")
    assert three["Seeds"] == "0, 1"
    assert three["Evidence"].count("](") == 2
    # Episode by episode 0.05, 0.1, 0.05, 0.1.
    assert three["Beside"] == "+7.50 ± 2.83 against STANet, 1 layer; paper +0.59"
    assert (one["Ours"], one["Beside"]) == ("82.50 ± 9.38", "–")
    assert one["Reached"] == "15.60 short"


def test_rows_that_met_other_episodes_are_not_compared(run, results, page):
    learnt(run, [0.5, 0.6])
    collect(run, results, "omniglot_stanet_5way_1shot_1layer", {})
    learnt(run, [0.9, 0.9], episodes_fingerprint="other")
    collect(run, results, "omniglot_stanet_5way_1shot_3layers", {})
    generate(results, page)
    assert [row["Beside"] for row in table_rows(page)] == ["–", "–"]
    collect(run, results, "omniglot_stanet_5way_1shot_1layer_seed1", {})
    with pytest.raises(ValueError, match=r"differ in episodes_fingerprint .* Evaluate the runs"):
        generate(results, page)


def test_a_row_that_is_short_shows_how_validation_went(run, results, page):
    for step, accuracy in ((100, 0.5), (200, 0.7), (300, 0.6)):
        run.append_metrics({"step": step, "epoch": step // 100, "val_accuracy": accuracy})
    learnt(run, [0.5, 0.6])
    collect(run, results, "row", ROW)
    with open(os.path.join(results, "row", "validation.json"), encoding="utf-8") as file:
        assert json.load(file) == {"updates": [100, 200, 300], "accuracies": [0.5, 0.7, 0.6]}
    generate(results, page)
    with open(page, encoding="utf-8") as file:
        told = "Validation: 50.0 after 100 updates, 70.0 after 200 (best), 60.0 after 300."
        assert told in file.read()


def test_what_the_registry_says_cannot_be_changed_on_the_command_line(run, results, page):
    result = command(
        "kfsl.results", f"--results={results}", f"--output={page}", f"--collect={run.path}",
        "--row=omniglot_stanet_5way_1shot_3layers", "--paper=50",
    )  # fmt: skip
    assert result.returncode == 2
    assert "--paper has no place here" in result.stderr
    assert not os.path.exists(results)


def test_collecting_again_keeps_what_the_row_said(run, results, page):
    collect(run, results, "row", ROW)
    collect(run, results, "row", {"paper": 98.0, "paper_interval": 0.5, "note": None})
    with open(os.path.join(results, "row", "row.json"), encoding="utf-8") as file:
        assert json.load(file)["note"] == "three\nlayers"
    generate(results, page)
    assert table_rows(page)[0]["Paper"] == "98 ± 0.5"


def test_a_row_without_a_paper_and_one_that_is_transductive(run, results, page):
    transductive = evaluation(weights=weights_fingerprint(run), transductive=True)
    transductive.save(run.evaluation_path("test"))
    collect(run, results, "row", {"table": "t", "method": "m"})
    generate(results, page)
    (row,) = table_rows(page)
    assert (row["Paper"], row["Reached"]) == ("–", "–")
    assert row["Setting"] == "5-way 1-shot (transductive)"


def test_the_page_depends_on_the_evidence_alone(run, results, page, tmp_path):
    names = ["b", "a", "d", "c"]
    for name in names:
        table = "second" if name in "ab" else "first"
        collect(run, results, name, {**ROW, "method": name.upper(), "table": table})
    generate(results, page)
    assert [row["Method"][0] for row in table_rows(page)] == ["C", "D", "A", "B"]
    with open(page, encoding="utf-8") as file:
        text = file.read()
    assert text.index("## first") < text.index("## second")
    generate(results, page)
    with open(page, encoding="utf-8") as file:
        assert file.read() == text


def test_check_tells_a_stale_page(run, results, page):
    collect(run, results, "row", ROW)
    with pytest.raises(ValueError, match=r"RESULTS\.md is stale"):
        generate(results, page, check=True)
    assert not os.path.exists(page)
    generate(results, page)
    assert "up to date" in generate(results, page, check=True)
    path = os.path.join(results, "row", "row.json")
    write_json(path, {**ROW, "dataset": "omniglot", "setting": "5-way 1-shot", "paper": 90.0})
    with pytest.raises(ValueError, match=r"RESULTS\.md is stale"):
        generate(results, page, check=True)


def test_no_rows_yet(results, page):
    os.makedirs(results)
    assert generate(results, page).endswith(": 0 rows")
    assert "up to date" in generate(results, page, check=True)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("row.json", "{", r"row\.json' is damaged .*mend it"),
        ("row.json", "[]", r"row\.json' is damaged .it holds a list"),
        ("row.json", None, r"No .*row\.json"),
        ("row.json", '{"table": "t"}', r"needs a text 'method'"),
        ("metadata.json", None, r"No .*metadata\.json"),
        ("metadata.json", "{}", r"metadata\.json has no 'training_seconds'"),
        ("evaluation.json", None, r"No evaluation .*evaluation\.json"),
        ("evaluation.json", "{}", r"evaluation\.json' is damaged"),
        ("config.gin", None, r"no config\.gin"),
    ],
)
def test_damaged_evidence_is_named(run, results, page, name, text, message):
    collect(run, results, "row", ROW)
    path = os.path.join(results, "row", name)
    os.remove(path)
    if text is not None:
        write_text(path, text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        generate(results, page)
    assert not os.path.exists(page)


def test_a_byte_order_mark_is_no_part_of_a_row(run, results, page):
    collect(run, results, "row", ROW)
    path = os.path.join(results, "row", "row.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8-sig") as file:
        file.write(text)
    assert generate(results, page).endswith(": 1 rows")


def test_as_a_command(run, results, page):
    where = (f"--results={results}", f"--output={page}")
    result = command(
        "kfsl.results", *where, f"--collect={run.path}", "--row=row", "--table=t", "--method=m",
        "--paper=97.4",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "5-way 1-shot, 4 episodes: 95.00" in result.stdout
    assert command("kfsl.results", *where, "--check").returncode == 0
    os.remove(page)
    result = command("kfsl.results", *where, "--check")
    assert result.returncode == 2
    assert result.stderr.startswith("kfsl results: ")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("values", "reached"), [(0.03, "met, -0.0100"), (0.06, "0.0200 short")])
def test_of_errors_less_is_better(run, results, page, values, reached):
    errors = [values - 1e-4, values + 1e-4] * 4
    evaluation(
        values=errors, metric="error", ways=None, shots=10, queries=1024,
        weights=weights_fingerprint(run),
    ).save(run.evaluation_path("test"))  # fmt: skip
    collect(run, results, "faces", {**ROW, "paper": 0.04})
    generate(results, page)
    (row,) = table_rows(page)
    assert row["Setting"] == "10 given, 1024 asked"
    assert row["Ours"] == f"{values:.4f} ± 0.0001"
    assert row["Reached"] == reached


def test_experts_are_one_row_made_of_several_runs(tmp_path, results, page):
    row = paper_row("two_mode_prototypical_network_5way_1shot_experts")
    with pytest.raises(FileNotFoundError, match="two_mode_prototypical_network_5way_1shot_mini"):
        collect_experts(row, results, 0)
    modes, numbers = (
        [0, 1, 0, 1],
        {"mini_imagenet": [0.5, 0.2, 0.6, 0.3], "omniglot": [0.1, 0.9, 0.2, 1.0]},
    )
    for name, (mode, values) in zip(row.experts, numbers.items(), strict=True):
        run = RunDirectory(str(tmp_path / name))
        run.start(f"mixture_episode.modes = ('{mode}',)\n")
        run.update_metadata({**METADATA, "seed": 0})
        write_text(run.best_learner, mode)
        evaluation(
            values=values, modes=modes, mode_names=list(numbers), weights=weights_fingerprint(run)
        ).save(run.evaluation_path("test"))
        collect(run, results, name, {})
    found = collect_experts(row, results, 0)
    assert found.evaluation.values == [0.5, 0.9, 0.6, 1.0]
    assert found.metadata["experts"] == list(row.experts)
    assert found.metadata["training_seconds"] == pytest.approx(2 * 2460.4)
    generate(results, page)
    rows = {each["Method"]: each for each in table_rows(page)}
    assert rows["Multi-ProtoNet, the mode known"]["Ours"].startswith("75.00")
    assert rows["Multi-ProtoNet, the mode known"]["Training"] == "82 min"
