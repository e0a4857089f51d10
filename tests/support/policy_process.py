"""Trains a small policy; run as a process, so that a test can kill it.

Called as `python policy_process.py RUN_DIR [ITERATION]`: before the end of that iteration, whose
policy is not saved yet, the process is killed.
"""

import os
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from kfsl.reinforcement import policy_session
from kfsl.reinforcement.train_policy import train_policy
from kfsl.runs.run_directory import RunDirectory
from kfsl.training.process import set_up
from tests.support.policies import experiment


def main(run_dir: str, death: int = 0) -> None:
    set_up(seed=3)
    run = RunDirectory(run_dir)
    run.start("")
    session = train_policy(
        experiment(), run, iterations=6, tasks=2, validation_every=4, validation_tasks=2,
        checkpoint_every=2,
    )  # fmt: skip
    validated = policy_session.PolicySession._record

    def record(self: policy_session.PolicySession, number: int, logs: dict) -> None:
        if number + 1 == death:
            os.kill(os.getpid(), signal.SIGKILL)
        validated(self, number, logs)

    policy_session.PolicySession._record = record
    session.fit("# made by a test")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
