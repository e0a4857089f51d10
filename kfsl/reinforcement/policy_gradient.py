"""An objective whose answers are distributions of actions."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kfsl.argument_checks import check_whole
from kfsl.episodes import QUERY_INPUTS, SUPPORT_INPUTS, SUPPORT_TARGETS
from kfsl.objectives.objective import Objective
from kfsl.reinforcement.policy_head import PolicyHead
from kfsl.runs.measure import RETURN


@keras.saving.register_keras_serializable(package="kfsl")
class PolicyGradient(Objective):
    """REINFORCE: minus the logarithm of an action's density, times its advantage.

    Inputs are observations; a target is an action, and behind it what it was better by than
    expected. An answer is a normal distribution: means, then logarithms of deviations.

    Args:
        actions: int. Numbers of an action.

    Raises:
        ValueError: for fewer than one, or what is no whole number.

    Reference:
        [Williams, 1992](https://doi.org/10.1007/BF00992696);
        [Finn et al., 2017](https://arxiv.org/abs/1703.03400), equation 4.

    Example:
    ```python
    import numpy as np
    from kfsl.reinforcement.policy_gradient import PolicyGradient

    objective = PolicyGradient(actions=1)
    targets, outputs = np.array([[[0.5, 2.0]]], "float32"), np.zeros((1, 1, 2), "float32")
    expected = 2.0 * (0.5 * 0.5**2 + 0.5 * np.log(2 * np.pi))
    assert abs(float(objective.loss(targets, outputs)) - expected) < 1e-6
    ```
    """

    support_inputs = SUPPORT_INPUTS
    support_targets = SUPPORT_TARGETS
    query_inputs = QUERY_INPUTS
    output = answer = "distributions"
    embedded = "observations"
    input_dtype = target_dtype = "float32"
    has_classes = False
    measure = RETURN

    def __init__(self, actions: int = 1) -> None:
        check_whole("PolicyGradient.actions", actions, 1)
        self.actions = actions

    @property
    def width(self) -> int:
        return 2 * self.actions

    @property
    def target_shape(self) -> tuple[int, ...]:
        return (self.actions + 1,)

    def head(self, dtype: Any, kernel_initializer: Any) -> PolicyHead:
        return PolicyHead(self.actions, dtype, kernel_initializer)

    def check_targets(self, targets: Any) -> None:
        dtype = keras.backend.standardize_dtype(targets.dtype)
        columns = self.actions + 1
        if len(targets.shape) != 3 or targets.shape[-1] != columns or "float" not in dtype:
            raise ValueError(
                f"Targets must be an action of {self.actions} numbers and its advantage: float32 "
                f"[B, n, {columns}]; received {dtype} of shape {tuple(targets.shape)}."
            )

    def losses(self, targets: Any, outputs: Any) -> Any:
        targets = ops.cast(targets, outputs.dtype)
        actions, advantages = targets[..., : self.actions], targets[..., self.actions]
        return -self.log_density(actions, outputs) * advantages

    def log_density(self, actions: Any, outputs: Any) -> Any:
        """The logarithm of each action's density.

        Args:
            actions: tensor, `[..., A]`.
            outputs: tensor, `[..., 2 * A]`.

        Returns:
            Tensor, `[...]`.
        """
        means, log_deviations = self.moments(outputs)
        gaps = (actions - means) * ops.exp(-log_deviations)
        constant = 0.5 * math.log(2.0 * math.pi)
        return -ops.sum(0.5 * ops.square(gaps) + log_deviations + constant, axis=-1)

    def divergence(self, outputs: Any, others: Any) -> Any:
        """KL(one || other) of the distributions of each row.

        Args:
            outputs: tensor, `[..., 2 * A]`.
            others: tensor, `[..., 2 * A]`.

        Returns:
            Tensor, `[...]`.
        """
        (means, logs), (other_means, other_logs) = self.moments(outputs), self.moments(others)
        squares = ops.exp(2.0 * (logs - other_logs))
        squares = squares + ops.square((means - other_means) * ops.exp(-other_logs))
        return ops.sum(other_logs - logs + 0.5 * (squares - 1.0), axis=-1)

    def curvature(self, outputs: Any, change: Any) -> Any:
        """The Hessian of `divergence`, where both distributions are the same, times a change.

        Args:
            outputs: tensor, `[..., 2 * A]`.
            change: tensor, `[..., 2 * A]`, of the outputs.

        Returns:
            Tensor, `[..., 2 * A]`.
        """
        of_means, of_logs = self.moments(change)
        _, logs = self.moments(outputs)
        return ops.concatenate([of_means * ops.exp(-2.0 * logs), 2.0 * of_logs], axis=-1)

    def moments(self, outputs: Any) -> tuple[Any, Any]:
        """Means and logarithms of deviations, `[..., A]` each."""
        return outputs[..., : self.actions], outputs[..., self.actions :]

    def metric(self, dtype: str | None = None) -> keras.metrics.Metric:
        # Returns come from acting: there is nothing that targets and outputs tell of them.
        return keras.metrics.Mean(name="policy_loss", dtype=dtype)

    def random_episode(
        self,
        input_shape: Sequence[int],
        *,
        ways: int | None = None,
        shots: int = 1,
        queries: int = 2,
        seed: int = 0,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        del ways
        rng = np.random.default_rng(seed)
        inputs = rng.normal(size=(1, shots + queries, *input_shape)).astype("float32")
        targets = rng.normal(size=(1, shots + queries, self.actions + 1)).astype("float32")
        episode = {
            SUPPORT_INPUTS: inputs[:, :shots],
            SUPPORT_TARGETS: targets[:, :shots],
            QUERY_INPUTS: inputs[:, shots:],
        }
        return episode, targets[:, shots:]

    def get_config(self) -> dict[str, Any]:
        return {"actions": self.actions}
