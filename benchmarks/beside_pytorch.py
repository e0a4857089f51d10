"""Training steps beside the same steps of PyTorch, in turn on one machine.

    python benchmarks/beside_pytorch.py --python=ENVIRONMENT/bin/python \\
        --learner prototypical_network maml --library torch learn2learn

ENVIRONMENT is one in which torch and the libraries are installed; kfsl needs neither. The steps
are those of `meta_step.py`, of every learner that has a peer: `torch` is the step written out with
PyTorch's own modules, as it comes, `torch_channels_last` with its faster memory format;
`learn2learn` and `higher` are libraries whose gradient-based learners are used as their examples
do. Conv-4 of stock modules, Adam. Each round gives every side a process of its own, which times
steps and a large matrix product in turn. PyTorch has a thread for each core; how kfsl spreads its
tasks over them, `--parallel_tasks` and `--threads` say.

From Python 3.11 on, learn2learn 0.2.0 does not build as it is published: unpack it, translate its
`.pyx` files with `cython` (below 3), and install the folder with `--no-build-isolation`.
"""

import argparse
import functools
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS, WAYS, SHOTS, QUERIES, STEPS, SIZE, MATRIX = 4, 5, 1, 15, 5, 28, 2048
RATE = 0.01


def conv4(filters: int) -> Any:
    """Conv-4 with a linear head, of PyTorch's own modules."""
    from torch import nn

    layers, channels = [], 1
    for _ in range(4):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = filters
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(filters, WAYS))


def prototypical_step(
    model: Any, tasks: list[tuple], learner: str, channels_last: bool = False
) -> Callable[[], float]:
    """Support and query images of a task embedded together, as kfsl does; tasks one by one."""
    import torch
    from torch.nn.functional import cross_entropy

    del learner
    backbone = model[:-1]  # Without the head.
    if channels_last:
        backbone = backbone.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(backbone.parameters(), 1e-3)
    together = []
    for images, labels, queries, query_labels in tasks:
        joined = torch.cat([images, queries])
        if channels_last:
            joined = joined.to(memory_format=torch.channels_last)
        together.append((joined, labels, query_labels))

    def step() -> float:
        optimizer.zero_grad()
        total = 0.0
        for images, labels, query_labels in together:
            features = backbone(images)
            support, queries = features[: len(labels)], features[len(labels) :]
            prototypes = torch.stack([support[labels == c].mean(0) for c in range(WAYS)])
            distances = ((queries[:, None] - prototypes) ** 2).sum(-1)
            loss = cross_entropy(-distances, query_labels) / len(tasks)
            loss.backward()
            total += loss.item()
        optimizer.step()
        return total

    return step


def learn2learn_step(model: Any, tasks: list[tuple], learner: str) -> Callable[[], float]:
    """As in learn2learn's examples: a clone for each task, adapted step by step."""
    import learn2learn
    import torch
    from torch.nn.functional import cross_entropy

    first_order = learner == "maml_first_order"
    algorithm = "MetaSGD" if learner == "meta_sgd" else "MAML"
    maml = getattr(learn2learn.algorithms, algorithm)(model, lr=RATE, first_order=first_order)
    optimizer = torch.optim.Adam(maml.parameters(), 1e-3)

    def step() -> float:
        optimizer.zero_grad()
        total = 0.0
        for images, labels, queries, query_labels in tasks:
            learner = maml.clone()
            for _ in range(STEPS):
                learner.adapt(cross_entropy(learner(images), labels))
            loss = cross_entropy(learner(queries), query_labels) / len(tasks)
            loss.backward()
            total += loss.item()
        optimizer.step()
        return total

    return step


def higher_step(model: Any, tasks: list[tuple], learner: str) -> Callable[[], float]:
    """As in higher's examples: a functional copy of the network and of SGD for each task."""
    import higher
    import torch
    from torch.nn.functional import cross_entropy

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    inner = torch.optim.SGD(model.parameters(), lr=RATE)

    def step() -> float:
        optimizer.zero_grad()
        total = 0.0
        for images, labels, queries, query_labels in tasks:
            exact = learner != "maml_first_order"
            options = {"copy_initial_weights": False, "track_higher_grads": exact}
            with higher.innerloop_ctx(model, inner, **options) as (copy, inside):
                for _ in range(STEPS):
                    inside.step(cross_entropy(copy(images), labels))
                loss = cross_entropy(copy(queries), query_labels) / len(tasks)
                loss.backward()
            total += loss.item()
        optimizer.step()
        return total

    return step


