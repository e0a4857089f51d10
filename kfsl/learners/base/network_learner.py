"""Learners around one network, some of whose weights each episode replaces."""

import re
from collections.abc import Sequence
from typing import Any

import keras

from kfsl.layers.normalization import moments_scope
from kfsl.learners.base.argument_checks import check_choice
from kfsl.learners.base.learner import BN_POLICIES, Learner, restored
from kfsl.learners.base.moments_state import moments_in, moments_state
from kfsl.networks.head import POOLINGS, check_graph, chosen_positions, with_head
from kfsl.networks.replaced_weights import call_with, starting_weights


class NetworkLearner(Learner):
    """A learner that classifies with a network whose weights are the episode's own.

    The network is a backbone with a dense layer, `head`; both are ordinary Keras models, called
    with some weights replaced by tensors.

    Args:
        backbone: `keras.Model` for images of one size. Float images to feature maps or vectors.
        ways: int. Columns of the head.
        pooling: str. From maps to vectors: `"flatten"`, or `"average"` over locations.
        adapted: sequence of str, or None. The weights whose path contains one of these strings
            adapt; None: all. `("head",)` is ANIL.
        bn_policy: str. Which moments normalise. `"batch"`: those of whatever is classified at
            once, in training and at test (transductive); `"support"`: those of the support set,
            for the queries too; `"running"`: in training as `"batch"`, and moving averages of
            the queries' moments at test.
        **kwargs: see `Learner`.

    Raises:
        ValueError: for arguments out of range, or strings in `adapted` that no path contains.
    """

    permutes_with_classes = False

    def __init__(
        self,
        backbone: keras.Model,
        *,
        ways: int = 5,
        pooling: str = "flatten",
        adapted: Sequence[str] | None = None,
        bn_policy: str = "batch",
        **kwargs: Any,
    ) -> None:
        # Fast weights stay float32: the network's own layers cast them, not this model.
        super().__init__(ways=ways, autocast=False, **kwargs)
        check_choice("bn_policy", bn_policy, BN_POLICIES)
        check_choice("pooling", pooling, POOLINGS)
        self.backbone = restored(backbone)
        check_graph(self.backbone)
        self.pooling = pooling
        self.adapted = None if adapted is None else tuple(adapted)
        self._bn_policy = bn_policy
        self.network = self._make_network()
        self.adapted_indices = self._chosen()
        self._has_stock_normalization = any(
            isinstance(layer, keras.layers.BatchNormalization)
            for layer in self.network._flatten_layers()
        )

    def _make_network(self) -> keras.Model:
        # Not `input` and `output`, which a sequential model does not have.
        inputs, outputs = self.backbone.inputs[0], self.backbone.outputs[0]
        return keras.Model(
            inputs, with_head(outputs, self.ways, self.pooling, self.dtype_policy), name="network"
        )

    def _chosen(self) -> tuple[int, ...]:
        """Positions of the adapted tensors among the network's trainable variables."""
        return chosen_positions(self.network, self.adapted)

    def inner_weights(self) -> dict[str, Any]:
        """What adapts, before adaptation: tensors by identifiers, which become the state."""
        variables = self.network.trainable_variables
        chosen = [variables[i] for i in self.adapted_indices]
        return dict(zip(self.state_keys(), starting_weights(chosen), strict=True))

    def state_keys(self) -> list[str]:
        """Identifiers of what adapts, in order."""
        paths = [variable.path for variable in self.network.trainable_variables]
        return [f"w{i}_" + re.sub(r"\W", "_", paths[i]) for i in self.adapted_indices]

    def outputs_with(self, weights: Sequence[Any], images: Any, training: bool) -> tuple[Any, Any]:
        """Logits `[n, ways]` of images with adapted weights, and non-trainable values after."""
        replaced = dict(zip(self.adapted_indices, weights, strict=True))
        return call_with(self.network, replaced, images, training)

    def query_logits(self, weights: list, images: Any, state: dict, training: bool) -> Any:
        """Logits of one task's queries, normalised as the BN policy says.

        Args:
            weights: list of tensors, adapted.
            images: float tensor, `[Q, H, W, C]`, preprocessed.
            state: dict of tensors, the task's, which may have moments.
            training: bool.

        Returns:
            Tensor, `[Q, ways]`.
        """
        if self._bn_policy == "running" and not training:
            return self.outputs_with(weights, images, training=False)[0]
        given = None
        if self._bn_policy == "support":
            given = moments_in({key: value[None] for key, value in state.items()})
        with moments_scope(1, given=given, update=self._bn_policy == "running"):
            logits, others = self.outputs_with(weights, images, self.mode(training))
        if training:
            self._keep(others)
        return logits

    def mode(self, training: bool, batch_moments: bool = True) -> bool:
        """The mode of the network's layers: dropout and noise act in training alone.

        A `moments_scope` makes exact normalisation take the batch's moments in either mode;
        Keras's own needs to be told.
        """
        return training or (batch_moments and self._has_stock_normalization)

    def _keeps(self, variable: keras.Variable) -> bool:
        """Whether training moves this non-trainable variable of the network."""
        return self._bn_policy == "running" or "int" in variable.dtype  # Seeds are integers.

    def _keep(self, others: list[Any]) -> None:
        # `stateless_call` gives moving averages and seeds back instead of moving them.
        for variable, value in zip(self.network.non_trainable_variables, others, strict=True):
            if self._keeps(variable):
                variable.assign(value)

    def moments_of(self, weights: list, images: Any, mask: Any, training: bool) -> dict[str, Any]:
        """The moments of one task's support images, as a part of its state.

        Args:
            weights: list of tensors, adapted.
            images: float tensor, `[S, H, W, C]`, preprocessed.
            mask: bool tensor, `[S]`, or None.
            training: bool.

        Returns:
            dict of tensors, `[C]`.
        """
        with moments_scope(1, mask=mask) as scope:
            self.outputs_with(weights, images, self.mode(training))
        return {key: value[0] for key, value in moments_state(scope.moments).items()}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "pooling": self.pooling,
            "adapted": self.adapted,
            "bn_policy": self._bn_policy,
        }
