"""`python -m kfsl.reproduce` as a user meets it."""

import pytest

from kfsl.evidence.registry import ROWS
from kfsl.runs.files import write_text
from tests.support.commands import refused, run_command

STANET = "omniglot_stanet_5way_1shot_3layers"


@pytest.fixture
def reproduce(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return run_command(monkeypatch, capsys, "kfsl.reproduce", "--runs=runs", *arguments)

    return call


def test_lists_every_row_with_the_number_it_is_to_reach(reproduce):
    answer = reproduce()
    assert answer.code == 0, answer
    for row in ROWS:
        assert f"  {row.name}; paper " in answer.out
    assert (
        f"  {STANET}; paper 98.69 ± 0.22 (Table 4); against omniglot_stanet_5way_1shot_1layer; "
        "seeds 0, 1"
    ) in answer.out.splitlines()


def test_status_of_what_was_not_begun(reproduce):
    answer = reproduce("--status")
    assert answer.code == 0, answer
    lines = answer.out.splitlines()
    assert lines[0] == f"{STANET}: missing; 20,000 updates"
    runs = sum(len(row.seeds) for row in ROWS)
    assert lines[-1].startswith(f"0 of {runs} runs done; 0.0 h left of 0 that are being trained")
    assert len(lines) == runs + 1


def test_a_row_that_has_evidence_is_said_to_be_done(reproduce, tmp_path):
    row = "omniglot_maml_5way_1shot_mixed"
    write_text(str(tmp_path / "results" / row / "evaluation.json"), "{}")
    answer = reproduce(f"--row={row}")
    assert answer.code == 0, answer
    assert f"{row} is done: results/{row} has its evidence" in answer.out
    assert "name another --results and another --runs" in answer.out
    assert not (tmp_path / "RESULTS.md").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--row=omniglot_stanet_5way_1shot",), ("no row 'omniglot_stanet_5way_1shot'", STANET)),
        (("--row=x",), ("no row 'x'", "see the list without --row")),
        (("--all", "--status"), ("--all and --status exclude each other",)),
        (("--all", "--threads=0"), ("--threads must be at least 1; received 0",)),
        (("stanet",), ("'stanet'", "--name=value")),
    ],
)
def test_what_is_refused(reproduce, arguments, words):
    refused(reproduce(*arguments), *words)


@pytest.mark.long
def test_data_that_are_not_prepared_are_named_with_the_command(reproduce, monkeypatch, tmp_path):
    monkeypatch.setenv("KFSL_STORE_DIR", str(tmp_path / "none"))
    # Standing back for the other tests it would take a minute.
    answer = reproduce(f"--row={STANET}", "--niceness=0")
    refused(answer, f"2 failed: {STANET}, {STANET}_seed1")
    assert "python -m data_pipelines.prepare --dataset=omniglot" in answer.out
    assert not (tmp_path / "results").exists()
