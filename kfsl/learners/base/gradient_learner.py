"""Learners that adapt a network to each episode by gradient steps."""

import contextlib
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kfsl import gradients
from kfsl.layers.normalization import moments_scope
from kfsl.learners.base.argument_checks import check_at_least
from kfsl.learners.base.learner import restored
from kfsl.learners.base.network_learner import NetworkLearner
from kfsl.learners.base.query_logits import mask_absent
from kfsl.learners.base.support_set import masked_cross_entropy, mini_batch, step_seed
from kfsl.learners.base.task_loop import accumulate_tasks, map_tasks, task_seeds
from kfsl.networks.exact_layers import check_exact

#: In the state: support images of each class, so that absent classes get no probability.
COUNTS = "support_counts"


class GradientLearner(NetworkLearner):
    """A learner whose state is a network's weights after some gradient steps.

    Subclasses choose the update rule, and may override `inner_weights` and `outputs_with` where
    something else than weights adapts.

    Args:
        backbone: see `NetworkLearner`.
        steps: int. Inner steps in training.
        evaluation_steps: int or None. Inner steps outside training; `steps` when None.
        first_order: bool. Inner gradients count as constants (first-order MAML).
        inner_batch: int or None. Support images of each inner step, drawn without replacement
            in each step; the whole support set when None.
        evaluation_batch: int or None. `inner_batch` outside training; the same when None.
        augmentation: `keras.layers.Layer` or None. Called with the preprocessed support images
            of each inner step and a seed of that step, such as `RandomAffine`.
        gradient_clip: float or None. Clamps inner gradients elementwise.
        gradient_noise: float. Standard deviation of noise on each entry of the inner gradients.
        require_exact: bool. Refuses backbones whose second derivatives TensorFlow gets wrong,
            unless `first_order`.
        parallel_tasks: int. Tasks of a meta-batch that may overlap in training, where cores would
            be idle; memory grows with it, the numbers stay the same. One at a time in any case
            where each moves what the next one reads: moving averages, the seeds of dropout.
        **kwargs: see `NetworkLearner`.

    Raises:
        ValueError: for arguments out of range, or layers without exact second derivatives.
    """

    adapts_in_steps = True
    #: Whether training differentiates through the inner loop's steps.
    differentiates_adaptation = True

    def __init__(
        self,
        backbone: keras.Model,
        *,
        steps: int = 5,
        evaluation_steps: int | None = None,
        first_order: bool = False,
        inner_batch: int | None = None,
        evaluation_batch: int | None = None,
        augmentation: keras.layers.Layer | None = None,
        gradient_clip: float | None = None,
        gradient_noise: float = 0.0,
        require_exact: bool = True,
        parallel_tasks: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, **kwargs)
        check_at_least(0, steps=steps, evaluation_steps=evaluation_steps)
        check_at_least(1, inner_batch=inner_batch, evaluation_batch=evaluation_batch)
        check_at_least(1, parallel_tasks=parallel_tasks)
        self.steps = steps
        self.evaluation_steps = evaluation_steps
        self.first_order = first_order
        self.inner_batch = inner_batch
        self.evaluation_batch = evaluation_batch
        self.augmentation = restored(augmentation)
        self.gradient_clip = gradient_clip
        self.gradient_noise = gradient_noise
        self.require_exact = require_exact
        self.parallel_tasks = parallel_tasks
        if require_exact and not first_order:
            check_exact(self.network)
        self.draws = keras.random.SeedGenerator(0) if self.draws_at_adaptation else None

    @property
    def default_steps(self) -> int:
        return self.steps if self.evaluation_steps is None else self.evaluation_steps

    @property
    def draws_at_adaptation(self) -> bool:
        """Whether adaptation draws random numbers."""
        drawn = (self.inner_batch, self.evaluation_batch, self.augmentation)
        return any(each is not None for each in drawn) or self.gradient_noise > 0

    # === What methods differ in ===

    def update_rule(self) -> gradients.UpdateRule:
        """The rule of the inner loop; made anew for each adaptation, inside the outer tape."""
        raise NotImplementedError

    # === The three functions ===

    def adapt(
        self,
        features: Any,
        labels: Any,
        mask: Any = None,
        seed: Any = None,
        training: bool = False,
        steps: Any = None,
    ) -> dict[str, Any]:
        """Takes gradient steps on the support set's loss.

        Args:
            features: tensor, `[B, S, H, W, C]`: the images.
            labels: int tensor, `[B, S]`.
            mask: optional bool tensor, `[B, S]`; `False` marks padding.
            seed: optional int tensor, `[2]`: stream and number of the first episode.
            training: bool.
            steps: int, int tensor or None: the learner's own number of steps.

        Returns:
            The adapted tensors, `[B, ...]`, and `support_counts`, float32 `[B, ways]`.
        """
        inputs = {"images": features, "labels": labels, "seed": task_seeds(features, seed)}
        if mask is not None:
            inputs["mask"] = mask

        def one(task: dict[str, Any]) -> dict[str, Any]:
            state, _ = self.adapt_task(
                task["images"], task["labels"], task.get("mask"), task["seed"], training, steps
            )
            return state

        return map_tasks(one, inputs)

    def adapt_task(
        self,
        images: Any,
        labels: Any,
        mask: Any = None,
        seed: Any = None,
        training: bool = False,
        steps: Any = None,
    ) -> tuple[dict[str, Any], Any]:
        """`adapt` for one task, and the loss before each step.

        Args:
            images: tensor, `[S, H, W, C]`.
            labels: int tensor, `[S]`.
            mask: optional bool tensor, `[S]`.
            seed: int tensor, `[2]`, or None.
            training: bool.
            steps: int, int tensor or None.

        Returns:
            The state without meta-batch axis, and the losses, `[steps]`.
        """
        images = self.preprocessing(images)
        counts = ops.sum(self.one_hot_support(labels, mask), axis=0)
        start = self.inner_weights()
        weights, losses = gradients.inner_loop(
            self.support_loss(images, labels, mask, counts, seed, training),
            list(start.values()),
            self.update_rule(),
            self._steps(training) if steps is None else steps,
            first_order=self.first_order,
            clip=self.gradient_clip,
            noise=self.gradient_noise,
            seed=seed,
            differentiated=training and self.differentiates_adaptation,
        )
        state = {**dict(zip(start, weights, strict=True)), COUNTS: counts}
        if self._bn_policy == "support":
            # Seen once more after the last step.
            images = self.augmented(images, seed, tf.shape(losses)[0])
            state.update(self.moments_of(weights, images, mask, training))
        return state, losses

    def support_loss(
        self, images: Any, labels: Any, mask: Any, counts: Any, seed: Any, training: bool
    ) -> gradients.LossFunction:
        """The loss of the inner loop: mean cross-entropy of the support images.

        Args:
            images: float tensor, `[S, H, W, C]`, preprocessed.
            labels: int tensor, `[S]`.
            mask: bool tensor, `[S]`, or None.
            counts: float tensor, `[ways]`.
            seed: int tensor, `[2]`, or None; chooses mini-batches.
            training: bool.

        Returns:
            `(weights, step) -> scalar`.
        """
        # Moving averages normalise at test alone; a training step has the batch's moments.
        batch_moments = training or self._bn_policy != "running"
        size = self.mini_batch_size(training)

        def loss(weights: gradients.Weights, step: Any) -> Any:
            rows, row_labels, row_mask = mini_batch(images, labels, mask, seed, step, size)
            rows = self.augmented(rows, seed, step)
            with moments_scope(1, mask=row_mask) if batch_moments else contextlib.nullcontext():
                logits, _ = self.outputs_with(weights, rows, self.mode(training, batch_moments))
            return masked_cross_entropy(row_labels, logits, row_mask, counts)

        return loss

    def augmented(self, images: Any, seed: Any, step: Any) -> Any:
        """The support images as an inner step sees them.

        Args:
            images: float tensor, `[n, H, W, C]`, preprocessed.
            seed: int tensor, `[2]`, of the task.
            step: int or int tensor, from 0.

        Returns:
            Tensor of the images' shape.
        """
        if self.augmentation is None:
            return images
        return self.augmentation(images, step_seed(seed, step, "augmentation"))

    def mini_batch_size(self, training: bool) -> int | None:
        """Support images of an inner step; None for the whole support set."""
        if training or self.evaluation_batch is None:
            return self.inner_batch
        return self.evaluation_batch

    def infer(
        self, state: dict[str, Any], query_features: Any, training: bool = False
    ) -> dict[str, Any]:
        def one(task: dict[str, Any]) -> Any:
            images = self.preprocessing(task["images"])
            weights = [task[key] for key in self.state_keys()]
            logits = self.query_logits(weights, images, task, training)
            return mask_absent(ops.cast(logits, "float32")[None], task[COUNTS][None])[0]

        return {"logits": map_tasks(one, {**state, "images": query_features})}

    def _steps(self, training: bool) -> int:
        return self.steps if training else self.default_steps

    # === Training ===

    def loss_and_gradients(
        self, episode: dict[str, Any], query_labels: Any
    ) -> tuple[dict[str, Any], Any, list[Any]]:
        """Task by task, so that memory does not grow with the meta-batch."""
        tasks = episode["support_labels"].shape[0]
        if self.draws is not None and "seed" not in episode:
            numbers = self.draws.next(ordered=False)
            episode = {**episode, "seed": tf.cast(numbers, tf.int64)}
        if tasks == 1:
            return super().loss_and_gradients(episode, query_labels)
        return accumulate_tasks(
            super().loss_and_gradients,
            episode,
            query_labels,
            self.trainable_weights,
            self.ways,
            self._tasks_at_once(),
        )

    def _tasks_at_once(self) -> int:
        moved = any(map(self._keeps, self.network.non_trainable_variables))
        return 1 if moved else self.parallel_tasks

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "steps": self.steps,
            "evaluation_steps": self.evaluation_steps,
            "first_order": self.first_order,
            "inner_batch": self.inner_batch,
            "evaluation_batch": self.evaluation_batch,
            "augmentation": keras.saving.serialize_keras_object(self.augmentation),
            "gradient_clip": self.gradient_clip,
            "gradient_noise": self.gradient_noise,
            "require_exact": self.require_exact,
            "parallel_tasks": self.parallel_tasks,
        }
