"""What a second worker brings: `python benchmarks/workers.py`.

Steps and episodes a second of one worker and of two, each with a core of its own, that train the
same meta-batches: ProtoNet and exact MAML, Conv-4 of 64 filters on 28x28 images, 5-way 1-shot with
15 queries. Beside them the bytes that a step sends, counted at the loopback device, which carries
nothing else meanwhile.

The numbers of workers are measured by turns, each training in processes of its own; the first
epoch, in which graphs are made, is left out.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LEARNERS = ("prototypical_network", "maml")
SHAPE = (28, 28, 1)


def write_store(path: str, classes: int = 20, images: int = 20) -> None:
    """Noise: what the images show changes no speed."""
    import numpy as np

    from data_pipelines.class_store import StoredClass
    from data_pipelines.class_store_writer import write_class_store

    rng = np.random.default_rng(0)
    named = [StoredClass(f"c{i:02d}", "all", images) for i in range(classes)]
    drawn = (
        (i, rng.integers(0, 256, SHAPE, dtype="uint8"))
        for i in range(classes)
        for _ in range(images)
    )
    write_class_store(path, named, drawn, image_shape=SHAPE, metadata={"name": "noise"})


def train(arguments: argparse.Namespace) -> None:
    """One worker's training; worker 0 leaves `metrics.jsonl`."""
    os.sched_setaffinity(0, {arguments.core})
    import functools

    from data_pipelines.class_store import ClassStore
    from data_pipelines.dataset import FewShotDataset
    from data_pipelines.samplers import fixed_episode
    from kfsl.backbones.conv4 import Conv4
    from kfsl.experiment import Experiment
    from kfsl.learners import MAML, PrototypicalNetwork
    from kfsl.runs.run_directory import RunDirectory
    from kfsl.training import process
    from kfsl.training import train as training

    process.set_up(threads=1, strategy="multi_worker" if "TF_CONFIG" in os.environ else None)
    backbone = Conv4(image_shape=SHAPE, filters=arguments.filters)
    if arguments.train == "maml":
        learner: Any = MAML(backbone, ways=5, steps=arguments.steps)
    else:
        learner = PrototypicalNetwork(backbone)
    store = ClassStore.open(os.path.join(arguments.folder, "store"))
    experiment = Experiment(
        learner=learner,
        dataset=FewShotDataset("noise", store, {"train": list(range(20))}),
        sampler=functools.partial(fixed_episode, ways=5, shots=1, queries=15),
    )
    run = RunDirectory(os.path.join(arguments.folder, "run"))
    session = training.train(
        experiment,
        run,
        epochs=3,
        steps_per_epoch=arguments.updates,
        meta_batch=arguments.meta_batch,
        validation_episodes=0,
        callbacks=[_sent_bytes(os.path.join(arguments.folder, "bytes"))],
    )
    if session.writes:
        run.start("")
    session.fit()


def _sent_bytes(path: str) -> Any:
    """Writes, after each epoch, how many bytes its steps sent."""
    import keras

    class SentBytes(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.before = loopback_bytes()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{loopback_bytes() - self.before}\n")

    return SentBytes()


def loopback_bytes() -> int:
    """What the loopback device has sent so far; 0 where there is no such count."""
    try:
        lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[9]) for line in lines if line.strip().startswith("lo:")), 0)


def measured(learner: str, workers: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Steps a second of some workers, and the bytes of a step."""
    with tempfile.TemporaryDirectory() as folder:
        write_store(os.path.join(folder, "store"))
        addresses = [f"localhost:{port}" for port in _free_ports(workers)]
        options = [
            f"--train={learner}", f"--folder={folder}", f"--filters={arguments.filters}",
            f"--meta_batch={arguments.meta_batch}", f"--updates={arguments.updates}",
            f"--steps={arguments.steps}",
        ]  # fmt: skip
        processes = []
        for index in range(workers):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment = dict(os.environ)
            if workers > 1:
                environment["TF_CONFIG"] = json.dumps(task)
            command = [sys.executable, __file__, *options, f"--core={_core(index)}"]
            processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        if any([process.wait() for process in processes]):
            raise RuntimeError("a worker failed")
        with open(os.path.join(folder, "run", "metrics.jsonl"), encoding="utf-8") as file:
            speeds = [json.loads(line)["steps_per_second"] for line in file][1:]
        with open(os.path.join(folder, "bytes"), encoding="utf-8") as file:
            sent = [int(line) for line in file][workers:]
    return {
        "steps_per_second": statistics.median(speeds),
        "bytes_per_step": statistics.median(sent) / arguments.updates,
    }


def _core(index: int) -> int:
    cores = sorted(os.sched_getaffinity(0))
    return cores[index % len(cores)]


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def summary(rounds: dict[str, dict[int, list]], meta_batch: int) -> dict[str, Any]:
    """The figures over all rounds."""
    found: dict[str, Any] = {}
    for learner, by_workers in rounds.items():
        speeds = {
            workers: statistics.median(each["steps_per_second"] for each in runs)
            for workers, runs in by_workers.items()
        }
        found[learner] = {
            str(workers): {
                "steps_per_second": speeds[workers],
                "episodes_per_second": meta_batch * speeds[workers],
                "efficiency": speeds[workers] / (workers * speeds[1]),
                "bytes_per_step": statistics.median(each["bytes_per_step"] for each in runs),
                "rounds": runs,
            }
            for workers, runs in by_workers.items()
        }
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """The figures for people."""
    return [
        f"{learner}, {workers} {'worker' if workers == '1' else 'workers'}: "
        f"{one['steps_per_second']:.2f} steps/s, {one['episodes_per_second']:.1f} episodes/s, "
        f"{100 * one['efficiency']:.0f} % of ideal, {one['bytes_per_step'] / 1e6:.2f} MB a step"
        for learner, by_workers in found.items()
        for workers, one in by_workers.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--learner", nargs="*", choices=LEARNERS, default=LEARNERS)
    parser.add_argument("--workers", nargs="*", type=int, default=(1, 2))
    parser.add_argument("--meta_batch", type=int, default=8, help="tasks of an update, of all")
    parser.add_argument("--updates", type=int, default=12, help="of an epoch; two are timed")
    parser.add_argument("--steps", type=int, default=5, help="of MAML's inner loop")
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2, help="turns of the numbers of workers")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--train", choices=LEARNERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments)
        return
    print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}", flush=True)
    counts = sorted({1, *arguments.workers})
    rounds: dict[str, dict[int, list]] = {
        learner: {count: [] for count in counts} for learner in arguments.learner
    }
    for _ in range(arguments.rounds):
        for learner, by_workers in rounds.items():
            for count, runs in by_workers.items():
                runs.append(measured(learner, count, arguments))
    found = summary(rounds, arguments.meta_batch)
    print("\n".join(lines(found)))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
