"""`python -m kfsl.analyze` with the analyses of gradient-based learners, as a process."""

import json
import os
import subprocess
import sys

import pytest

from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.run_directory import RunDirectory
from tests.support import gradient_runs, letters
from tests.support.refusals import CHECKOUT, refusal


def test_a_table_of_two_runs(tmp_path):
    store = str(tmp_path / "letters")
    letters.write_letters(store)
    for steps in (1, 5):
        run = gradient_runs.maml_run(str(tmp_path / f"steps{steps}"), store, steps=steps)
        Evaluation(
            split="val", values=[0.4, 0.1 * steps], ways=3, shots=1, queries=4, seed=0,
            dataset="letters", dataset_fingerprint="", episodes_fingerprint="",
            learner="MAML", bn_policy="batch", transductive=True,
        ).save(run.evaluation_path("val"))  # fmt: skip
    result = subprocess.run(
        [
            *(sys.executable, "-m", "kfsl.analyze", "--analysis=shots_and_steps", "--split=val"),
            *("--run_dir=steps5", "--compare=steps1"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": CHECKOUT},
    )
    stem = os.path.join("steps5", "analysis", "shots_and_steps_val")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"written to {stem}.{end}" for end in ("png", "json")]
    rows = json.loads((tmp_path / f"{stem}.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["run"], row["steps"]) for row in rows] == [("steps5", 5), ("steps1", 1)]
    assert [row["accuracy"] for row in rows] == pytest.approx([0.45, 0.25])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--analysis=gradient_noise", "--levels=0,much"], "--levels takes numbers"),
        (["--analysis=gradient_noise", "--levels=0,-1"], "at least 0; received -1"),
        (["--analysis=gradient_noise", "--noise_scale=sigma"], "should be one of <std|variance>"),
        (["--analysis=inner_steps", "--levels=0.5"], "integer from 0; received 0.5"),
        (["--analysis=modgrad_spectrum", "--compare={run}"], "no trained learner yet"),
    ],
)
def test_bad_input_is_told_before_anything_slow(tmp_path, arguments, message):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("WAYS = 3\n")
    filled = [argument.format(run=run.path) for argument in arguments]
    said = refusal(tmp_path, "kfsl.analyze", f"--run_dir={run.path}", *filled)
    assert message in said
