"""An adapted network, its batch normalisation as a policy says."""

import contextlib
from typing import Any

import keras

from kfsl.distribution import replicas
from kfsl.layers.moments_scope import moments_scope
from kfsl.layers.normalization import BatchNormalization
from kfsl.learners.base.moments_state import moments_in, moments_state
from kfsl.networks.adapted_network import AdaptedNetwork
from kfsl.networks.keras_private import flat_layers
from kfsl.networks.stock_normalization import stock_normalization


class PolicyNetwork:
    """Calls an adapted network for support sets and for queries.

    Args:
        adapted: `AdaptedNetwork`.
        policy: str. Which moments normalise: `"batch"`, `"support"` or `"running"`; see
            `GradientLearner`.

    Raises:
        ValueError: if the network could take a batch's moments at test only by drawing as in
            training.
    """

    def __init__(self, adapted: AdaptedNetwork, policy: str) -> None:
        self.adapted = adapted
        self.policy = policy
        if policy != "running":
            _refuse_draws_at_test(adapted.network)
        layers = flat_layers(adapted.network)
        stock, exact = keras.layers.BatchNormalization, BatchNormalization
        self._momenta = {
            id(average): layer.momentum
            for network in adapted.networks
            for layer in flat_layers(network)
            if policy == "running" and isinstance(layer, exact)
            for average in (layer.moving_mean, layer.moving_variance)
        }
        #: Whether the network has batch normalisation at all.
        self.normalizes = any(isinstance(layer, (stock, exact)) for layer in layers)

    def support_outputs(self, weights: list, inputs: Any, mask: Any, training: bool) -> Any:
        """Outputs of one task's support set, inside the inner loop.

        Args:
            weights: list of tensors.
            inputs: tensor, `[n, ...]`, as the network takes them.
            mask: bool tensor, `[n]`, or None.
            training: bool.

        Returns:
            Tensor, `[n, width]`.
        """
        # Moving averages normalise at test alone; a training step has the batch's moments.
        batch_moments = training or self.policy != "running"
        with moments_scope(1, mask=mask) if batch_moments else contextlib.nullcontext():
            outputs, _ = self.adapted(weights, inputs, self._mode(training, batch_moments))
        return outputs

    def query_outputs(self, weights: list, inputs: Any, state: dict, training: bool) -> Any:
        """Outputs of one task's queries.

        Args:
            weights: list of tensors, adapted.
            inputs: tensor, `[Q, ...]`, as the network takes them.
            state: dict of tensors, the task's, which may have moments.
            training: bool. Moving averages and seeds move in training.

        Returns:
            Tensor, `[Q, width]`.
        """
        if self.policy == "running" and not training:
            return self.adapted(weights, inputs, training=False)[0]
        given = None
        if self.policy == "support":
            given = moments_in({key: value[None] for key, value in state.items()})
        update, every = self.policy == "running", replicas.count()
        with moments_scope(1, given=given, update=update, every=every):
            outputs, others = self.adapted(weights, inputs, self._mode(training))
        if training:
            self._keep(others)
        return outputs

    def moments(self, weights: list, inputs: Any, mask: Any, training: bool) -> dict[str, Any]:
        """The moments of one task's support set, as a part of its state.

        Args:
            weights: list of tensors, adapted.
            inputs: tensor, `[S, ...]`, as the network takes them.
            mask: bool tensor, `[S]`, or None.
            training: bool.

        Returns:
            dict of tensors, `[C]`.
        """
        with moments_scope(1, mask=mask) as scope:
            self.adapted(weights, inputs, self._mode(training))
        return {key: value[0] for key, value in moments_state(scope.moments).items()}

    def momentum_of(self, average: keras.Variable) -> float | None:
        """Of a moving average that moves from task to task; None of all other weights."""
        return self._momenta.get(id(average))

    @property
    def moves(self) -> bool:
        """Whether training moves values that the next task reads."""
        return any(
            self._keeps(variable)
            for network in self.adapted.networks
            for variable in network.non_trainable_variables
        )

    def _mode(self, training: bool, batch_moments: bool = True) -> bool:
        """The mode of the network's layers: dropout and noise act in training alone.

        A `moments_scope` makes exact normalisation take the batch's moments in either mode;
        Keras's own needs to be told.
        """
        return training or (batch_moments and stock_normalization(self.adapted.network) is not None)

    def _keeps(self, variable: keras.Variable) -> bool:
        return self.policy == "running" or "int" in variable.dtype  # Seeds are integers.

    def _keep(self, others: list[Any]) -> None:
        # `stateless_call` gives moving averages and seeds back instead of moving them.
        variables = self.adapted.network.non_trainable_variables
        for variable, value in zip(variables, others, strict=True):
            if self._keeps(variable):
                variable.assign(value)


def _refuse_draws_at_test(network: keras.Model) -> None:
    layer = stock_normalization(network)
    draws = any(
        isinstance(value, keras.random.SeedGenerator)
        for each in flat_layers(network)
        for value in vars(each).values()
    )
    if layer is not None and draws:
        raise ValueError(
            f"The layer {layer.name!r} is Keras's BatchNormalization, which takes a task's moments "
            "only when it is called as in training, and the network has dropout or noise, which "
            "would act at test then. Give kfsl.networks.exact(model), or leave dropout and noise "
            "out."
        )
