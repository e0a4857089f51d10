"""Which images make up episode number `index`.

A sampler is a pure function of (seed, split, index). The same arguments give the same episode on
any machine, after any restart, eagerly, in a `tf.function` and under XLA; nothing is remembered
from one episode to the next, so any of them can be looked up by its number.

Every sampler returns rows of the class store, not images:

- `support_indices`, `query_indices`: int64, `[S]` and `[Q]`.
- `support_labels`, `query_labels`: int32, `[S]` and `[Q]`, from 0 to ways - 1. A class's label is
  its place in a random permutation, so a label says nothing about the class.
- `support_class_ids`, `query_class_ids`: int32, `[S]` and `[Q]`, positions in the split.
- `support_mask`: bool, `[S]`, only where ways or shots vary; `False` marks padding.
- `mode`: int32, only of mixtures; which of its datasets the episode is from. A pipeline refuses
  episodes of a mixture that do not say it.

Two samplers draw functions instead: `pixel_episode` an image and places in it, `sinusoid_episode`
the numbers of an episode themselves.

`open_set_episode` adds queries of other classes to any sampler's episodes of images; their label is
-1.

A batch of base classes is an episode without `support_*`: its `query_labels` are positions in the
split.

The support set comes sorted by label, and so do the queries, except where `total_queries` draws
the class of each query at random.
"""

from data_pipelines.samplers.alphabet_episode import alphabet_episode
from data_pipelines.samplers.base_batch import base_batch
from data_pipelines.samplers.epoch_episode import epoch_episode
from data_pipelines.samplers.fixed_episode import fixed_episode
from data_pipelines.samplers.hierarchical_episode import hierarchical_episode
from data_pipelines.samplers.mixture_episode import mixture_episode
from data_pipelines.samplers.open_set_episode import open_set_episode
from data_pipelines.samplers.pixel_episode import pixel_episode
from data_pipelines.samplers.sinusoid_episode import sinusoid_episode
from data_pipelines.samplers.variable_episode import variable_episode

__all__ = [
    "alphabet_episode",
    "base_batch",
    "epoch_episode",
    "fixed_episode",
    "hierarchical_episode",
    "mixture_episode",
    "open_set_episode",
    "pixel_episode",
    "sinusoid_episode",
    "variable_episode",
]
