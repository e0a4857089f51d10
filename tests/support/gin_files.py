"""The configurations that are shipped, and what is asked of them by several tests."""

import functools
import re
from pathlib import Path

import gin
from kfsl import configurables

ROOT = Path(__file__).parents[2]
TOP_LEVEL = sorted((ROOT / "gin").glob("*.gin"))
REGRESSION = sorted(p for p in (ROOT / "gin/regression").glob("*.gin") if p.name[0] != "_")
#: tests/reinforcement steps these.
POLICIES = sorted(p for p in (ROOT / "gin/rl").glob("*.gin") if p.name[0] != "_")
#: The same commands on the same images: another of them is run whole.
TRAINED_ALONE = [path for path in REGRESSION if path.stem.startswith("glyphs_")][1:]
#: Methods that complete images, in the names of their files.
COMPLETION = {
    "cnp": "ConditionalNeuralProcess", "maml": "MAML", "cavia": "CAVIA", "modgrad": "ModGrad",
}  # fmt: skip
PAPERS = sorted(p for p in (ROOT / "gin/papers").rglob("*.gin") if p.name[0] != "_")
START_FROM = r"^train.start_from = 'runs/(\w+)'"
#: What the multimodal papers' mixtures are made of: the modes' names in a store that the command
#: in each file makes.
MIXTURES = {
    path.stem: tuple(re.search(r"--parts=(\S+)", path.read_text())[1].split(","))
    for path in (ROOT / "gin/data").glob("*_mode*.gin")
    if "--parts=" in path.read_text()
}


def relative(path):
    return str(path.relative_to(ROOT))


@functools.cache
def whole(path):
    """A file's configuration."""
    return configurables.parse([relative(path)])


def bindings(config):
    """The lines that bind; how many threads a machine gave a run is in the metadata."""
    return [line for line in config.splitlines() if not re.match(r"#|$|set_up.threads", line)]


def evaluation_episode(name):
    """A size of the episodes that validation and test draw."""
    with gin.config_scope("evaluation"):
        samplers = ("fixed_episode", "alphabet_episode", "mixture_episode")
        bindings = next(found for each in samplers if (found := gin.get_bindings(each)))
    return bindings[name]
