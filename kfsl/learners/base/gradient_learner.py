"""Learners that adapt a network to each episode by gradient steps."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kfsl import gradients
from kfsl.distribution import replicas
from kfsl.episodes import SEED
from kfsl.learners.base.argument_checks import check_choice, check_numbers, check_whole_numbers
from kfsl.learners.base.given_layers import given_layer, given_network, preparation, restored
from kfsl.learners.base.learner import BN_POLICIES
from kfsl.learners.base.policy_network import PolicyNetwork
from kfsl.learners.base.support_set import augmented, mini_batch
from kfsl.learners.base.task_loop import map_tasks, task_seeds
from kfsl.learners.base.taskwise_learner import TaskwiseLearner
from kfsl.networks.adapted_network import NetworkMaker, network_of_paths
from kfsl.networks.exact_layers import check_exact
from kfsl.networks.head import POOLINGS, Head
from kfsl.networks.stock_normalization import refuse_stock_normalization


class GradientLearner(TaskwiseLearner):
    """A learner whose state is a network's weights after some gradient steps.

    The network is a backbone with a dense layer, `head`; both are ordinary Keras models, called
    with some weights replaced by tensors. Subclasses choose the update rule, and give another
    `network` where something else than weights adapts, or begins elsewhere. `embed` gives the
    images themselves, unless a subclass has features that no episode adapts; then it overrides
    `inputs_of` too.

    Args:
        backbone: `keras.Model` for images of one size. Float images to feature maps or vectors.
        ways: int or None. Columns of the head; None where an `objective` says it.
        pooling: str. From maps to vectors: `"flatten"`, or `"average"` over locations.
        head_initializer: str or `keras.Initializer`. Of the head's kernel.
        adapted: sequence of str, or None. The weights whose path contains one of these strings
            adapt; None: all. `("head",)` is ANIL.
        bn_policy: str. Which moments normalise. `"batch"`: those of whatever is classified at
            once, in training and at test (transductive); `"support"`: those of the support set,
            for the queries too; `"running"`: in training as `"batch"`, and moving averages of
            the queries' moments at test.
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
        parallel_tasks: int. See `TaskwiseLearner`.
        network: function or None. `(backbone, Head) -> AdaptedNetwork`, for subclasses.
        **kwargs: see `Learner`.

    Raises:
        ValueError: for arguments out of range, strings in `adapted` that no path contains, or
            layers without exact second derivatives.
    """

    permutes_with_classes = False
    adapts_in_steps = True
    regresses = True
    #: Whether training differentiates through the inner loop's steps.
    differentiates_adaptation = True

    def __init__(
        self,
        backbone: keras.Model,
        *,
        ways: int | None = None,
        pooling: str = "flatten",
        head_initializer: Any = "glorot_uniform",
        adapted: Sequence[str] | None = None,
        bn_policy: str = "batch",
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
        network: NetworkMaker | None = None,
        **kwargs: Any,
    ) -> None:
        if ways is None and kwargs.get("objective") is None:
            ways = 5
        check_choice("bn_policy", bn_policy, BN_POLICIES)
        check_choice("pooling", pooling, POOLINGS)
        kwargs["preprocessing"] = preparation(backbone, kwargs.get("preprocessing"))
        # Fast weights stay float32: the network's own layers cast them, not this model.
        super().__init__(
            ways=ways, bn_policy=bn_policy, parallel_tasks=parallel_tasks, autocast=False, **kwargs
        )
        check_whole_numbers(0, steps=steps, evaluation_steps=evaluation_steps)
        check_whole_numbers(1, inner_batch=inner_batch, evaluation_batch=evaluation_batch)
        check_numbers(0, gradient_clip=gradient_clip, gradient_noise=gradient_noise)
        self.backbone = given_network("backbone", backbone)
        self.pooling = pooling
        self.head_initializer = restored(head_initializer)
        self.adapted = None if adapted is None else tuple(adapted)
        make = network or network_of_paths(self.adapted)
        head = self.objective.head(self.dtype_policy, self.head_initializer) or Head(
            self.objective.width, pooling, self.dtype_policy, self.head_initializer
        )
        self.adapted_network = make(self.backbone, head)
        self.network = self.adapted_network.network
        self.policy_network = PolicyNetwork(self.adapted_network, bn_policy)
        if bn_policy == "support":
            # Keras's own cannot be given the support set's moments.
            refuse_stock_normalization("backbone", self.network)
        self.steps = steps
        self.evaluation_steps = evaluation_steps
        self.first_order = first_order
        self.inner_batch = inner_batch
        self.evaluation_batch = evaluation_batch
        self.augmentation = given_layer("augmentation", augmentation, "ShiftAndFlip")
        self.gradient_clip = gradient_clip
        self.gradient_noise = gradient_noise
        self.require_exact = require_exact
        if require_exact and not first_order:
            check_exact(self.network)
        self.draws = keras.random.SeedGenerator(0) if self.draws_at_adaptation else None

    @property
    def bn_policy(self) -> str:
        """As in `Learner`; of a network that has no batch normalisation `none`."""
        return self._bn_policy if self.policy_network.normalizes else "none"

    @property
    def default_steps(self) -> int:
        return self.steps if self.evaluation_steps is None else self.evaluation_steps

    @property
    def draws_at_adaptation(self) -> bool:
        """Whether adaptation draws random numbers."""
        drawn = (self.inner_batch, self.evaluation_batch, self.augmentation)
        return any(each is not None for each in drawn) or self.gradient_noise > 0

    def update_rule(self) -> gradients.UpdateRule:
        """The rule of the inner loop; made anew for each adaptation, inside the outer tape."""
        raise NotImplementedError

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        return self.adapted_network.input_shape

    def inputs_of(self, features: Any) -> Any:
        """What the network takes, from what `embed` gives; both of one task or of many."""
        return self.preprocessing(features)

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
            The adapted tensors, `[B, ...]`, and what the objective has to know of the support
            set: `support_counts`, float32 `[B, ways]`.
        """
        self.objective.check_targets(labels)
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
        start: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], Any]:
        """`adapt` for one task, its arguments without meta-batch axis.

        From `start`, a state, it goes on; None: from where the learner begins.

        Returns:
            The state without meta-batch axis, and the losses, `[steps]`.
        """
        inputs = self.inputs_of(images)
        known = self.objective.support_state(labels, mask)
        task = {"inputs": inputs, "targets": labels, "mask": mask, "training": training}
        if start is None:
            start = self.adapted_network.start(task, seed)
        start = {key: start[key] for key in self.adapted_network.keys}
        count = len(start) - self.adapted_network.fixed
        free, fixed = list(start.values())[:count], list(start.values())[count:]
        loss = self.support_loss(inputs, labels, mask, known, seed, training)
        if steps is None:
            steps = self.steps if training else self.default_steps
        weights, losses = gradients.inner_loop(
            lambda weights, step: loss([*weights, *fixed], step),
            free,
            self.update_rule(),
            steps,
            first_order=self.first_order,
            clip=self.gradient_clip,
            noise=self.gradient_noise,
            seed=seed,
            differentiated=training and self.differentiates_adaptation,
        )
        weights = [*weights, *fixed]
        state = {**dict(zip(start, weights, strict=True)), **known}
        if self._bn_policy == "support":
            # Seen once more after the last step.
            inputs = augmented(self.augmentation, inputs, seed, tf.shape(losses)[0])
            state.update(self.policy_network.moments(weights, inputs, mask, training))
        return state, losses

    def support_loss(
        self,
        inputs: Any,
        labels: Any,
        mask: Any,
        known: dict[str, Any],
        seed: Any,
        training: bool,
    ) -> gradients.LossFunction:
        """The loss of the inner loop: the objective's mean over one task's support set.

        Args:
            inputs: float tensor, `[S, ...]`, as the network takes them.
            labels: tensor, the targets, `[S]` for classification.
            mask: bool tensor, `[S]`, or None.
            known: dict, the objective's `support_state`.
            seed: int tensor, `[2]`, or None; chooses mini-batches.
            training: bool.
        """
        size = self.inner_batch
        if not training and self.evaluation_batch is not None:
            size = self.evaluation_batch

        def loss(weights: gradients.Weights, step: Any) -> Any:
            rows, row_labels, row_mask = mini_batch(inputs, labels, mask, seed, step, size)
            rows = augmented(self.augmentation, rows, seed, step)
            outputs = self.policy_network.support_outputs(weights, rows, row_mask, training)
            return self.objective.loss(row_labels, outputs, row_mask, known)

        return loss

    def infer(
        self, state: dict[str, Any], query_features: Any, training: bool = False
    ) -> dict[str, Any]:
        def one(task: dict[str, Any]) -> Any:
            return self.infer_task(task, task["queries"], training)

        return {self.objective.output: map_tasks(one, {**state, "queries": query_features})}

    def infer_task(self, state: dict[str, Any], queries: Any, training: bool = False) -> Any:
        """`infer` for one task, its arguments without meta-batch axis: the outputs alone."""
        inputs = self.inputs_of(queries)
        weights = [state[key] for key in self.adapted_network.keys]
        outputs = self.policy_network.query_outputs(weights, inputs, state, training)
        # Never less than single precision, and double where all is.
        dtype = keras.backend.result_type(outputs.dtype, "float32")
        return self.objective.possible(ops.cast(outputs, dtype), state)

    def with_seed(self, episode: dict[str, Any]) -> dict[str, Any]:
        """The episode, with a seed of its own where adaptation draws and it has none."""
        if self.draws is None or SEED in episode:
            return episode
        seed = tf.cast(self.draws.next(ordered=False), tf.int64)
        return {**episode, SEED: seed + tf.stack([0, tf.cast(replicas.number(), tf.int64)])}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "pooling": self.pooling,
            "head_initializer": keras.saving.serialize_keras_object(self.head_initializer),
            "adapted": self.adapted,
            "steps": self.steps,
            "evaluation_steps": self.evaluation_steps,
            "first_order": self.first_order,
            "inner_batch": self.inner_batch,
            "evaluation_batch": self.evaluation_batch,
            "augmentation": keras.saving.serialize_keras_object(self.augmentation),
            "gradient_clip": self.gradient_clip,
            "gradient_noise": self.gradient_noise,
            "require_exact": self.require_exact,
        }
