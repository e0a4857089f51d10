"""Learners whose training looks at one task of a meta-batch after another."""

from typing import Any

from kfsl.learners.base.argument_checks import check_at_least
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
        check_at_least(1, parallel_tasks=parallel_tasks)
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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "parallel_tasks": self.parallel_tasks}
