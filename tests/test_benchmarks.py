"""The benchmarks run, at sizes that take seconds; what they measure is nobody's business here."""

import functools
import importlib
import importlib.util
import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from data_pipelines.samplers import fixed_episode
from kfsl.evaluation.evaluate import evaluate
from kfsl.experiment import Experiment
from kfsl.runs.environment import environment
from kfsl.serving.export import export
from tests.support.letters import letters, prototypical_network, write_letters

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HAS_MUJOCO = all(importlib.util.find_spec(name) for name in ("gymnasium", "mujoco"))


@pytest.mark.long
def test_meta_step(tmp_path):
    output = tmp_path / "figures.json"
    sizes = [
        "--filters=4",
        "--size=16",
        "--meta_batch=3",
        "--repeats=1",
        "--matrix=64",
        "--queries=7",
    ]
    command = [sys.executable, BENCHMARKS / "meta_step.py", "--learner", "maml_first_order", *sizes]
    done = subprocess.run(
        [*command, f"--json={output}"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    (found,) = json.loads(output.read_text())
    assert found["learner"] == "maml_first_order"
    assert 0 < found["seconds_min"] <= found["seconds_median"]
    # 16, 8, 4 and 2 pixels a side; then a head of 5 on 4 numbers.
    first = 2 * 9 * 4 * 16**2
    forward = first + 2 * 9 * 4 * 4 * (8**2 + 4**2 + 2**2) + 2 * 4 * 5
    support, queries = 5 * 5, 35
    # Forward, to maps, to weights; but the images have no gradient.
    expected = 3 * (support + queries) * (3 * forward - first)
    # Normalisation's sums, two forward and two in the gradient, are products with ones.
    expected += 3 * (support + queries) * 4 * 2 * 4 * (16**2 + 8**2 + 4**2 + 2**2)
    assert found["gflop"] == pytest.approx(expected / 1e9, rel=1e-9)


@pytest.fixture
def benchmark(monkeypatch, capsys):
    """Runs a benchmark's `main`; what it measures in processes of its own is measured here."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()

    def call(name, *arguments):
        module = importlib.import_module(f"benchmarks.{name}")
        # The peak of this process, which has run other tests, may not grow at all.
        peaks = itertools.count(2**20, 2**20)
        monkeypatch.setattr(module, "peak_memory", lambda: next(peaks), raising=False)

        def measured(command, **options):
            if command[0] != sys.executable:
                return run(command, **options)
            monkeypatch.setattr(sys, "argv", command[1:])
            capsys.readouterr()
            try:
                module.main()
            finally:
                keras.config.set_floatx(floatx)
                keras.config.set_dtype_policy(policy)
            return SimpleNamespace(stdout=capsys.readouterr().out)

        run = subprocess.run
        monkeypatch.setattr(subprocess, "run", measured)
        monkeypatch.setattr(sys, "argv", [module.__file__, *arguments])
        module.main()

    return call


def test_cross_modulation(tmp_path, benchmark):
    output = tmp_path / "figures.json"
    sizes = ["--filters=4", "--size=16", "--rounds=1", "--repeats=1", "--case", "train_1shot"]
    benchmark("cross_modulation", *sizes, f"--json={output}")
    (found,) = json.loads(output.read_text())
    # Loss and all gradients, in double precision up to a head in single.
    assert 0 < found["largest_difference"] < 1e-5
    assert set(found["seconds_median"]) == {"kfsl", "all at once", "plain"}


def test_implanting(tmp_path, benchmark):
    output = tmp_path / "figures.json"
    sizes = ["--size", "16", "--filters=4", "--rounds=1", "--repeats=1", "--updates=3"]
    benchmark("implanting", *sizes, "--matrix=64", f"--json={output}")
    (found,) = json.loads(output.read_text())
    # Of how far the implants move, after three updates in double precision.
    assert 0 < found["largest_difference"] < 1e-4
    ours, plain = (found["forms"][form]["gflop"] for form in ("kfsl", "plain"))
    # The frozen network is seen once instead of three times; the widened one is seen once more.
    assert ours < plain < 3 * ours


def test_modulated_tasks(tmp_path, benchmark):
    output = tmp_path / "figures.json"
    sizes = ["--size=28", "--filters=2", "--rounds=1", "--repeats=1", "--tasks=2"]
    benchmark("modulated_tasks", "--form", "kml", *sizes, "--matrix=64", f"--json={output}")
    found = json.loads(output.read_text())
    assert 0 < found["largest_difference"] < 1e-9
    assert set(found["times_the_unmodulated"]) == {"kml", "prototypes"}
    assert found["times_the_unmodulated"]["prototypes"] == 1.0


def test_modulated_convolutions(tmp_path, benchmark):
    output = tmp_path / "figures.json"
    sizes = ["--size=16", "--filters=4", "--images=2", "--repeats=1"]
    benchmark("modulated_convolutions", *sizes, f"--json={output}")
    found = json.loads(output.read_text())
    assert len(found["blocks"]) == 4
    assert all(block["largest_difference"] < 1e-12 for block in found["blocks"])
    assert found["maps_to_kernel"] > 0


def stand_in(folder, script):
    """An executable in the place of a Python that has PyTorch, which kfsl's environment has not."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def beside_pytorch(python, *arguments):
    command = [sys.executable, BENCHMARKS / "beside_pytorch.py", f"--python={python}"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.long
def test_beside_pytorch(tmp_path):
    figures = {"seconds_median": 2.0, "matmul_gflop_per_second": 3.0, "first_call_seconds": 4.0}
    python = stand_in(tmp_path, f"echo '{json.dumps(figures)}'")
    output = tmp_path / "figures.json"
    sizes = ["--filters=2", "--rounds=1", "--repeats=1"]
    spread = ["--parallel_tasks=2", "--threads=1"]
    done = beside_pytorch(python, "--library", "higher", *sizes, *spread, f"--json={output}")
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    assert found["maml"]["higher"] == [figures]
    (own,) = found["maml"]["kfsl"]
    assert (own["parallel_tasks"], own["threads"]) == (2, 1)
    seconds = own["seconds_median"]
    assert "2.000 s, product 3 GFLOP/s" in done.stdout
    assert done.stdout.splitlines()[-1] == f"maml, higher: {2 / seconds:.2f} times kfsl's"


def test_a_library_without_the_learner_is_told(tmp_path):
    python = stand_in(tmp_path, "exit 0")
    done = beside_pytorch(python, "--library", "torch", "--learner", "maml")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("none of torch has maml")


@pytest.mark.parametrize(
    ("script", "message"),
    [("exit 1", "cannot import torch and higher; install"), (None, "does not start: No such file")],
)
def test_a_python_without_pytorch_is_told(script, message, tmp_path):
    python = stand_in(tmp_path, script) if script else tmp_path / "nowhere"
    done = beside_pytorch(python, "--library", "higher")
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_rollouts(tmp_path, benchmark, capsys):
    output = tmp_path / "figures.json"
    sizes = ["--tasks=2", "--rollouts=2", "--horizon=3", "--rounds=1", "--repeats=1"]
    cases = ["navigation", *["cheetah"] * HAS_MUJOCO]
    benchmark("rollouts", *sizes, "--matrix=64", f"--json={output}", "--case", *cases)
    found = json.loads(output.read_text())
    assert found.pop("environment")["machine"]["cpu"] == environment()["machine"]["cpu"]
    assert list(found) == cases
    assert all(one["steps_per_second"] > 0 for one in found.values())
    assert "share" not in found["navigation"]
    if HAS_MUJOCO:
        (cheetah,) = found["cheetah"]["rounds"]
        (acting,), (alone,) = cheetah["steps_per_second"], cheetah["alone"]
        assert found["cheetah"]["share"] == acting / alone
        assert f"{100 * acting / alone:.0f} % of Gymnasium's" in capsys.readouterr().out


@pytest.mark.long
def test_workers(tmp_path):
    output = tmp_path / "figures.json"
    sizes = ["--filters=2", "--meta_batch=2", "--updates=2", "--rounds=1", f"--json={output}"]
    command = [sys.executable, BENCHMARKS / "workers.py", "--learner", "prototypical_network"]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())["prototypical_network"]
    assert found["1"]["efficiency"] == 1.0
    assert 0 < found["2"]["steps_per_second"] == found["2"]["episodes_per_second"] / 2
    # Conv-4 of 2 filters: its gradient goes from each to the other, in single precision.
    parameters = 9 * 2 + 3 * 9 * 2 * 2 + 4 * 3 * 2
    assert found["1"]["bytes_per_step"] < 2 * 4 * parameters <= found["2"]["bytes_per_step"]


def test_comparison(tmp_path, monkeypatch, capsys):
    comparison = importlib.import_module("benchmarks.comparison")
    write_letters(str(tmp_path / "store"))
    monkeypatch.setattr(comparison, "DATASETS", {"letters": None})
    for name, value in {"QUERIES": 3, "SHOTS": (1,), "REPEATS": 1}.items():
        monkeypatch.setattr(comparison, name, value)
    loaded = letters(str(tmp_path / "store"))
    monkeypatch.setattr("data_pipelines.load_dataset.load_dataset", lambda name: loaded)
    # A run with its export; exporting is a process of its own.
    run = tmp_path / "letters.prototypical_network"
    export(prototypical_network(), str(run / "saved_model"), image_shape=(8, 8, 1))
    (run / "metadata.json").write_text('{"finished": "now", "training_seconds": 90, "steps": 7}')
    (run / "metrics.jsonl").write_text('{"val_accuracy": 0.5}\n{"val_accuracy": 0.25}\n')
    monkeypatch.setattr(comparison, "export", lambda path: None)
    output = tmp_path / "figures.json"
    arguments = [f"--runs={tmp_path}", "--episodes=6", f"--output={output}"]
    monkeypatch.setattr(sys, "argv", ["comparison.py", *arguments])
    comparison.main()
    assert "letters: there is no run dense_classification; left out" in capsys.readouterr().out
    rows = json.loads(output.read_text())["rows"]
    assert [row["learner"] for row in rows][::5] == [
        "pixels, nearest class mean", "ProtoNet, trained here",
    ]  # fmt: skip
    assert rows[-1]["training"] == {"minutes": 1.5, "updates": 7, "validation": 0.5}
    # The same as evaluate, which draws these episodes too.
    sampler = functools.partial(fixed_episode, ways=5, shots=1, queries=3)
    whole = Experiment(learner=prototypical_network(), dataset=loaded, sampler=sampler)
    expected = np.array(evaluate(whole, episodes=6).values) * 15
    assert rows[-1]["correct"] == np.rint(expected).astype(int).tolist()
    for row in rows:
        assert row["accuracy"] == pytest.approx(np.mean(row["correct"]) / 15)
        assert row["seconds"] > 0
    # A network of 4.6 million weights, whatever its head.
    assert [row["megabytes"] > 10 for row in rows] == [False, True, True, True, True, False]
