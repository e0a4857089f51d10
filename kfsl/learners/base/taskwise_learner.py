"""Learners whose training looks at one task of a meta-batch after another."""

from typing import Any

import keras
import tensorflow as tf

from kfsl.distribution import replicas
from kfsl.learners.base.argument_checks import check_whole_numbers
from kfsl.learners.base.learner import Learner
from kfsl.learners.base.policy_network import PolicyNetwork
from kfsl.learners.base.task_loop import accumulate_tasks


class TaskwiseLearner(Learner):
    """A learner whose tasks have a network of their own each, so that nothing is shared.

    Loss and gradients are those of the whole meta-batch, but memory does not grow with it.

    Args:
        parallel_tasks: int. Tasks of a meta-batch that may overlap in training, where cores would
            be idle; memory grows with it, the numbers stay the same. One at a time in any case
            where each moves what the next one reads: moving averages, the seeds of dropout.
            Defaults to `1`.
        **kwargs: see `Learner`.

    Raises:
        ValueError: as `Learner`, and for fewer than one task at a time.
    """

    #: Calls the network as the BN policy says; subclasses set it.
    policy_network: PolicyNetwork

    def __init__(self, *, parallel_tasks: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_whole_numbers(1, parallel_tasks=parallel_tasks)
        self.parallel_tasks = parallel_tasks

    def with_seed(self, episode: dict[str, Any]) -> dict[str, Any]:
        """The episode, with a seed of its own where adaptation draws and it has none."""
        return episode

    def loss_and_gradients(
        self, episode: dict[str, Any], query_labels: Any
    ) -> tuple[dict[str, Any], Any, list[Any]]:
        """Task by task, so that memory does not grow with the meta-batch."""
        episode = self.with_seed(episode)
        support_labels = episode[self.objective.support_targets]
        if support_labels.shape[0] == 1:
            outputs, loss, found = super().loss_and_gradients(episode, query_labels)
            # One shape of answer, however many tasks: what the metrics read.
            return {self.objective.output: outputs[self.objective.output]}, loss, found
        return accumulate_tasks(
            super().loss_and_gradients,
            episode,
            query_labels,
            self.trainable_weights,
            {self.objective.output: (query_labels.shape[1], self.objective.width)},
            1 if self.policy_network.moves else self.parallel_tasks,
        )

    def replica_share(self, average: keras.Variable) -> Any:
        """As if the averages had moved from task to task through the whole meta-batch.

        Each replica has moved them by one in so many tasks, as far as by all: what the last tasks
        brought counts most.
        """
        momentum = self.policy_network.momentum_of(average)
        if momentum is None or momentum == 1.0:
            return super().replica_share(average)
        later = replicas.count() - 1 - tf.cast(replicas.number(), average.dtype)
        whole = 1.0 - momentum ** replicas.count()
        return (1.0 - momentum) / whole * tf.pow(tf.constant(momentum, average.dtype), later)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "parallel_tasks": self.parallel_tasks}
