"""Every configuration of policies is stepped; one goes through all commands."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import pytest

from kfsl import configurables
from kfsl.analysis import analyses
from kfsl.runs.run_directory import RunDirectory
from tests.support import forked
from tests.support.commands import refused, run_command

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "gin/rl").glob("*.gin") if path.name[0] != "_")
TINY = (
    "train_policy.iterations = 1",
    "train_policy.tasks = 2",
    "train_policy.validation_tasks = 2",
    "train_policy.validation_every = 1",
    "PolicyExperiment.rollouts = 2",
    "MLP.hidden = (4, 4)",
)
HAS_MUJOCO = all(importlib.util.find_spec(name) for name in ("gymnasium", "mujoco"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_is_trained_and_evaluated(path, tmp_path, monkeypatch):
    if "HalfCheetah" in path.read_text() and not HAS_MUJOCO:
        pytest.skip("the extra kfsl[rl] is not installed")
    monkeypatch.chdir(ROOT)
    environment = "Navigation" if "navigation" in path.stem else "HalfCheetah"
    config = configurables.parse([f"gin/rl/{path.name}"], [*TINY, f"{environment}.horizon = 4"])
    experiment = configurables.experiment()
    run = RunDirectory(str(tmp_path / "run"))
    run.start(config)
    session = configurables.command_of("train", experiment)(experiment, run)
    configurables.check_used("train")
    session.fit(configurables.operative())
    found = configurables.command_of("evaluate", experiment)(experiment, episodes=2)
    assert len(found.after_updates) == 4
    method = (re.search("cavia|modgrad", path.stem) or ["maml"])[0]
    assert found.learner.lower() == method
    goal = re.search("direction|velocity", path.stem)
    assert getattr(experiment.environment, "goal", None) == (goal and goal[0])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, and what its commands printed."""
    folder = tmp_path_factory.mktemp("user")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    bindings = [f"--gin_param={each}" for each in (*TINY, "Navigation.horizon = 5")]
    printed = []
    for command in (
        ["kfsl.train", "--gin_file=gin/rl/navigation.gin", *bindings],
        ["kfsl.evaluate", "--episodes=3"],
        ["kfsl.export"],
        ["kfsl.analyze", "--analysis=returns"],
        ["kfsl.analyze", "--analysis=navigation", "--count=2"],
    ):
        line = ["-m", *command, "--run_dir=run"]
        result = forked.python(line, env=environment, cwd=folder)
        assert result.returncode == 0, result.stderr
        printed.append(result.stdout)
    return folder, printed


@pytest.mark.long
def test_as_a_user_types_them(trained):
    folder, (train, evaluate, export, returns, _) = trained
    assert "Iteration 1/1: return " in train
    assert re.search(r"Trained 1 steps, validation return -\d+\.\d\d ± \d+\.\d\d\.", train)
    assert "test: 2 rollouts an update, 3 tasks: return -" in evaluate
    assert re.search(r"\n  after 3 updates: -", evaluate)
    stored = json.loads((folder / "run/evaluation/test.json").read_text())
    assert len(stored["returns"]) == 3
    assert len(stored["after_updates"]) == 4
    assert "It sees 2 numbers, acts by 2" in export
    assert (folder / "run/saved_model/saved_model.pb").exists()
    mean = f"{sum(stored['after_updates'][2]) / 3:.2f}"
    assert mean in returns
    values = json.loads((folder / "run/analysis/navigation_test.json").read_text())
    assert len(values["goals"]) == 2
    assert (folder / "run/analysis/navigation_test.png").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["kfsl.show"], "is of a policy, which has rollouts and no episodes"),
        (["kfsl.evaluate", "--classes=both"], "has a policy, which knows no classes"),
        (["kfsl.evaluate", "--open_set"], "which knows no classes; leave --open_set out"),
        (["kfsl.evaluate", "--calibrate"], "there are no probabilities to calibrate"),
        (["kfsl.evaluate", "--gin_param=train_policy.tasks=3"], "has no effect on evaluation"),
        (["kfsl.evaluate", "--split=../tset"], "Policies have tasks of train, val, test; received"),
        (["kfsl.evaluate", "--gin_param=evaluate_policy.rollouts=-3"], "must be a whole number"),
        (["kfsl.evaluate", "--gin_param=Navigation.horizon=0"], "horizon must be a whole number"),
        (["kfsl.evaluate", "--gin_param=MAML.inner_rate=1e30"], "after 1 updates is not finite"),
        (["kfsl.show", "--hardest=3"], "measures the return of a MAML"),
        (["kfsl.analyze", "--analysis=confusion"], "measures the return of a MAML"),
    ],
    ids=[
        "show",
        "classes",
        "open_set",
        "calibrate",
        "binding",
        "split",
        "rollouts",
        "horizon",
        "diverged",
        "hardest",
        "confusion",
    ],
)
def test_what_a_policy_has_not_is_one_line(trained, command, words, monkeypatch, capsys):
    folder, _ = trained
    monkeypatch.chdir(folder)
    module, *arguments = command
    answer = run_command(monkeypatch, capsys, module, "--run_dir=run", *arguments)
    refused(answer, words)


