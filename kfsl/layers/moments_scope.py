"""Whose moments batch normalisation takes, and which images count in them."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

Moments = tuple[Any, Any]


@dataclasses.dataclass
class MomentsScope:
    """What `moments_scope` was given, and the moments of the calls inside so far."""

    groups: Any = 1
    mask: Any = None
    given: Mapping[str, Moments] | None = None
    update: bool = False
    across: bool = False
    every: int = 1
    moments: dict[str, Moments] = dataclasses.field(default_factory=dict)
    calls: dict[str, int] = dataclasses.field(default_factory=dict)

    def key(self, path: str) -> str:
        """The path as an identifier; a repeated call of a layer gets a number of its own."""
        name = re.sub(r"\W", "_", path)
        name = f"_{name}" if name[:1].isdigit() else name
        call = self.calls.get(name, 0)
        self.calls[name] = call + 1
        return name if call == 0 else f"{name}__call{call}"


class _Stack(threading.local):
    def __init__(self) -> None:
        self.scopes: list[MomentsScope] = []


_STACK = _Stack()


@contextlib.contextmanager
def moments_scope(
    groups: Any = 1,
    mask: Any = None,
    given: Mapping[str, Moments] | None = None,
    update: bool = False,
    across: bool = False,
    every: int = 1,
) -> Iterator[MomentsScope]:
    """Makes every `BatchNormalization` called inside normalise episode by episode.

    The images of the calls inside are `groups` episodes folded into the batch axis, `n` images
    each: the first `n` images are the first episode. Whatever `training` says, each episode is
    normalised by its own moments over its unmasked images, or by the moments `given`. This is how
    the support set's moments serve the queries, as in the example.

    In a graph, in training, a convolution of few pixel values is computed together with its
    normalisation: a tape that watches the maps between them finds no gradient there.

    Layers with `trainable=False` keep Keras's rule: they use their moving averages, here too.

    The scope acts while Python runs: open it inside a traced function, not around the call of
    one. It belongs to the thread that opened it; the innermost scope counts.

    Args:
        groups: int or scalar integer tensor. The number of episodes `B`. Defaults to `1`: the
            whole batch is normalised together.
        mask: bool tensor `[B*n]` or `[B, n]`, or numbers of which 0 is false. False marks padding
            images, which then change neither the moments nor any gradient. Defaults to None:
            every image counts.
        given: dict. Layer key -> (mean `[B, C]`, variance `[B, C]`), as found in `moments` of an
            earlier scope. Defaults to None: the moments of the images in the call.
        update: bool. Whether the moving averages move too, towards the mean over the episodes
            of their means and of their variances. Defaults to False.
        across: bool. In a training by several replicas the moments are those of all their
            images. Defaults to False.
        every: int. The averages move as far as by so many updates towards the same moments, for
            whoever sees one in so many episodes. Defaults to `1`.

    Returns:
        A context manager. Its value has `moments`, a dict with the moments that each call used,
        `[B, C]` each, by layer path written as an identifier.

    Raises:
        ValueError: `update` together with `given`, or fewer than one group.

    Example:
    ```python
    import numpy as np
    from kfsl.layers.moments_scope import moments_scope
    from kfsl.layers.normalization import BatchNormalization

    layer = BatchNormalization()
    support = np.random.normal(3.0, 2.0, size=(2 * 5, 8)).astype("float32")
    queries = np.random.normal(3.0, 2.0, size=(2 * 7, 8)).astype("float32")
    with moments_scope(groups=2) as scope:
        support_features = layer(support)
    with moments_scope(groups=2, given=scope.moments):
        query_features = layer(queries)
    ```
    """
    if given is not None and update:
        raise ValueError(
            "moments_scope received given moments and update=True. Moments that were computed in "
            "an earlier scope are to be counted there: pass update=True to that scope."
        )
    if isinstance(groups, int) and groups < 1:
        raise ValueError(f"groups must be at least 1; received groups={groups}")
    scope = MomentsScope(groups, mask, given, update, across, every)
    _STACK.scopes.append(scope)
    try:
        yield scope
    finally:
        _STACK.scopes.pop()


def innermost_scope() -> MomentsScope | None:
    """The scope that counts in this thread, if one is open."""
    return _STACK.scopes[-1] if _STACK.scopes else None
