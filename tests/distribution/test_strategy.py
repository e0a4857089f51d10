"""What a process is told of the others, and what it refuses."""

import pytest
import tensorflow as tf

from kfsl.distribution import replicas, strategy
from kfsl.training.process import set_up
from tests.support.commands import refused, run_command


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "needs to know the workers: start each with TF_CONFIG"),
        ("{", "must list workers and say which one this is, such as TF_CONFIG='"),
        ('{"cluster": {"worker": ["a:1"]}}', "must list workers"),
        ('{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}', "must list"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}', "must list"),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
            "lists 2 workers and says that this is number 2: they are counted from 0",
        ),
    ],
)
def test_an_environment_that_does_not_tell_is_refused(monkeypatch, config, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=message):
        set_up(strategy="multi_worker")
    assert not tf.distribute.has_strategy()


def test_another_name_is_refused(monkeypatch, capsys):
    answer = run_command(
        monkeypatch, capsys, "kfsl.train", "--gin_file=gin/maml.gin", "--run_dir=nowhere",
        "--gin_param=set_up.strategy = 'tpu'",
    )  # fmt: skip
    refused(answer, "set_up.strategy must be one of mirrored, multi_worker; received 'tpu'")


def test_one_process_is_a_whole():
    assert (strategy.workers(), strategy.worker(), strategy.writes()) == (1, 0, True)
    assert strategy.share(5, "train.meta_batch") == 5
    assert strategy.any_worker(True)
    assert not strategy.any_worker(False)
    strategy.check_alike({"learner": 1})
    assert (replicas.count(), replicas.number()) == (1, 0)
    rows = tf.constant([[1.0], [2.0]])
    assert replicas.total(rows) is rows
    assert replicas.gathered(rows) is rows
    assert replicas.totals([None, rows]) == [None, rows]


def test_a_share_is_whole(monkeypatch):
    class Three:
        num_replicas_in_sync = 3

    monkeypatch.setattr(strategy.tf.distribute, "get_strategy", Three)
    assert strategy.share(6, "train.meta_batch") == 2
    with pytest.raises(ValueError, match=r"train.meta_batch = 4 cannot be shared by 3 replicas"):
        strategy.share(4, "train.meta_batch")
