"""The contract that every few-shot learner keeps."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.learners.base.partwise_model import PartwiseModel
from kfsl.learners.base.query_logits import cross_entropy
from kfsl.metrics.episode_accuracy import EpisodeAccuracy

BN_POLICIES = ("running", "support", "batch")


class Learner(PartwiseModel):
    """A model that is given a support set and classifies queries.

    A method is three functions: `embed` (what depends on one image alone), `adapt` (what is
    learnt from the support set, a flat dict of tensors) and `infer` (query logits). Training,
    evaluation, export and prediction all go through them, so no state hides in attributes.

    A learner is built when it is constructed: subclasses build the layers they make.

    Args:
        ways: int or None. Classes per episode; None reads it from the support labels.
        preprocessing: `keras.layers.Layer` or None. Takes uint8 pixels to floats; None is
            `PixelNormalization()`, which divides by 255.
        weight_decay: float. Adds `weight_decay * w` to the gradient of each weight (L2, as in
            PyTorch's `Adam(weight_decay=...)`). Keras's own `weight_decay` is decoupled.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.prototypical_network import PrototypicalNetwork

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    learner = PrototypicalNetwork(Conv4(image_shape=(28, 28, 1), filters=8))
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    #: Names of the scalars that `loss_parts` returns; each has a metric `<name>_loss`.
    loss_names: tuple[str, ...] = ("task",)

    #: Whether relabelling the classes of an episode permutes the logits and nothing else.
    permutes_with_classes: bool = True

    def __init__(
        self,
        *,
        ways: int | None = None,
        preprocessing: keras.layers.Layer | None = None,
        weight_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if ways is not None and ways < 2:
            raise ValueError(f"`ways` must be at least 2 or None; received ways={ways}.")
        self.ways = ways
        self.weight_decay = weight_decay
        self.preprocessing = restored(preprocessing) or PixelNormalization()
        self._bn_policy = "none"
        self.episode_accuracy = EpisodeAccuracy()
        self.part_losses = {
            name: keras.metrics.Mean(name=f"{name}_loss") for name in self.loss_names
        }
        self.built = True

    # === The three functions of a method ===

    def embed(self, images: Any, training: bool = False, mask: Any = None) -> Any:
        """What depends on one image alone.

        Args:
            images: tensor, `[B, n, H, W, C]`, pixels in 0..255.
            training: bool.
            mask: optional bool tensor, `[B, n]`; `False` marks padding.

        Returns:
            Features, `[B, n, ...]`; the images themselves where nothing can be said of one
            image without its episode.
        """
        del training, mask
        return images

    def adapt(
        self,
        features: Any,
        labels: Any,
        mask: Any = None,
        seed: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        """Learns from a support set.

        Args:
            features: tensor, `[B, S, ...]`, from `embed`.
            labels: int tensor, `[B, S]`, in `0..ways - 1`.
            mask: optional bool tensor, `[B, S]`; `False` marks padding.
            seed: optional int tensor, `[2]`; for methods that draw at adaptation.
            training: bool.

        Returns:
            The state: a flat dict of tensors with leading axis `B`, keys identifiers.
        """
        raise NotImplementedError

    def infer(
        self, state: dict[str, Any], query_features: Any, training: bool = False
    ) -> dict[str, Any]:
        """Classifies queries with what was learnt.

        Args:
            state: dict of tensors, from `adapt`.
            query_features: tensor, `[B, Q, ...]`, from `embed`.
            training: bool.

        Returns:
            A dict with `logits`, float32 `[B, Q, ways]`, whose softmax is the prediction, and
            what a loss or a figure needs besides.
        """
        raise NotImplementedError

    #: Whether a learner made for some number of ways can be given fewer.
    takes_fewer_ways: bool = True

    #: Whether `adapt` takes `steps`, so that a served model can be asked for another number.
    adapts_in_steps: bool = False

    @property
    def default_steps(self) -> int | None:
        """Gradient steps of an adaptation outside training; None where there are none."""
        return None

    @property
    def transductive(self) -> bool:
        """Whether a prediction may depend on the other queries of its episode."""
        return self._bn_policy == "batch"

    @property
    def bn_policy(self) -> str:
        """Which moments normalise at test: `running`, `support`, `batch` or `none`."""
        return self._bn_policy

    # === What all methods share ===

    def call(self, episode: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Embeds, adapts and infers.

        Args:
            episode: dict of tensors; see `kfsl.episodes.EpisodeSpec`.
            training: bool.

        Returns:
            What `infer` returns.
        """
        support, query = self.embed_episode(episode, training)
        state = self.adapt(
            support,
            episode["support_labels"],
            mask=episode.get("support_mask"),
            seed=episode.get("seed"),
            training=training,
        )
        return self.infer(state, query, training=training)

    def embed_episode(self, episode: dict[str, Any], training: bool) -> tuple[Any, Any]:
        """Support and query features; apart, unless the method embeds them together."""
        support = self.embed(episode["support_images"], training, episode.get("support_mask"))
        return support, self.embed(episode["query_images"], training)

    def loss_parts(
        self, episode: dict[str, Any], query_labels: Any, outputs: dict[str, Any]
    ) -> dict[str, Any]:
        """The summands of the loss.

        Args:
            episode: dict of tensors.
            query_labels: int tensor, `[B, Q]`.
            outputs: dict, what `call` returned.

        Returns:
            dict of scalars, one for each name in `loss_names`.
        """
        del episode
        return {"task": cross_entropy(query_labels, outputs["logits"])}

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
        if self.weight_decay:
            squares = [ops.sum(ops.square(weight)) for weight in self.trainable_weights]
            total = total + 0.5 * self.weight_decay * sum(squares)
        return total

    # === Training ===

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        del x, sample_weight
        self.episode_accuracy.update_state(y, y_pred["logits"])
        return self.get_metrics_result()

    def train_step(self, data: tuple) -> dict[str, Any]:
        episode, query_labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        outputs, loss, gradients = self.loss_and_gradients(episode, query_labels)
        self._loss_tracker.update_state(loss)
        self.update_weights(gradients)
        return self.compute_metrics(episode, query_labels, outputs)

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
            scaled_loss = self.optimizer.scale_loss(loss) / _replicas(loss.dtype)
        return outputs, loss, tape.gradient(scaled_loss, self.trainable_weights)

    def test_step(self, data: tuple) -> dict[str, Any]:
        episode, query_labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self(episode, training=False)
        self._loss_tracker.update_state(self.compute_loss(episode, query_labels, outputs))
        metrics = self.compute_metrics(episode, query_labels, outputs)
        # Parts of the loss that exist only in training would show as zeros here.
        return {name: metrics[name] for name in ("loss", "accuracy", "accuracy_interval")}

    def episode_ways(self, labels: Any) -> Any:
        """Classes per episode: the argument, or one more than the largest label."""
        return ops.max(labels) + 1 if self.ways is None else self.ways

    def one_hot_support(self, labels: Any, mask: Any = None) -> Any:
        """Support labels as float32 one-hot rows, `[B, S, ways]`; padding rows are zero."""
        classes = ops.arange(self.episode_ways(labels), dtype="int32")
        one_hot = ops.cast(ops.equal(ops.cast(labels, "int32")[..., None], classes), "float32")
        return one_hot if mask is None else one_hot * ops.cast(mask, "float32")[..., None]

    # === Serialisation ===

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ways": self.ways,
            "preprocessing": keras.saving.serialize_keras_object(self.preprocessing),
            "weight_decay": self.weight_decay,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    def get_build_config(self) -> dict[str, Any]:
        return {}

    def build_from_config(self, config: dict[str, Any]) -> None:
        del config


def restored(layer: Any) -> Any:
    """A layer, from itself or from its serialised form."""
    return keras.saving.deserialize_keras_object(layer) if isinstance(layer, dict) else layer


def _replicas(dtype: Any) -> Any:
    return tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, dtype)
