"""Learners that adapt a network to each episode by gradient steps."""

import contextlib
import re
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kfsl import gradients
from kfsl.exact_layers import check_exact
from kfsl.layers.normalization import moments_scope
from kfsl.learners.argument_checks import check_at_least, check_choice
from kfsl.learners.learner import BN_POLICIES, Learner, restored
from kfsl.learners.moments_state import moments_in, moments_state
from kfsl.learners.network_head import POOLINGS, check_graph, chosen_positions, with_head
from kfsl.learners.query_logits import mask_absent
from kfsl.learners.support_set import masked_cross_entropy, mini_batch, step_seed
from kfsl.learners.task_loop import accumulate_tasks, map_tasks, task_seeds

#: In the state: support images of each class, so that absent classes get no probability.
COUNTS = "support_counts"


class GradientLearner(Learner):
    """A learner whose state is a network's weights after some gradient steps.

    The network is a backbone with a dense layer, `head`; both are ordinary Keras models.
    Subclasses choose the update rule, and may override `inner_weights` and `outputs_with` where
    something else than weights adapts.

    Args:
        backbone: `keras.Model` for images of one size. Float images to feature maps or vectors.
        ways: int. Columns of the head.
        pooling: str. From maps to vectors: `"flatten"`, or `"average"` over locations.
        steps: int. Inner steps in training.
        evaluation_steps: int or None. Inner steps outside training; `steps` when None.
        first_order: bool. Inner gradients count as constants (first-order MAML).
        adapted: sequence of str, or None. The weights whose path contains one of these strings
            adapt; None: all. `("head",)` is ANIL.
        inner_batch: int or None. Support images of each inner step, drawn without replacement
            in each step; the whole support set when None.
        evaluation_batch: int or None. `inner_batch` outside training; the same when None.
        augmentation: `keras.layers.Layer` or None. Called with the preprocessed support images
            of each inner step and a seed of that step, such as `RandomAffine`.
        gradient_clip: float or None. Clamps inner gradients elementwise.
        gradient_noise: float. Standard deviation of noise on each entry of the inner gradients.
        bn_policy: str. Which moments normalise. `"batch"`: those of whatever is classified at
            once, in training and at test (transductive); `"support"`: those of the support set,
            for the queries too; `"running"`: in training as `"batch"`, and moving averages of
            the queries' moments at test.
        require_exact: bool. Refuses backbones whose second derivatives TensorFlow gets wrong,
            unless `first_order`.
        **kwargs: see `Learner`.

    Raises:
        ValueError: for arguments out of range, strings in `adapted` that no path contains, or
            layers without exact second derivatives.
    """

    permutes_with_classes = False
    adapts_in_steps = True

    def __init__(
        self,
        backbone: keras.Model,
        *,
        ways: int = 5,
        pooling: str = "flatten",
        steps: int = 5,
        evaluation_steps: int | None = None,
        first_order: bool = False,
        adapted: Sequence[str] | None = None,
        inner_batch: int | None = None,
        evaluation_batch: int | None = None,
        augmentation: keras.layers.Layer | None = None,
        gradient_clip: float | None = None,
        gradient_noise: float = 0.0,
        bn_policy: str = "batch",
        require_exact: bool = True,
        **kwargs: Any,
    ) -> None:
        # Fast weights stay float32: the network's own layers cast them, not this model.
        super().__init__(ways=ways, autocast=False, **kwargs)
        check_choice("bn_policy", bn_policy, BN_POLICIES)
        check_choice("pooling", pooling, POOLINGS)
        check_at_least(0, steps=steps, evaluation_steps=evaluation_steps)
        check_at_least(1, inner_batch=inner_batch, evaluation_batch=evaluation_batch)
        self.backbone = restored(backbone)
        check_graph(self.backbone)
        self.pooling = pooling
        self.steps = steps
        self.evaluation_steps = evaluation_steps
        self.first_order = first_order
        self.adapted = None if adapted is None else tuple(adapted)
        self.inner_batch = inner_batch
        self.evaluation_batch = evaluation_batch
        self.augmentation = restored(augmentation)
        self.gradient_clip = gradient_clip
        self.gradient_noise = gradient_noise
        self._bn_policy = bn_policy
        self.require_exact = require_exact
        self.network = self._make_network()
        if require_exact and not first_order:
            check_exact(self.network)
        self.adapted_indices = self._chosen()
        self.draws = keras.random.SeedGenerator(0) if self.draws_at_adaptation else None

    def _make_network(self) -> keras.Model:
        # Not `input` and `output`, which a sequential model does not have.
        inputs, outputs = self.backbone.inputs[0], self.backbone.outputs[0]
        return keras.Model(
            inputs, with_head(outputs, self.ways, self.pooling, self.dtype_policy), name="network"
        )

    def _chosen(self) -> tuple[int, ...]:
        """Positions of the adapted tensors among the network's trainable variables."""
        return chosen_positions(self.network, self.adapted)

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

    def inner_weights(self) -> dict[str, Any]:
        """What adapts, before adaptation: tensors by identifiers, which become the state."""
        variables = self.network.trainable_variables
        chosen = [variables[i] for i in self.adapted_indices]
        return dict(zip(self.state_keys(), gradients.starting_weights(chosen), strict=True))

    def state_keys(self) -> list[str]:
        """Identifiers of what adapts, in order."""
        paths = [variable.path for variable in self.network.trainable_variables]
        return [f"w{i}_" + re.sub(r"\W", "_", paths[i]) for i in self.adapted_indices]

    def outputs_with(self, weights: Sequence[Any], images: Any, training: bool) -> tuple[Any, Any]:
        """Logits `[n, ways]` of images with adapted weights, and non-trainable values after."""
        replaced = dict(zip(self.adapted_indices, weights, strict=True))
        return gradients.call_with(self.network, replaced, images, training)

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
        )
        state = {**dict(zip(start, weights, strict=True)), COUNTS: counts}
        if self._bn_policy == "support":
            # Seen once more after the last step.
            images = self.augmented(images, seed, tf.shape(losses)[0])
            state.update(self._moments(weights, images, mask))
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
                logits, _ = self.outputs_with(weights, rows, training=batch_moments)
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
            logits = self._query_logits(weights, images, task, training)
            return mask_absent(ops.cast(logits, "float32")[None], task[COUNTS][None])[0]

        return {"logits": map_tasks(one, {**state, "images": query_features})}

    def _query_logits(self, weights: list, images: Any, state: dict, training: bool) -> Any:
        if self._bn_policy == "running" and not training:
            return self.outputs_with(weights, images, training=False)[0]
        given = None
        if self._bn_policy == "support":
            given = moments_in({key: value[None] for key, value in state.items()})
        with moments_scope(1, given=given, update=self._bn_policy == "running"):
            logits, others = self.outputs_with(weights, images, training=True)
        if self._bn_policy == "running":
            # `stateless_call` gives moving averages back instead of moving them.
            variables = self.network.non_trainable_variables
            for variable, value in zip(variables, others, strict=True):
                variable.assign(value)
        return logits

    def _moments(self, weights: list, images: Any, mask: Any) -> dict[str, Any]:
        with moments_scope(1, mask=mask) as scope:
            self.outputs_with(weights, images, training=True)
        return {key: value[0] for key, value in moments_state(scope.moments).items()}

    def _steps(self, training: bool) -> int:
        return self.steps if training else self.default_steps

    # === Training ===

    def loss_and_gradients(
        self, episode: dict[str, Any], query_labels: Any
    ) -> tuple[dict[str, Any], Any, list[Any]]:
        """One task after another, so that memory does not grow with the meta-batch."""
        tasks = episode["support_labels"].shape[0]
        if self.draws is not None and "seed" not in episode:
            numbers = self.draws.next(ordered=False)
            episode = {**episode, "seed": tf.cast(numbers, tf.int64)}
        if tasks == 1:
            return super().loss_and_gradients(episode, query_labels)
        return accumulate_tasks(
            super().loss_and_gradients, episode, query_labels, self.trainable_weights, self.ways
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "pooling": self.pooling,
            "steps": self.steps,
            "evaluation_steps": self.evaluation_steps,
            "first_order": self.first_order,
            "adapted": self.adapted,
            "inner_batch": self.inner_batch,
            "evaluation_batch": self.evaluation_batch,
            "augmentation": keras.saving.serialize_keras_object(self.augmentation),
            "gradient_clip": self.gradient_clip,
            "gradient_noise": self.gradient_noise,
            "bn_policy": self._bn_policy,
            "require_exact": self.require_exact,
        }
