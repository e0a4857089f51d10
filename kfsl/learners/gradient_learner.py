"""Learners that adapt a network to each episode by gradient steps."""

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kfsl import gradients
from kfsl.exact_layers import check_exact
from kfsl.layers.normalization import moments_scope
from kfsl.learners.learner import Learner, mask_absent, restored
from kfsl.learners.metric_learner import BN_POLICIES, check_choice

POOLINGS = ("flatten", "average")
#: In the state: support images of each class, so that absent classes get no probability.
COUNTS = "support_counts"
#: In the state of learners with the BN policy `support`: the support set's moments.
MEAN, VARIANCE = "mean_of_", "variance_of_"


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
        _check_at_least(0, steps=steps, evaluation_steps=evaluation_steps)
        _check_at_least(1, inner_batch=inner_batch)
        self.backbone = restored(backbone)
        _check_graph(self.backbone)
        self.pooling = pooling
        self.steps = steps
        self.evaluation_steps = evaluation_steps
        self.first_order = first_order
        self.adapted = None if adapted is None else tuple(adapted)
        self.inner_batch = inner_batch
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
        return keras.Model(inputs, self._classified(outputs), name="network")

    def _classified(self, features: Any) -> Any:
        """Pooling and head on the backbone's maps or vectors; all are Keras tensors."""
        dtype = self.dtype_policy
        shape = tuple(features.shape)
        if len(shape) > 2 and self.pooling == "average":
            features = keras.layers.GlobalAveragePooling2D(dtype=dtype, name="features_average")(
                features
            )
        features = keras.layers.Flatten(dtype=dtype, name="features_flat")(features)
        if features.shape[-1] is None:
            raise ValueError(
                "The head needs to know the number of features: give the backbone an "
                f"image_shape without None, or pooling='average'. Its maps are {shape}."
            )
        return keras.layers.Dense(self.ways, dtype=dtype, name="head")(features)

    def _chosen(self) -> tuple[int, ...]:
        """Positions of the adapted tensors among the network's trainable variables."""
        paths = [variable.path for variable in self.network.trainable_variables]
        if self.adapted is None:
            return tuple(range(len(paths)))
        for part in self.adapted:
            if not any(part in path for path in paths):
                raise ValueError(
                    f"No weight's path contains {part!r}, which `adapted` asks for; the paths "
                    f"are {', '.join(paths)}."
                )
        return tuple(i for i, p in enumerate(paths) if any(part in p for part in self.adapted))

    @property
    def bn_policy(self) -> str:
        return self._bn_policy

    @property
    def transductive(self) -> bool:
        return self._bn_policy == "batch"

    @property
    def default_steps(self) -> int:
        return self.steps if self.evaluation_steps is None else self.evaluation_steps

    @property
    def draws_at_adaptation(self) -> bool:
        """Whether adaptation draws random numbers."""
        return self.inner_batch is not None or self.gradient_noise > 0

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
        inputs = {"images": features, "labels": labels, "seed": self._seeds(features, seed)}
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

        def loss(weights: gradients.Weights, step: Any) -> Any:
            size = self.mini_batch_size(training)
            rows, row_labels, row_mask = self._mini_batch(images, labels, mask, seed, step, size)
            with moments_scope(1, mask=row_mask) if batch_moments else contextlib.nullcontext():
                logits, _ = self.outputs_with(weights, rows, training=batch_moments)
            return masked_cross_entropy(row_labels, logits, row_mask, counts)

        return loss

    def mini_batch_size(self, training: bool) -> int | None:
        """Support images of an inner step; None for the whole support set."""
        del training
        return self.inner_batch

    def infer(
        self, state: dict[str, Any], query_features: Any, training: bool = False
    ) -> dict[str, Any]:
        def one(task: dict[str, Any]) -> Any:
            images = self.preprocessing(task["images"])
            weights = [task[key] for key in self.inner_keys()]
            logits = self._query_logits(weights, images, task, training)
            return mask_absent(ops.cast(logits, "float32")[None], task[COUNTS][None])[0]

        return {"logits": map_tasks(one, {**state, "images": query_features})}

    def inner_keys(self) -> list[str]:
        """Keys of the state that hold what adapted."""
        return self.state_keys()

    def _query_logits(self, weights: list, images: Any, state: dict, training: bool) -> Any:
        if self._bn_policy == "running" and not training:
            return self.outputs_with(weights, images, training=False)[0]
        given = _moments_in(state) if self._bn_policy == "support" else None
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
        moments = {}
        for layer, (mean, variance) in scope.moments.items():
            moments[f"{MEAN}{layer}"] = mean[0]
            moments[f"{VARIANCE}{layer}"] = variance[0]
        return moments

    def _mini_batch(
        self, images: Any, labels: Any, mask: Any, seed: Any, step: Any, size: int | None
    ) -> tuple[Any, Any, Any]:
        if size is None:
            return images, labels, mask
        seed = tf.random.experimental.stateless_fold_in(seed, -1 - tf.cast(step, seed.dtype))
        scores = tf.random.stateless_uniform(tf.shape(labels), seed, alg="philox")
        if mask is not None:
            scores = tf.where(mask, scores, 2.0)  # Padding comes last.
        rows = tf.argsort(scores)[:size]
        return (
            tf.gather(images, rows),
            tf.gather(labels, rows),
            None if mask is None else tf.gather(mask, rows),
        )

    def _steps(self, training: bool) -> int:
        return self.steps if training else self.default_steps

    def _seeds(self, images: Any, seed: Any) -> Any:
        """A seed for each episode, int64 `[B, 2]`."""
        numbers = tf.range(tf.shape(images)[0], dtype=tf.int64)
        if seed is None:
            return tf.stack([tf.zeros_like(numbers), numbers], axis=1)
        seed = tf.cast(seed, tf.int64)
        return tf.stack([tf.zeros_like(numbers) + seed[0], seed[1] + numbers], axis=1)

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
        count = tf.shape(query_labels)[0]
        shared = {key: episode[key] for key in ("seed", "mode") if key in episode}
        apart = {key: value for key, value in episode.items() if key not in shared}

        def body(task: Any, loss: Any, sums: list[Any], logits: Any) -> tuple:
            one = {key: tf.gather(value, [task]) for key, value in apart.items()}
            if "seed" in shared:
                one["seed"] = shared["seed"] + tf.cast([0, task], tf.int64)
            outputs, task_loss, found = super(GradientLearner, self).loss_and_gradients(
                one, tf.gather(query_labels, [task])
            )
            sums = [
                total + tf.convert_to_tensor(gradient)
                for total, gradient in zip(sums, found, strict=True)
            ]
            return (
                task + 1,
                loss + tf.cast(task_loss, loss.dtype),
                sums,
                logits.write(task, outputs["logits"][0]),
            )

        zeros = [tf.zeros(weight.shape, weight.dtype) for weight in self.trainable_weights]
        shape = (query_labels.shape[1], self.ways)
        array = tf.TensorArray("float32", size=count, element_shape=shape)
        _, loss, sums, logits = tf.while_loop(
            lambda task, *_: task < count,
            body,
            (tf.constant(0), tf.constant(0.0), zeros, array),
            maximum_iterations=tasks,
            parallel_iterations=1,  # Tasks side by side would need memory side by side.
        )
        means = [total / tf.cast(count, total.dtype) for total in sums]
        return {"logits": logits.stack()}, loss / tf.cast(count, loss.dtype), means

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
            "gradient_clip": self.gradient_clip,
            "gradient_noise": self.gradient_noise,
            "bn_policy": self._bn_policy,
            "require_exact": self.require_exact,
        }


