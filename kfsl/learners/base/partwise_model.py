"""Models whose parts may have optimisers of their own."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf


class PartwiseModel(keras.Model):
    """A Keras model that updates parts of its weights with other optimisers than the rest.

    Subclasses name the parts in `weight_parts`. `gradient_norm` is the mean norm of all
    gradients together.

    Args:
        **kwargs: see `keras.Model`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.part_optimizers: dict[str, keras.optimizers.Optimizer] = {}
        self.gradient_norm = keras.metrics.Mean(name="gradient_norm")

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
        parts = self.weight_parts()
        unknown = sorted(set(part_optimizers or {}) - set(parts))
        if unknown:
            raise ValueError(
                f"{type(self).__name__} has no part {unknown[0]!r} for an optimiser of its own; "
                f"it has {', '.join(sorted(parts)) or 'none'}."
            )
        super().compile(optimizer, **kwargs)
        self.part_optimizers = dict(part_optimizers or {})

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

    def update_weights(self, gradients: list[Any]) -> None:
        """Applies gradients with the optimiser, or with that of each weight's part."""
        scale = self.optimizer.scale_loss(1.0)
        norm = tf.linalg.global_norm(gradients) / scale
        # In float16 the optimiser skips steps that overflow, and so does the mean.
        finite = tf.math.is_finite(norm)
        self.gradient_norm.update_state(tf.where(finite, norm, 0.0), tf.cast(finite, norm.dtype))
        weights = self.trainable_weights
        if not self.part_optimizers:
            self.optimizer.apply(gradients, weights)
            return
        of = {id(w): g for w, g in zip(weights, gradients, strict=True)}
        for optimizer, part in self._weights_of_optimizers():
            found = [of[id(weight)] for weight in part]
            if optimizer is not self.optimizer:
                # The loss was scaled for the other optimiser, which alone skips overflow.
                found = [tf.where(finite, gradient / scale, 0.0) for gradient in found]
            optimizer.apply(found, part)