#: Side -> the module it needs besides torch, its step, and the learners it has.
LIBRARIES: dict[str, tuple[str, Callable, tuple[str, ...]]] = {
    "torch": ("torch", prototypical_step, ("prototypical_network",)),
    "torch_channels_last": (
        "torch",
        functools.partial(prototypical_step, channels_last=True),
        ("prototypical_network",),
    ),
    "learn2learn": ("learn2learn", learn2learn_step, ("maml", "maml_first_order", "meta_sgd")),
    "higher": ("higher", higher_step, ("maml",)),
}
LEARNERS = tuple(dict.fromkeys(name for _, _, names in LIBRARIES.values() for name in names))


def measure(library: str, learner: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step and of the product; runs where PyTorch is."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))

    def images(number: int) -> tuple:
        return torch.randn(number * WAYS, 1, SIZE, SIZE), torch.arange(WAYS).repeat(number)

    tasks = [(*images(SHOTS), *images(QUERIES)) for _ in range(TASKS)]
    module, make_step, _ = LIBRARIES[library]
    step = make_step(conv4(arguments.filters).train(), tasks, learner)
    matrix = torch.randn(MATRIX, MATRIX)
    first = seconds_of(step)
    step()
    matrix @ matrix
    steps, products = [], []
    for _ in range(arguments.repeats):
        products.append(seconds_of(lambda: matrix @ matrix))
        steps.append(seconds_of(step))
    return {
        "torch": torch.__version__,
        module: importlib.metadata.version(module),
        "threads": torch.get_num_threads(),
        "seconds_median": statistics.median(steps),
        "first_call_seconds": first,
        "matmul_gflop_per_second": 2 * MATRIX**3 / statistics.median(products) / 1e9,
    }


def seconds_of(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure_kfsl(learner: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of `meta_step.py`."""
    script = Path(__file__).with_name("meta_step.py")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "figures.json"
        command = [sys.executable, script, "--learner", learner, f"--json={output}"]
        passed_on = ("filters", "repeats", "parallel_tasks", "threads")
        options = [f"--{name}={getattr(arguments, name)}" for name in passed_on]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        (found,) = json.loads(output.read_text())
    keys = ("seconds_median", "first_call_seconds", "matmul_gflop_per_second")
    spread = {name: getattr(arguments, name) for name in ("parallel_tasks", "threads")}
    return {**spread, **{key: found[key] for key in keys}}


def measure_apart(library: str, learner: str, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [arguments.python, "-W", "ignore", __file__, *sys.argv[1:]]
    done = subprocess.run(
        [*command, "--measure", library, learner], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def refusal(python: str, module: str) -> str | None:
    """Why that Python cannot measure a library, and what to do; None if it can."""
    try:
        probe = subprocess.run([python, "-c", f"import torch, {module}"], capture_output=True)
    except OSError as error:
        return f"--python={python} does not start: {error.strerror}; name a Python that has torch"
    if probe.returncode:
        return (
            f"--python={python} cannot import torch and {module}; "
            f"install them there: {python} -m pip install torch {module}"
        )
    return None


def compare(learner: str, sides: list[str], arguments: argparse.Namespace) -> dict[str, list]:
    """The figures of all sides of one learner, round by round, and a line for each."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(arguments.rounds):
        # Nobody always comes first, when a processor is cool.
        for name in sides[number % len(sides) :] + sides[: number % len(sides)]:
            measured = (
                measure_kfsl(learner, arguments)
                if name == "kfsl"
                else measure_apart(name, learner, arguments)
            )
            found[name].append(measured)
            print(
                f"{learner:22}{name:20}{measured['seconds_median']:7.3f} s, "
                f"product {measured['matmul_gflop_per_second']:.0f} GFLOP/s, "
                f"first call {measured['first_call_seconds']:.1f} s",
                flush=True,
            )
    for name in sides[1:]:
        shares = [
            other["seconds_median"] / own["seconds_median"]
            for own, other in zip(found["kfsl"], found[name], strict=True)
        ]
        print(f"{learner}, {name}: {', '.join(f'{s:.2f}' for s in shares)} times kfsl's")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--python", required=True, help="Python in which torch is installed")
    parser.add_argument("--learner", nargs="+", choices=LEARNERS, default=["maml"])
    parser.add_argument("--library", nargs="+", choices=LIBRARIES, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10, help="timed steps in a round")
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--parallel_tasks", type=int, default=1, help="kfsl's tasks at once")
    parser.add_argument("--threads", type=int, default=0, help="kfsl's threads in an op; 0: all")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure, arguments)))
        return
    for library in arguments.library:
        if why := refusal(arguments.python, LIBRARIES[library][0]):
            parser.error(why)
    found = {}
    for learner in arguments.learner:
        peers = [name for name in arguments.library if learner in LIBRARIES[name][2]]
        if not peers:
            parser.error(f"none of {', '.join(arguments.library)} has {learner}")
        found[learner] = compare(learner, ["kfsl", *peers], arguments)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
