"""Workers that train together: the numbers of one process, and what happens when one is gone."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.support import forked, letters
from tests.support.workers_process import KINDS
from tests.training.test_train import TIMES

MODULE = "tests.support.workers_process"


def free_addresses(count):
    """Ports that nobody listens at now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    found = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return found


def workers(arguments, count=2, **variables):
    """Runs workers to their ends: their exit codes and what they wrote."""
    cluster = {"worker": free_addresses(count)}
    processes = []
    for index in range(count):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", MODULE, "multi_worker", *map(str, arguments)],
                env={**os.environ, "TF_CONFIG": json.dumps(task), **variables},
                cwd=forked.CHECKOUT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    # Bounded: whoever waits for one that is gone is to end, too.
    written = [process.communicate(timeout=240) for process in processes]
    return [(p.returncode, *told) for p, told in zip(processes, written, strict=True)]


def together(arguments, **variables):
    for code, _, err in workers(arguments, **variables):
        assert code == 0, err


def alone(strategy, *arguments):
    done = forked.python(["-m", MODULE, strategy, *map(str, arguments)], cwd=forked.CHECKOUT)
    assert done.returncode == 0, done.stderr


def values(run_dir):
    """All variables of the last checkpoint."""
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints"))
    names = [n for n in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in n]
    return {name: reader.get_tensor(name) for name in names}


def metrics(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def assert_same_numbers(actual, expected, tolerance):
    found, wanted = values(actual), values(expected)
    assert found.keys() == wanted.keys()
    assert len(wanted) > 10
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)
    assert len(metrics(actual)) == len(metrics(expected)) > 0
    for one, other in zip(metrics(actual), metrics(expected), strict=True):
        assert {"accuracy_interval", "gradient_norm", "loss"} < one.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_allclose(one[name], value, rtol=tolerance, err_msg=name)


#: The moving averages of the others do not move from task to task.
MIRRORED = ("second_order", "base_classes")


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    """Each kind by two workers and by one process, some by two devices."""
    folder = tmp_path_factory.mktemp("trained")
    jobs = ["metric:4", *(f"{kind}:2" for kind in KINDS if kind != "metric")]
    together([folder / "workers", store, *jobs])
    alone("alone", folder / "alone", store, *jobs)
    alone("mirrored", folder / "mirrored", store, *(f"{kind}:2" for kind in MIRRORED))
    return folder


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_workers_reach_the_numbers_of_one_process(trained, kind):
    tolerance = 1e-5 if kind == "single" else 1e-9
    assert_same_numbers(trained / "workers" / kind, trained / "alone" / kind, tolerance)


@pytest.mark.long
@pytest.mark.parametrize("kind", MIRRORED)
def test_devices_reach_the_numbers_of_one(trained, kind):
    assert_same_numbers(trained / "mirrored" / kind, trained / "alone" / kind, 1e-9)


@pytest.mark.long
def test_a_lost_worker_ends_all_and_they_go_on_to_the_same_bits(trained, store, tmp_path):
    run = [tmp_path, store, "metric:4"]
    ended = workers(run, DIES_IN_EPOCH="3", DYING_WORKER="1")
    assert ended[1][0] == -signal.SIGKILL
    code, _, err = ended[0]
    assert code == 2
    (line,) = [line for line in err.splitlines() if "worker" in line]
    assert "Another worker is gone, and worker 0 cannot go on alone: " in line
    assert line.endswith("saved after epoch 2. Start all workers again to go on from there.")
    # The one that writes.
    code, _, err = workers(run, DIES_IN_EPOCH="4", DYING_WORKER="0")[1]
    assert code == 2
    assert "worker 1 cannot go on alone" in err
    assert "saved after epoch 3" in err
    shutil.copytree(tmp_path / "metric", tmp_path / "fewer")
    together(run)
    whole, killed = trained / "workers" / "metric", tmp_path / "metric"
    assert metrics(killed) == metrics(whole)
    found = values(killed)
    for name, value in values(whole).items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    # Or with another number of workers: the episodes are the same.
    alone("alone", tmp_path, store, "metric:4:fewer")
    assert_same_numbers(tmp_path / "fewer", trained / "alone" / "metric", 1e-9)


@pytest.mark.long
def test_workers_of_another_training_are_refused(store, tmp_path):
    # Each draws other episodes.
    for code, _, err in workers([tmp_path, store, "metric:1"], OWN_SEED="1"):
        assert code == 2
        assert "Replica 1 has another train.seed than replica 0. Start all workers" in err
    assert not os.path.exists(tmp_path / "metric" / "metrics.jsonl")


@pytest.mark.long
def test_a_worker_that_cannot_begin_ends_the_others(store, tmp_path):
    ended = workers([tmp_path, store, "metric:1"], FAILING_WORKER="1")
    assert ended[1][0] == 2
    assert "cannot begin" in ended[1][2]
    code, _, err = ended[0]
    assert code == 2
    assert "Another worker is gone, and worker 0 cannot go on alone: nothing was begun." in err


def test_other_commands_need_no_workers(store, tmp_path):
    """A run that workers trained is evaluated by one process."""
    from kfsl.evaluate import evaluate_run

    extra = "set_up.strategy = 'multi_worker'\n"
    run = letters.trained_run(str(tmp_path / "run"), store, extra=extra)
    assert evaluate_run(run, "test", 4)[0].startswith("test: 3-way 1-shot, 4 episodes")
