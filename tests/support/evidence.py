"""Runs that were evaluated, to collect evidence of."""

from kfsl.runs.evaluation_record import Evaluation
from kfsl.runs.files import write_text
from kfsl.runs.run_directory import RunDirectory
from kfsl.runs.trained_run import weights_fingerprint

METADATA = {
    "training_seconds": 2460.4,
    "seed": 3,
    "machine": {"cpu": "Some CPU | fast", "cores": 2},
    "commit": "0123456789abcdef+changes",
    "versions": {"kfsl": "1.0"},
    "threads": 2,
    "dataset_fingerprint": "abc",
    "steps": 100,
    "finished": "2030-01-01T00:00:00+00:00",
    "command_line": ["/home/someone/kfsl/train.py", "--gin_file=gin/a.gin"],
}
ROW = {"table": "Omniglot", "method": "ProtoNet", "paper": 97.4, "note": "three\nlayers"}


def evaluation(**changes) -> Evaluation:
    fields = {
        "split": "test",
        "values": [1.0, 0.9, 1.0, 0.9],
        "ways": 5,
        "shots": 1,
        "queries": 15,
        "seed": 12345,
        "dataset": "omniglot",
        "dataset_fingerprint": "abc",
        "episodes_fingerprint": "def",
        "learner": "PrototypicalNetwork",
        "bn_policy": "running",
        "transductive": False,
        "environment": {"command_line": ["/home/someone/kfsl/evaluate.py", "--run_dir=runs/a"]},
    }
    return Evaluation(**{**fields, **changes})


def evaluated_run(path: str) -> RunDirectory:
    """A run directory with an evaluation of its weights, and no learner."""
    run = RunDirectory(path)
    run.start("WAYS = 5\n")
    run.update_metadata(METADATA)
    write_text(run.best_learner, "weights")
    evaluation(weights=weights_fingerprint(run)).save(run.evaluation_path("test"))
    return run
