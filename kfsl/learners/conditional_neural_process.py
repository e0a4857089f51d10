"""Conditional neural processes."""

from typing import Any

import keras
from keras import ops

from kfsl.learners.base.argument_checks import check_choice
from kfsl.learners.base.given_layers import given_network
from kfsl.learners.base.learner import Learner
from kfsl.objectives.regression import Regression

LOSSES = ("likelihood", "squared_error")
#: Deviations do not fall below this share, or a single point would decide the likelihood.
LEAST_DEVIATION = 0.1


@keras.saving.register_keras_serializable(package="kfsl")
class ConditionalNeuralProcess(Learner):
    """CNP: what the given points say is averaged, and a decoder answers for others.

    An encoder sees each given point, input and target together. The mean of what it makes of them
    is the whole state, so that neither their order nor their number matters. A decoder takes it
    with an input that is asked, and answers with a mean and, to be trained by likelihood, a
    deviation for each number. There are no gradient steps.

    Args:
        encoder: `keras.Model`. `[n, inputs + targets]` to vectors.
        decoder: `keras.Model`. `[n, inputs + vector]` to features, on which a dense layer stands.
        loss: str. `"likelihood"`: the negative logarithm of a normal density, mean over the
            numbers; or `"squared_error"`, for which there are no deviations.
        **kwargs: see `Learner`; `objective` is `Regression`.

    Raises:
        ValueError: for models that do not fit together, or another objective.

    Reference:
        [Garnelo et al., 2018](https://arxiv.org/abs/1807.01613), equations 1 to 4.

    Example:
    ```python
    from kfsl.backbones.mlp import MLP
    from kfsl.learners.conditional_neural_process import ConditionalNeuralProcess
    from kfsl.objectives import Regression
    from kfsl.objectives.regression_spec import RegressionSpec

    episode, _ = RegressionSpec(points=10, queries=4, width=3).random_episode()
    learner = ConditionalNeuralProcess(
        MLP((5,), hidden=(32, 32)), MLP((2 + 32,), hidden=(32, 32)), objective=Regression(3)
    )
    assert learner(episode)["predictions"].shape == (1, 4, 3)
    ```
    """

    regresses = True

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        loss: str = "likelihood",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("loss", loss, LOSSES)
        self.encoder = given_network("encoder", encoder)
        self.decoder = given_network("decoder", decoder)
        self.point_loss = loss
        self._check()
        width = self.objective.width
        columns = 2 * width if loss == "likelihood" else width
        self.head = keras.layers.Dense(columns, dtype=self.dtype_policy, name="head")
        self.head.build(self.decoder.output_shape)

    def _check(self) -> None:
        if not isinstance(self.objective, Regression):
            raise ValueError(
                "ConditionalNeuralProcess answers with numbers; give it "
                "objective=kfsl.objectives.Regression(width)."
            )
        (taken,), (vector,) = self.encoder.input_shape[1:], self.encoder.output_shape[1:]
        inputs = taken - self.objective.width
        expected, found = (inputs + vector,), tuple(self.decoder.input_shape[1:])
        if inputs < 1 or found != expected:
            raise ValueError(
                f"The encoder takes {taken} numbers, {self.objective.width} of them targets, and "
                f"makes {vector}; so the decoder has to take inputs of shape {expected}, and it "
                f"takes {found}. Give it MLP.image_shape = {expected}."
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.encoder.input_shape[1] - self.objective.width,)

    def remedy_for_inputs(self, shape: tuple[int, ...]) -> str:
        if len(shape) != 1:
            return "Draw tasks whose inputs are rows of numbers, [B, n, numbers]."
        inputs, vector = shape[0], self.encoder.output_shape[1]
        return (
            f"Make both networks for them: encoder/MLP.image_shape = "
            f"{(inputs + self.objective.width,)}, decoder/MLP.image_shape = {(inputs + vector,)}."
        )

    def embed(self, images: Any, training: bool = False, mask: Any = None) -> Any:
        del training, mask
        return self.preprocessing(images)

    def adapt(
        self,
        features: Any,
        labels: Any,
        mask: Any = None,
        seed: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        del seed
        self.objective.check_targets(labels)
        points = ops.concatenate([features, ops.cast(labels, features.dtype)], axis=-1)
        encoded = _rowwise(self.encoder, points, training)  # (1)
        encoded = ops.cast(encoded, keras.backend.result_type(encoded.dtype, "float32"))
        if mask is None:
            return {"representation": ops.mean(encoded, axis=1)}  # (2), by the mean
        weights = ops.cast(mask, encoded.dtype)[..., None]
        total = ops.maximum(ops.sum(weights, axis=1), 1.0)
        return {"representation": ops.sum(encoded * weights, axis=1) / total}

    def infer(
        self, state: dict[str, Any], query_features: Any, training: bool = False
    ) -> dict[str, Any]:
        representation = state["representation"]
        batch, queries = ops.shape(query_features)[:2]
        repeated = ops.broadcast_to(
            representation[:, None], (batch, queries, representation.shape[-1])
        )
        asked = ops.concatenate([ops.cast(query_features, representation.dtype), repeated], axis=-1)
        found = self.head(_rowwise(self.decoder, asked, training))  # (3)
        found = ops.cast(found, keras.backend.result_type(found.dtype, "float32"))
        if self.point_loss == "squared_error":
            return {"predictions": found}
        means, spreads = ops.split(found, 2, axis=-1)
        deviations = LEAST_DEVIATION + (1.0 - LEAST_DEVIATION) * ops.softplus(spreads)
        return {"predictions": means, "deviations": deviations}

    def loss_parts(
        self, episode: dict[str, Any], query_labels: Any, outputs: dict[str, Any]
    ) -> dict[str, Any]:
        if "deviations" not in outputs:
            return super().loss_parts(episode, query_labels, outputs)
        means, deviations = outputs["predictions"], outputs["deviations"]
        gaps = (ops.cast(query_labels, means.dtype) - means) / deviations
        # -log N(y; mean, deviation^2), without its constant.
        return {"task": ops.mean(0.5 * ops.square(gaps) + ops.log(deviations))}  # (4)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "loss": self.point_loss,
        }


def _rowwise(model: keras.Model, rows: Any, training: bool) -> Any:
    """A model of `[n, d]` on `[B, n, d]`."""
    batch, count, size = ops.shape(rows)
    outputs = model(ops.reshape(rows, (-1, size)), training=training)
    return ops.reshape(outputs, (batch, count, outputs.shape[-1]))
