"""`kfsl.analyze` with the analyses of Cross-Modulation Networks."""

import json
import os

import pytest

from kfsl.analysis.cross_modulation import commutativity
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.evaluation.evaluate import EVALUATION_SEED, evaluate
from kfsl.figures import cross_modulation_weights
from kfsl.runs.run_directory import RunDirectory
from tests.support import forked, letters
from tests.support.cross_modulation_runs import cross_modulation_run
from tests.support.refusals import CHECKOUT, refusal

# The command, told of the tests' own dataset and learner as a user's plugin would tell it.
COMMAND = """
from kfsl import analyze
from kfsl.command_line import command
with command.quiet_start():
    import tests.support.cross_modulation_runs
analyze.main()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    letters.write_letters(str(folder / "letters"))
    return cross_modulation_run(str(folder / "run"), str(folder / "letters"), ("block4_bn",))


def numbers(files):
    assert [os.path.splitext(path)[1] for path in files] == [".png", ".json"]
    assert os.path.getsize(files[0]) > 5000
    with open(files[1], encoding="utf-8") as file:
        return json.load(file)


def test_modulation_noise_as_a_process(run):
    folder = os.path.dirname(run.path)
    arguments = [
        "--analysis=cross_modulation_noise",
        "--episodes=4",
        "--noise_seeds=1",
        "--split=val",
    ]
    result = forked.python(
        ["-c", COMMAND, "--run_dir=run", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": CHECKOUT},
    )
    assert (result.returncode, result.stderr) == (0, "")
    stem = os.path.join("run", "analysis", "cross_modulation_noise_val")
    files = [f"{stem}.{end}" for end in ("png", "json")]
    heading, clean, noisy, *written = result.stdout.splitlines()
    assert heading.split()[:2] == ["noise", "block4_bn"]
    assert (clean.split()[1], noisy.split()[:2]) == ("±", ["0.3", "x"])
    assert written == [f"written to {path}" for path in files]
    values = numbers([os.path.join(folder, path) for path in files])
    assert (values["levels"], values["scale"], values["noise_seeds"]) == ([0.3], "std", 1)
    found = evaluate(AnalysisRequest(run).experiment(), split="val", episodes=4)
    assert values["clean"] == {"accuracy": found.mean, "interval": found.interval}
    (row,) = values["rows"]
    assert row["noisy"] == ["block4_bn"]
    assert (row["by_seed"], row["spread"]) == ([row["accuracy"]], None)


def test_the_others_write_the_numbers_they_draw(run):
    request = AnalysisRequest(run)
    experiment = request.experiment()
    expected = {
        "cross_modulation_scales": cross_modulation_weights.scale_values(experiment.learner),
        "cross_modulation_norms": cross_modulation_weights.norm_values(experiment.learner),
        "cross_modulation_commutativity": commutativity.commutativity_values(
            experiment, split="test", episodes=2, seed=EVALUATION_SEED
        ),
    }
    for name, values in expected.items():
        options = {"episodes": 2} if name.endswith("commutativity") else {}
        assert numbers(analyze(name, request, **options)) == {
            "analysis": name,
            "run": run.path,
            **values,
        }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--analysis=cross_modulation_noise", "--levels=-1"], "at least 0; received -1"),
        (["--analysis=cross_modulation_noise", "--noise_seeds=0"], "noise_seeds"),
        (["--analysis=cross_modulation_scales"], "no trained learner yet"),
        (["--analysis=cross_modulation_norms"], "no trained learner yet"),
        (["--analysis=cross_modulation_commutativity"], "no trained learner yet"),
    ],
)
def test_bad_input_is_told_before_anything_slow(tmp_path, arguments, message):
    run = RunDirectory(str(tmp_path / "run"))
    run.start("WAYS = 3\n")
    assert message in refusal(tmp_path, "kfsl.analyze", f"--run_dir={run.path}", *arguments)
