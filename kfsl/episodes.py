"""The episode: its keys, its shapes, and small ones to try a learner on."""

import dataclasses

import numpy as np

SUPPORT_IMAGES = "support_images"
SUPPORT_LABELS = "support_labels"
SUPPORT_MASK = "support_mask"
SUPPORT_CLASSES = "support_classes"
QUERY_IMAGES = "query_images"
QUERY_CLASSES = "query_classes"
MODE = "mode"
SEED = "seed"

#: Where a task is a function and not a set of images.
SUPPORT_INPUTS = "support_inputs"
SUPPORT_TARGETS = "support_targets"
QUERY_INPUTS = "query_inputs"
QUERY_TARGETS = "query_targets"


@dataclasses.dataclass(frozen=True)
class EpisodeSpec:
    """The size of a few-shot task: `ways` classes, `shots` labelled images of each.

    An episode is a flat dict with a leading meta-batch axis `B`, a support set of `S`
    images and a query set of `Q` images:

    - `support_images`: uint8, `[B, S, H, W, C]`.
    - `support_labels`: int32, `[B, S]`, each in `0..ways - 1`.
    - `query_images`: uint8, `[B, Q, H, W, C]`.
    - `support_mask`: optional bool, `[B, S]`; `False` marks padding.
    - `support_classes`, `query_classes`: optional int32, `[B, S]` and `[B, Q]`; ids of the
      classes (or superclasses) within the whole split.
    - `mode`: optional int32, `[B]`; which of several datasets the episode is from.
    - `seed`: optional int64, `[2]`: stream and number of the first episode, for learners that
      draw at adaptation; episode `b` of the meta-batch has the number `seed[1] + b`.

    An episode without support set, with query images alone, is a batch of base classes: its
    targets are ids of classes within the whole split. A task that is a function has
    `support_inputs`, `support_targets` and `query_inputs`, `[B, n, ...]`, instead of images.

    The targets travel beside it: `query_labels`, int32, `[B, Q]`; of functions `query_targets`.

    Args:
        ways: int. Classes in an episode.
        shots: int. Support images per class.
        queries: int. Query images per class.
        image_shape: tuple of three ints. Height, width and channels.

    Raises:
        ValueError: if a size is not positive.

    Example:
    ```python
    from kfsl.episodes import EpisodeSpec

    spec = EpisodeSpec(ways=5, shots=1, queries=3, image_shape=(28, 28, 1))
    episode, query_labels = spec.random_episode(seed=0, meta_batch=2)
    assert episode["support_images"].shape == (2, 5, 28, 28, 1)
    assert query_labels.shape == (2, 15)
    ```
    """

    ways: int
    shots: int
    queries: int
    image_shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        for field in ("ways", "shots", "queries"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"EpisodeSpec.{field} must be at least 1; received {getattr(self, field)}."
                )
        if len(self.image_shape) != 3:
            raise ValueError(
                "EpisodeSpec.image_shape must be (height, width, channels); "
                f"received {self.image_shape}."
            )

    @property
    def support_size(self) -> int:
        """Images in the support set."""
        return self.ways * self.shots

    @property
    def query_size(self) -> int:
        """Images in the query set."""
        return self.ways * self.queries

    def random_episode(
        self, seed: int = 0, meta_batch: int = 1, classes: int | None = None
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws episodes that can be learnt: each class is a pattern of its own, plus noise.

        Args:
            seed: int. The same seed gives the same episodes.
            meta_batch: int. Episodes to draw.
            classes: int. Size of the pool of classes; `2 * ways` when None.

        Returns:
            The episode dict, with `support_classes` and `query_classes`, and `query_labels`.
        """
        rng = np.random.default_rng(seed)
        pool = 2 * self.ways if classes is None else classes
        patterns = rng.integers(0, 256, (pool, *self.image_shape))
        supports, queries, support_classes, query_classes = [], [], [], []
        for _ in range(meta_batch):
            chosen = rng.permutation(pool)[: self.ways]
            support_classes.append(np.repeat(chosen, self.shots))
            query_classes.append(np.repeat(chosen, self.queries))
            supports.append(self._noisy(rng, patterns[support_classes[-1]]))
            queries.append(self._noisy(rng, patterns[query_classes[-1]]))
        labels = np.arange(self.ways, dtype="int32")
        episode = {
            SUPPORT_IMAGES: np.stack(supports),
            SUPPORT_LABELS: np.tile(np.repeat(labels, self.shots), (meta_batch, 1)),
            SUPPORT_CLASSES: np.stack(support_classes).astype("int32"),
            QUERY_IMAGES: np.stack(queries),
            QUERY_CLASSES: np.stack(query_classes).astype("int32"),
        }
        return episode, np.tile(np.repeat(labels, self.queries), (meta_batch, 1))

    def _noisy(self, rng: np.random.Generator, patterns: np.ndarray) -> np.ndarray:
        noise = rng.normal(0.0, 25.0, patterns.shape)
        return np.clip(patterns + noise, 0, 255).astype("uint8")
