"""One row of a paper's table: what reproduces it, and what it is compared with."""

import dataclasses
import re
from typing import Any

_SEED = re.compile(r"_seed(\d+)$")


@dataclasses.dataclass(frozen=True)
class PaperRow:
    """A number of a paper, the configuration that is to reach it, and the runs it takes.

    Args:
        name: str. Of its gin file, of its runs and of its evidence:
            `<dataset>_<method>_<ways>way_<shots>shot[_<what differs>]`.
        family: str. The folder of the gin file: below `gin/papers`, or one that begins with
            `gin/`.
        paper: str. Whose table the row is in.
        method: str. As the table calls it.
        dataset: str. Data and their division.
        protocol: str. How episodes are drawn and normalised, as far as rows differ in it.
        published: float or None. The paper's number; accuracies in per cent.
        interval: float or None. The paper's interval, likewise.
        source: str. Where in the paper the number stands; empty where the paper has none.
        against: str or None. The row that the paper compares this one with.
        seeds: tuple of int. Two or more where a claim is a difference.
        starts_from: str or None. The row whose run this one begins with.
        task: str. The setting, where the name has no ways and shots.
        trainer: str. What trains it, as gin calls it.
        experts: tuple of str. Rows whose runs it is made of, each asked about the mode that it was
            trained on; it has no run of its own, and the configuration of the first.

    Example:
    ```python
    from kfsl.evidence.registry import paper_row

    row = paper_row("omniglot_stanet_5way_1shot_3layers")
    assert row.gin_file == "gin/papers/stanet/omniglot_stanet_5way_1shot_3layers.gin"
    assert row.setting == "5-way 1-shot"
    assert row.folder(0) == row.name
    assert row.folder(1) == f"{row.name}_seed1"
    ```
    """

    name: str
    family: str
    paper: str
    method: str
    dataset: str
    protocol: str = ""
    published: float | None = None
    interval: float | None = None
    source: str = ""
    against: str | None = None
    seeds: tuple[int, ...] = (0,)
    starts_from: str | None = None
    task: str = ""
    trainer: str = "train"
    experts: tuple[str, ...] = ()

    @property
    def gin_file(self) -> str:
        """As `--gin_file` takes it."""
        if self.experts:
            return f"gin/papers/{self.family}/{self.experts[0]}.gin"
        if self.family.startswith("gin/"):
            return f"{self.family}/{self.name}.gin"
        return f"gin/papers/{self.family}/{self.name}.gin"

    @property
    def setting(self) -> str:
        """Such as `5-way 1-shot`."""
        if self.task:
            return self.task
        ways, shots = re.search(r"_(\d+)way_(\d+)shot", self.name).groups()
        return f"{ways}-way {shots}-shot"

    def folder(self, seed: int) -> str:
        """Name of the run of a seed, and of its evidence."""
        return self.name if seed == self.seeds[0] else f"{self.name}_seed{seed}"

    @property
    def folders(self) -> list[str]:
        """Names of all its runs."""
        return [self.folder(seed) for seed in self.seeds]

    def bindings(self, seed: int) -> list[str]:
        """What the run of a seed binds besides the gin file."""
        if seed == self.seeds[0]:
            return []
        return [f"set_up.seed = {seed}", f"{self.trainer}.seed = {seed}"]

    @property
    def description(self) -> dict[str, Any]:
        """What `row.json` would say of it."""
        return {
            "table": self.paper,
            "method": self.method,
            "dataset": self.dataset,
            "setting": self.setting,
            "paper": self.published,
            "paper_interval": self.interval,
        }


def row_name(folder: str) -> str:
    """The row that a folder of evidence belongs to."""
    return _SEED.sub("", folder)
