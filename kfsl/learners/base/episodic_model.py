"""Models that are trained on episodes, part by part where an optimiser is a part's own."""

import math
import types
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kfsl.distribution import replicas
from kfsl.distribution.strategy import spans_workers
from kfsl.learners.base.loss_scale import for_optimizer, scaled_alike
from kfsl.networks.keras_private import measure_loss_in, take_whole_gradients, track_loss
from kfsl.objectives.objective import Objective

#: The part that every weight belongs to.
WHOLE = ""


class EpisodicModel(keras.Model):
    """A Keras model that an objective judges, episode by episode.

    Under a strategy of `tf.distribute` each replica has its share of a meta-batch's tasks; what
    is learnt and what is measured are those of the whole meta-batch.

    It may update parts of its weights with other optimisers than the rest: subclasses name the
    parts in `weight_parts`. `gradient_norm` is the mean norm of all gradients together.

    Args:
        objective: `Objective`.
        weight_decay: float or dict. Adds `weight_decay * w` to the gradient of each weight; of a
            dict from names of `weight_parts` to numbers, to those of these parts alone.
        **kwargs: see `keras.Model`.
    """

    #: Names of the scalars that `loss_parts` returns; each has a metric `<name>_loss`.
    loss_names: tuple[str, ...] = ("task",)

    def __init__(
        self,
        *,
        objective: Objective,
        weight_decay: float | Mapping[str, float] = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.part_optimizers: dict[str, keras.optimizers.Optimizer] = {}
        # In double precision what is measured is, too.
        self._measured = keras.backend.result_type(self.variable_dtype, "float32")
        self.gradient_norm = keras.metrics.Mean(name="gradient_norm", dtype=self._measured)
        self.objective = objective
        self._weight_decay = _checked_decay(weight_decay)
        self.episode_metric = objective.metric(self._measured)
        self.part_losses = {
            name: keras.metrics.Mean(name=f"{name}_loss", dtype=self._measured)
            for name in self.loss_names
        }

    # === The loss ===

    def loss_parts(
        self, episode: dict[str, Any], query_labels: Any, outputs: dict[str, Any]
    ) -> dict[str, Any]:
        """The summands of the loss.

        Args:
            episode: dict of tensors.
            query_labels: tensor, the targets, `[B, Q]` for classification.
            outputs: dict, what `call` returned.

        Returns:
            dict of scalars, one for each name in `loss_names`.
        """
        del episode
        return {"task": self.objective.loss(query_labels, outputs[self.objective.output])}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The whole loss: `loss_parts`, layers' own losses and L2; updates the part metrics."""
        del sample_weight, training
        parts = self.loss_parts(x, y, y_pred)
        for name, value in parts.items():
            self.part_losses[name].update_state(value)
        total = sum(parts.values())
        total = total + sum(ops.cast(loss, total.dtype) for loss in self.losses)
        for decay, weights in self._decayed_weights():
            total = total + 0.5 * decay * sum(ops.sum(ops.square(weight)) for weight in weights)
        return total

    @property
    def weight_decay(self) -> float | dict[str, float]:
        """One number for all weights, or one for each part that decays."""
        whole = self._weight_decay.get(WHOLE)
        return dict(self._weight_decay) if whole is None else whole

    def _decayed_weights(self) -> list[tuple[float, list[keras.Variable]]]:
        if WHOLE in self._weight_decay:
            parts = {WHOLE: self.trainable_weights}
        else:
            parts = self.weight_parts()
            self._check_parts(self._weight_decay, "weight_decay")
        return [(decay, parts[name]) for name, decay in self._weight_decay.items() if decay]

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        del x, sample_weight
        self.episode_metric.update_state(y, y_pred[self.objective.output])
        return self.get_metrics_result()

    def concerns(self, logs: Mapping[str, float]) -> list[str]:
        """What whoever trains should be told of an epoch.

        Args:
            logs: mapping from names to the epoch's numbers.

        Returns:
            list of str, each a line; empty where all is well.
        """
        del logs
        return []

    # === Training ===

    def train_step(self, data: tuple) -> dict[str, Any]:
        episode, query_labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        before = self._averages()
        outputs, loss, gradients = self.loss_and_gradients(episode, query_labels)
        track_loss(self, loss)
        self.update_weights(replicas.totals(gradients))
        self._share_averages(before)
        return shown(self.compute_metrics(episode, query_labels, outputs))

    def loss_and_gradients(
        self, episode: dict[str, Any], query_labels: Any
    ) -> tuple[dict[str, Any], Any, list[Any]]:
        """What `call` returns, the loss, and its gradient for each trainable weight.

        In float16 the gradients are those of the optimiser's scaled loss, and the replicas of a
        distribution strategy, whose gradients are summed, have their share of the mean.
        """
        with tf.GradientTape() as tape:
            outputs = self(episode, training=True)
            loss = self.compute_loss(episode, query_labels, outputs)
            scaled_loss = self.scale_loss(loss) / replicas.count()
        return outputs, loss, tape.gradient(scaled_loss, self.trainable_weights)

    def test_step(self, data: tuple) -> dict[str, Any]:
        episode, query_labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self(episode, training=False)
        track_loss(self, self.compute_loss(episode, query_labels, outputs))
        metrics = self.compute_metrics(episode, query_labels, outputs)
        # Parts of the loss that exist only in training would show as zeros here.
        return shown({name: metrics[name] for name in ("loss", *self.objective.reported)})

    def _averages(self) -> list[tuple[keras.Variable, Any]]:
        """The moving averages, and what they are now; none where no other replica moves them."""
        if replicas.count() == 1:
            return []
        averages = [weight for weight in self.non_trainable_weights if "float" in weight.dtype]
        return [(average, tf.identity(average.value)) for average in averages]

    def _share_averages(self, before: list[tuple[keras.Variable, Any]]) -> None:
        """Gives all replicas the same moving averages: those of the whole meta-batch."""
        # How far each moved is added up: what did not move stays the same to the bit.
        moves = [
            tf.convert_to_tensor(self.replica_share(average), average.dtype) * (average.value - old)
            for average, old in before
        ]
        for (average, old), move in zip(before, replicas.totals(moves), strict=True):
            average.assign(old + move)

    def replica_share(self, average: keras.Variable) -> Any:
        """What a replica's moving average counts in that of all; the shares add up to 1.

        Args:
            average: `keras.Variable`, a weight that is not trained.

        Returns:
            float or scalar tensor.
        """
        del average
        return 1.0 / replicas.count()

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: under a strategy Keras would build once more what is built."""

    # === Optimisers ===

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        """Named groups of trainable weights that may have an optimiser of their own."""
        return {}

    def compile(
        self,
        optimizer: Any = "adam",
        *,
        part_optimizers: Mapping[str, keras.optimizers.Optimizer] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keras's `compile`, with optimisers of their own for parts of the weights.

        Args:
            optimizer: Keras optimiser, for all weights without one of their own.
            part_optimizers: dict or None. Names of `weight_parts` to Keras optimisers.
            **kwargs: see `keras.Model.compile`.

        Raises:
            ValueError: if there is no such part.
        """
        self._check_parts(part_optimizers or {}, "part_optimizers")
        self._decayed_weights()  # A part that does not exist shows before anything is trained.
        super().compile(optimizer, **kwargs)
        measure_loss_in(self, self._measured)
        of_parts = part_optimizers or {}
        self.part_optimizers = {
            name: scaled_alike(optimizer, self.optimizer) for name, optimizer in of_parts.items()
        }
        for optimizer in self.optimizers:
            take_whole_gradients(optimizer)

    def _check_parts(self, named: Mapping[str, Any], argument: str) -> None:
        parts = self.weight_parts()
        unknown = sorted(set(named) - set(parts))
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no part {unknown[0]!r}, which {argument} names; it "
                f"has {', '.join(sorted(parts)) or 'none'}."
            )

    def get_compile_config(self) -> None:
        """Nothing: a loaded learner is compiled anew, with optimisers of the caller's choice."""

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The optimiser, then those of the parts."""
        return [optimizer for optimizer, _ in self._weights_of_optimizers()]

    def build_optimizers(self) -> None:
        """Makes the optimisers' variables for the weights that each of them updates."""
        for optimizer, weights in self._weights_of_optimizers():
            optimizer.build(weights)

    def make_train_function(self, force: bool = False) -> Any:
        # A step that makes the optimisers' variables is traced twice.
        if not all(optimizer.built for optimizer in self.optimizers):
            with self.distribute_strategy.scope():
                self.build_optimizers()
        return super().make_train_function(force)

    def _weights_of_optimizers(self) -> list[tuple[Any, list[keras.Variable]]]:
        parts = self.weight_parts()
        own = {id(w) for name in self.part_optimizers for w in parts[name]}
        rest = [weight for weight in self.trainable_weights if id(weight) not in own]
        of_parts = [(self.part_optimizers[name], parts[name]) for name in self.part_optimizers]
        return [(self.optimizer, rest), *of_parts]

    def scale_loss(self, loss: Any) -> Any:
        """What gradients are taken of: in float16 more than the loss, or they would vanish.

        Args:
            loss: scalar tensor, or float.

        Returns:
            Scalar tensor, or float.
        """
        used = (optimizer for optimizer, weights in self._weights_of_optimizers() if weights)
        return next(used, self.optimizer).scale_loss(loss)

    def update_weights(self, gradients: list[Any]) -> None:
        """Applies gradients with the optimiser, or with that of each weight's part.

        Args:
            gradients: list of tensors, of the scaled loss, for each trainable weight; None where
                a weight has no part in it.
        """
        scale = self.scale_loss(1.0)
        norm = tf.linalg.global_norm(gradients) / scale
        # In float16 the optimisers skip steps that overflow, and so does the mean.
        finite = tf.math.is_finite(norm)
        self.gradient_norm.update_state(tf.where(finite, norm, 0.0), tf.cast(finite, norm.dtype))
        of = {id(w): g for w, g in zip(self.trainable_weights, gradients, strict=True)}
        for optimizer, weights in self._weights_of_optimizers():
            found = [of[id(weight)] for weight in weights]
            if self.part_optimizers:
                found = for_optimizer(optimizer, found, scale, finite)
            optimizer.apply(found, weights)


def _checked_decay(weight_decay: float | Mapping[str, float]) -> types.MappingProxyType:
    by_part = weight_decay if isinstance(weight_decay, Mapping) else {WHOLE: weight_decay}
    for name, value in by_part.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0.0 <= value < math.inf):
            raise ValueError(
                "`weight_decay` must be a number of at least 0, or a dict from parts to such "
                f"numbers; received {value!r}" + (f" for {name!r}." if name else ".")
            )
    # A proxy: Keras would wrap a dict, and track it.
    return types.MappingProxyType({name: float(value) for name, value in by_part.items()})


def shown(logs: dict[str, Any]) -> dict[str, Any]:
    """Logs as Keras takes their mean over the workers: with an axis, if there are several."""
    if not spans_workers(tf.distribute.get_strategy()):
        return logs
    return {name: ops.expand_dims(value, 0) for name, value in logs.items()}
