"""Reptile, and the first-order MAML that has no held-out set."""

from typing import Any

import keras
import tensorflow as tf

from kfsl import gradients
from kfsl.distribution import replicas
from kfsl.episodes import SEED, SUPPORT_MASK
from kfsl.learners.base.argument_checks import check_choice, check_numbers, check_positive
from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.learners.base.task_loop import map_tasks, task_seeds
from kfsl.networks.replaced_weights import starting_weights
from kfsl.update_rules.adam import Adam
from kfsl.update_rules.sgd import SGD


@keras.saving.register_keras_serializable(package="kfsl")
class Reptile(GradientLearner):
    """Reptile: the initialisation moves towards the weights that each task's training leads to.

    An update hands the optimiser the mean over tasks of `theta - theta_T` in place of a
    gradient: with `keras.optimizers.SGD(1.0)` the initialisation becomes the mean of the
    adapted weights. Nothing is differentiated through the inner loop. The loss and accuracy
    that training shows are those of the queries.

    In the published code the moments of the inner Adam persist from task to task, and
    mini-batches run through shuffled epochs of the task; here each task starts with fresh
    moments, and each step draws its own mini-batch without replacement.

    The number quoted for 5-way 1-shot miniImageNet, 49.97, is transductive: the queries
    normalise together, as under the BN policy `batch`, the default. `support` is inductive.

    Args:
        backbone: see `GradientLearner`.
        inner_rate: float. Rate of the inner loop.
        inner_optimizer: str. `"adam"` or `"sgd"`.
        beta_1: float. Of the inner Adam; 0 as in the paper's code.
        beta_2: float. Of the inner Adam.
        meta_gradient: str. `"difference"`: `theta - theta_T`, Reptile. `"last"`: the gradient of
            the last mini-batch, at the weights before that step: first-order MAML without a
            held-out set. Training then shows the queries' loss at those weights.
        train_on: str. `"support"`, or `"pooled"`: training adapts to the support set and the
            queries together, so that the queries are no measure of it. Evaluation always
            adapts to the support set alone.
        scale: float. Divides the difference. `inner_rate * steps` makes it a mean gradient.
        **kwargs: see `GradientLearner`: `steps`, `evaluation_steps`, `inner_batch`,
            `evaluation_batch`, `bn_policy`.

    Raises:
        ValueError: for arguments out of range, or weight decay, which no loss would see.

    Reference:
        [Nichol et al., 2018](https://arxiv.org/abs/1803.02999), algorithm 2;
        [Flennerhag et al., 2019](https://arxiv.org/abs/1812.01054) for FOMAML without a
        held-out set.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.reptile import Reptile

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    backbone = Conv4(image_shape=(28, 28, 1), filters=8)
    learner = Reptile(backbone, ways=5, steps=3, inner_batch=4)
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    differentiates_adaptation = False
    INNER_OPTIMIZERS = ("adam", "sgd")
    META_GRADIENTS = ("difference", "last")
    TRAIN_ON = ("support", "pooled")

    def __init__(
        self,
        backbone: keras.Model,
        *,
        inner_rate: float = 1e-3,
        inner_optimizer: str = "adam",
        beta_1: float = 0.0,
        beta_2: float = 0.999,
        meta_gradient: str = "difference",
        train_on: str = "support",
        scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        # Its tasks have no tapes, and `map_tasks` decides how many run at once.
        super().__init__(
            backbone, first_order=True, require_exact=False, parallel_tasks=1, **kwargs
        )
        check_choice("inner_optimizer", inner_optimizer, self.INNER_OPTIMIZERS)
        check_choice("meta_gradient", meta_gradient, self.META_GRADIENTS)
        check_choice("train_on", train_on, self.TRAIN_ON)
        check_numbers(inner_rate=inner_rate, beta_1=beta_1, beta_2=beta_2)
        check_positive(scale=scale)
        if meta_gradient == "last" and self.steps < 1:
            raise ValueError("meta_gradient='last' needs an inner step; received steps=0.")
        if self.weight_decay:
            raise ValueError(
                f"Reptile has no loss that weight_decay={self.weight_decay} could be added to; "
                "give the outer optimiser a weight decay."
            )
        self.inner_rate = inner_rate
        self.inner_optimizer = inner_optimizer
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.meta_gradient = meta_gradient
        self.train_on = train_on
        self.scale = scale

    def update_rule(self) -> gradients.UpdateRule:
        if self.inner_optimizer == "sgd":
            return SGD(self.inner_rate)
        return Adam(self.inner_rate, self.beta_1, self.beta_2)

    # === Training ===

    def loss_and_gradients(
        self, episode: dict[str, Any], query_labels: Any
    ) -> tuple[dict[str, Any], Any, list[Any]]:
        """What `call` returns, the queries' loss, and the meta-gradient for each weight."""
        episode = self.with_seed(episode)
        task = self._pooled(episode, query_labels) if self.train_on == "pooled" else episode
        state, found = self._meta_gradients(task)
        queries = self.embed(episode[self.objective.query_inputs], training=True)
        outputs = self.infer(state, queries, training=True)
        loss = self.compute_loss(episode, query_labels, outputs)
        # The optimiser expects the gradients of its scaled loss, summed over replicas.
        factor = self.scale_loss(1.0) / replicas.count()
        adapted = self.adapted_network.variables
        of = {id(w): factor * g for w, g in zip(adapted, found, strict=True)}
        zeros = {id(w): tf.zeros(w.shape, w.dtype) for w in self.trainable_weights}
        return outputs, loss, [{**zeros, **of}[id(w)] for w in self.trainable_weights]

    def _meta_gradients(self, task: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        """The state after the inner loop, and the mean over tasks for each adapted tensor."""
        steps = self.steps if self.meta_gradient == "difference" else self.steps - 1
        state = self.adapt(
            self.embed(task[self.objective.support_inputs], training=True),
            task[self.objective.support_targets],
            mask=task.get(SUPPORT_MASK),
            seed=task.get(SEED),
            training=True,
            steps=steps,
        )
        if self.meta_gradient == "difference":
            start = zip(
                starting_weights(self.adapted_network.variables),
                self.adapted_network.keys,
                strict=True,
            )
            found = [(weight[None] - state[key]) / self.scale for weight, key in start]
        else:
            found = self._last_gradients(state, task)
        return state, [tf.reduce_mean(each, axis=0) for each in found]

    def _last_gradients(self, state: dict[str, Any], task: dict[str, Any]) -> list[Any]:
        """The gradient that the last step of each task would follow, `[B, ...]`."""
        keys = self.adapted_network.keys
        inputs = {key: state[key] for key in keys}
        inputs["features"] = self.embed(task[self.objective.support_inputs], training=True)
        inputs["labels"] = task[self.objective.support_targets]
        inputs["seeds"] = task_seeds(inputs["labels"], task.get(SEED))
        if SUPPORT_MASK in task:
            inputs["mask"] = task[SUPPORT_MASK]

        def one(task: dict[str, Any]) -> dict[str, Any]:
            seed, labels, mask = task["seeds"], task["labels"], task.get("mask")
            known = self.objective.support_state(labels, mask)
            rows = self.inputs_of(task["features"])
            loss = self.support_loss(rows, labels, mask, known, seed, training=True)
            inner = gradients.InnerLoss(
                loss, self.steps - 1, True, self.gradient_clip, self.gradient_noise, seed
            )
            _, found = inner.value_and_grad([task[key] for key in keys])
            return dict(zip(keys, found, strict=True))

        found = map_tasks(one, inputs)
        return [found[key] for key in keys]

    def _pooled(self, episode: dict[str, Any], query_labels: Any) -> dict[str, Any]:
        """The episode with its queries at the end of the support set."""
        inputs, queries, targets = (
            self.objective.support_inputs,
            self.objective.query_inputs,
            self.objective.support_targets,
        )
        labels = tf.cast(query_labels, tf.as_dtype(episode[targets].dtype))
        pooled = {
            **episode,
            inputs: tf.concat([episode[inputs], episode[queries]], axis=1),
            targets: tf.concat([episode[targets], labels], axis=1),
        }
        if SUPPORT_MASK in episode:
            every = tf.ones(query_labels.shape[:2], tf.bool)
            pooled[SUPPORT_MASK] = tf.concat([episode[SUPPORT_MASK], every], axis=1)
        return pooled

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["first_order"], config["require_exact"], config["parallel_tasks"]
        return {
            **config,
            "inner_rate": self.inner_rate,
            "inner_optimizer": self.inner_optimizer,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "meta_gradient": self.meta_gradient,
            "train_on": self.train_on,
            "scale": self.scale,
        }