def map_tasks(function: Callable, inputs: dict[str, Any]) -> Any:
    """Applies a function of one task to each task of a meta-batch.

    Args:
        function: dict of tensors without meta-batch axis -> tensor or dict of tensors.
        inputs: dict of tensors, `[B, ...]`.

    Returns:
        What the function returns, with axis `B` in front.
    """
    if next(iter(inputs.values())).shape[0] == 1:
        outputs = function({key: value[0] for key, value in inputs.items()})
        return tf.nest.map_structure(lambda tensor: tensor[None], outputs)
    if tf.executing_eagerly():
        tasks = [
            function({key: value[i] for key, value in inputs.items()})
            for i in range(next(iter(inputs.values())).shape[0])
        ]
        return tf.nest.map_structure(lambda *tensors: tf.stack(tensors), *tasks)
    # Traced once: for what it returns, and as what is mapped.
    first = {key: value[0] for key, value in inputs.items()}
    traced = tf.function(function, autograph=False).get_concrete_function(first)
    signature = tf.nest.map_structure(
        lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), traced.structured_outputs
    )
    return tf.map_fn(traced, inputs, fn_output_signature=signature)


def masked_cross_entropy(labels: Any, logits: Any, mask: Any, counts: Any) -> Any:
    """Mean cross-entropy of unmasked rows, over the classes that the episode has.

    Args:
        labels: int tensor, `[n]`.
        logits: float tensor, `[n, ways]`.
        mask: bool tensor, `[n]`, or None.
        counts: float tensor, `[ways]`. Support images of each class.

    Returns:
        Scalar, at least float32.
    """
    logits = ops.cast(logits, keras.backend.result_type(logits.dtype, "float32"))
    logits = mask_absent(logits[None], counts[None])[0]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(ops.cast(labels, "int32"), logits)
    if mask is None:
        return tf.reduce_mean(losses)
    weights = tf.cast(mask, losses.dtype)
    return tf.reduce_sum(losses * weights) / tf.maximum(tf.reduce_sum(weights), 1.0)


def _check_graph(backbone: keras.Model) -> None:
    if not getattr(backbone, "inputs", None) or not getattr(backbone, "outputs", None):
        raise ValueError(
            f"The backbone {backbone.name!r} ({type(backbone).__name__}) has no graph that a head "
            "can be added to. Give a functional model, or a keras.Sequential that begins with "
            "keras.Input."
        )


def _moments_in(state: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [key.removeprefix(MEAN) for key in state if key.startswith(MEAN)]
    return {
        name: (state[f"{MEAN}{name}"][None], state[f"{VARIANCE}{name}"][None]) for name in names
    }


def _check_at_least(minimum: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < minimum:
            raise ValueError(f"`{name}` must be at least {minimum}; received {name}={value}.")