#: Those that look at policies, or read files alone.
OF_POLICIES = {"navigation", "returns", "second_order", *analyses.OF_FILES}


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(analyses.ANALYSES) - OF_POLICIES))
def test_analyses_of_other_learners_refuse_policies(trained, name, monkeypatch, capsys):
    folder, _ = trained
    monkeypatch.chdir(folder)
    answer = run_command(monkeypatch, capsys, "kfsl.analyze", "--run_dir=run", f"--analysis={name}")
    refused(answer, "that answers with actions: this analysis is for learners that answer with")


def test_more_iterations_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    bindings = [f"--gin_param={each}" for each in (*TINY, "Navigation.horizon = 3")]
    line = ["--gin_file=gin/rl/navigation.gin", f"--run_dir={tmp_path / 'run'}", *bindings]
    for iterations in (2, 3):
        more = f"--gin_param=train_policy.iterations = {iterations}"
        answer = run_command(monkeypatch, capsys, "kfsl.train", *line, more)
        assert answer.code == 0, answer.err
        assert f"Trained {iterations} steps" in answer.out
    rows = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows]
    assert steps == [1, 2, 3]


@pytest.mark.parametrize(
    "name",
    ["PolicyExperiment.rollouts", "Navigation.horizon", "TrustRegion.trials",
     "TrustRegion.iterations", "PolicyGradient.actions"],
)  # fmt: skip
def test_a_part_of_a_whole_is_one_line_and_no_run(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    line = ["--gin_file=gin/rl/navigation.gin", f"--run_dir={tmp_path / 'run'}"]
    bindings = [f"--gin_param={each}" for each in (*TINY, f"{name} = 2.5")]
    answer = run_command(monkeypatch, capsys, "kfsl.train", *line, *bindings)
    refused(answer, f"{name} must be a whole number of at least 1; received 2.5")
    assert not (tmp_path / "run").exists()


def test_without_mujoco_one_line_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    line = ["--gin_file=gin/rl/half_cheetah_direction_maml.gin", f"--run_dir={tmp_path / 'run'}"]
    answer = run_command(monkeypatch, capsys, "kfsl.train", *line)
    refused(answer, "needs Gymnasium and MuJoCo", "pip install 'kfsl[rl]'")
    assert not (tmp_path / "run").exists()


def test_nothing_is_bound(monkeypatch, capsys, tmp_path):
    (tmp_path / "mine.gin").write_text("PolicyExperiment.learner = @MAML()\n")
    monkeypatch.chdir(tmp_path)
    answer = run_command(monkeypatch, capsys, "kfsl.train", "--gin_file=mine.gin")
    refused(answer, "Nothing is bound to PolicyExperiment.environment")
