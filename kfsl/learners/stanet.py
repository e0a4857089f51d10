"""STANet: dual attention with semantic embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kfsl.episodes import SUPPORT_MASK
from kfsl.layers.spatial_task_attention import SpatialTaskAttention
from kfsl.learners.base.argument_checks import check_numbers, check_whole_numbers
from kfsl.learners.base.episode_checks import check_support_labels, class_ids
from kfsl.learners.base.metric_learner import MetricLearner
from kfsl.metrics.attention_entropy import AttentionEntropy

#: Relative entropy above which attention is no choice.
UNIFORM = 0.9999


@keras.saving.register_keras_serializable(package="kfsl")
class STANet(MetricLearner):
    """Spatial-Task Attention Network: where to look in each image, and at which images.

    Each of `num_layers` layers attends first to locations of the query's and the supports'
    feature maps, then to the support images, and gathers their labels. A layer's refined
    representation of the query asks the questions of the next; the logits see all layers. In
    training a semantic branch also classifies every image among all classes of the split.

    `call` and `infer` return besides `logits`, for figures: `task_attention` `[B, M, Q, S]`,
    `spatial_attention_support` `[B, M, Q, S, h, w]` and `spatial_attention_query`
    `[B, M, Q, h, w]`, with `M` layers; and in training `semantic_support_logits` `[B, S, K]`
    and `semantic_query_logits` `[B, Q, K]`.

    A model of one number of ways cannot do another: the label enters its weights. Labels must be
    assigned to classes at random in every episode, or it learns the labels by heart. With maps of
    one location (28x28 images after four poolings) spatial attention has nothing to choose.

    Training shows how evenly each layer attends: `spatial_entropy_1` and `task_entropy_1` are the
    entropies of layer 1's attention over the query's locations and over the support images, as
    shares of the largest possible; 1 is uniform. A layer that stays at 1 has no use. Weight decay
    can bring that about under Adam, which turns it into full steps where the task's gradient is
    tiny: the kernels vanish, and with both of them their gradients. `weight_decay={"backbone":
    5e-4}` spares them.

    Args:
        backbone: `keras.Model`. Images to feature maps `[n, h, w, C]`.
        ways: int. Classes per episode; None where an `objective` says it.
        num_layers: int. Attention layers, each with its own weights. Defaults to `3`.
        spatial_key_dim: int. Size `d_ks`. Defaults to `64`; the paper gives none of the three.
        task_key_dim: int. Size `d_kt`. Defaults to `64`.
        value_dim: int. Size `d_vt`. Defaults to `64`.
        spatial_attention: str. `"learned"`, `"uniform"` or `"gaussian"`. Defaults to `"learned"`.
        gaussian_sigma: float. Width of the Gaussian, as a fraction of the shorter side of the
            map. Defaults to `0.25`.
        semantic_classes: int. Classes of the semantic branch, those of the training split (or
            its superclasses); 0 for no branch. Defaults to `0`.
        semantic_weight: float. Weight lambda of the semantic loss. Defaults to `0.5`.
        moments: str. See `MetricLearner`. Defaults to `"meta_batch"`: with one query per episode
            an episode is too small for moments of its own.
        **kwargs: see `MetricLearner` and `Learner`.

    Raises:
        ValueError: `ways` is not given, the backbone does not give maps, or an argument is out
            of its range; in a call, labels that are not those of `ways` classes, or class ids
            that are missing or beyond `semantic_classes`, as far as they can be read there.

    Reference:
        [Yan et al., 2019](https://doi.org/10.1609/aaai.v33i01.33019079), section 4.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.stanet import STANet

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    backbone = Conv4(image_shape=(28, 28, 1), filters=8, num_pools=2)
    outputs = STANet(backbone, ways=5)(episode)
    assert outputs["logits"].shape == (1, 15, 5)
    assert outputs["task_attention"].shape == (1, 3, 15, 5)
    ```
    """

    # A label position has its own column of W_v and row of W_o: relabelling is another input.
    permutes_with_classes = False
    takes_fewer_ways = False

    def __init__(
        self,
        backbone: keras.Model,
        ways: int | None = None,
        *,
        num_layers: int = 3,
        spatial_key_dim: int = 64,
        task_key_dim: int = 64,
        value_dim: int = 64,
        spatial_attention: str = "learned",
        gaussian_sigma: float = 0.25,
        semantic_classes: int = 0,
        semantic_weight: float = 0.5,
        moments: str = "meta_batch",
        **kwargs: Any,
    ) -> None:
        check_whole_numbers(
            1,
            num_layers=num_layers,
            spatial_key_dim=spatial_key_dim,
            task_key_dim=task_key_dim,
            value_dim=value_dim,
        )
        check_whole_numbers(0, semantic_classes=semantic_classes)
        check_numbers(0, semantic_weight=semantic_weight, gaussian_sigma=gaussian_sigma)
        if semantic_classes:
            # Before the base's constructor, which makes a metric for each.
            self.loss_names = ("task", "semantic")
        super().__init__(backbone, ways=ways, moments=moments, **kwargs)
        if self.ways is None:
            raise ValueError(
                "STANet needs a fixed number of `ways`: its weights are tied to it; received None."
            )
        self.num_layers = num_layers
        self.spatial_key_dim = spatial_key_dim
        self.task_key_dim = task_key_dim
        self.value_dim = value_dim
        self.spatial_attention = spatial_attention
        self.gaussian_sigma = gaussian_sigma
        self.semantic_classes = semantic_classes
        self.semantic_weight = semantic_weight
        self._make_head(_map_channels(self.backbone))
        self.entropies = {
            name: AttentionEntropy(name=name)
            for layer in range(num_layers)
            for name in (f"spatial_entropy_{layer + 1}", f"task_entropy_{layer + 1}")
        }

    def _make_head(self, channels: int) -> None:
        self.attention_layers = [
            SpatialTaskAttention(
                self.spatial_key_dim,
                self.task_key_dim,
                self.value_dim,
                self.spatial_attention,
                self.gaussian_sigma,
                dtype=self.dtype_policy,
                name=f"attention{layer + 1}",
            )
            for layer in range(self.num_layers)
        ]
        query_size = channels
        for layer in self.attention_layers:
            layer.build(
                (None, None, query_size),
                (None, None, None, None, channels),
                (None, None, self.ways),
            )
            query_size = 2 * channels  # (9)
        # Logits in full precision: a half-precision exponential overflows at 12.
        self.classifier = keras.layers.Dense(
            self.ways, use_bias=False, dtype=self.logits_dtype, name="classifier"
        )
        self.classifier.build((None, None, self.num_layers * self.value_dim))
        self.semantic_classifier = None
        if self.semantic_classes:
            self.semantic_classifier = keras.layers.Dense(
                self.semantic_classes, dtype=self.logits_dtype, name="semantic_classifier"
            )
            self.semantic_classifier.build((None, None, channels))

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        del training
        check_support_labels(labels, mask, self.ways)
        if mask is None:
            mask = ops.ones(ops.shape(labels), "bool")
        return {
            "support_maps": features,
            "support_one_hot": self.one_hot_support(labels, mask),
            SUPPORT_MASK: ops.cast(mask, "bool"),
        }

    def classify(
        self, state: dict[str, Any], query_features: Any, training: bool
    ) -> dict[str, Any]:
        support_maps = state["support_maps"]
        query = _average_pool(query_features)
        contexts, attentions = [], []
        for layer in self.attention_layers:
            attended = layer(
                query,
                support_maps,
                query_features,
                state["support_one_hot"],
                support_mask=state[SUPPORT_MASK],
            )
            contexts.append(attended.pop("context"))
            query = attended.pop("refined_query")
            attentions.append(attended)
        outputs = {
            name: ops.stack([attention[name] for attention in attentions], axis=1)
            for name in attentions[0]
        }
        outputs["logits"] = self.classifier(ops.concatenate(contexts, axis=-1))  # (8)
        if training and self.semantic_classes:
            outputs["semantic_support_logits"] = self.semantic_logits(support_maps)
            outputs["semantic_query_logits"] = self.semantic_logits(query_features)
        return outputs

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        """`backbone`, `attention` with the values, and `classifier` with the semantic one."""
        classifiers = [self.classifier, self.semantic_classifier]
        return {
            **super().weight_parts(),
            "attention": [w for layer in self.attention_layers for w in layer.trainable_weights],
            "classifier": [w for each in classifiers if each for w in each.trainable_weights],
        }

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        for layer in range(self.num_layers):
            self.entropies[f"spatial_entropy_{layer + 1}"].update_state(
                y_pred["spatial_attention_query"][:, layer]
            )
            self.entropies[f"task_entropy_{layer + 1}"].update_state(
                y_pred["task_attention"][:, layer], x.get(SUPPORT_MASK)
            )
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def concerns(self, logs: Mapping[str, float]) -> list[str]:
        _, height, width, _ = self.backbone.output_shape
        kinds = ["task"]
        if self.spatial_attention == "learned" and (height, width) != (1, 1):
            kinds.append("spatial")
        names = [f"{kind}_entropy_{i + 1}" for kind in kinds for i in range(self.num_layers)]
        return [
            f"{name} is {logs[name]:.5f}: that layer attends to everything alike"
            for name in names
            if logs.get(name, 0.0) > UNIFORM
        ]

    def semantic_logits(self, features: Any) -> Any:
        """Logits of the semantic branch, equation 11 with the mean that its text describes.

        Args:
            features: tensor, `[B, n, h, w, C]`, feature maps.

        Returns:
            Tensor, `[B, n, semantic_classes]`.

        Raises:
            ValueError: there is no semantic branch.
        """
        if not self.semantic_classes:
            raise ValueError("This STANet has no semantic branch: its semantic_classes is 0.")
        return self.semantic_classifier(_average_pool(features))

    def loss_parts(
        self, episode: dict[str, Any], query_labels: Any, outputs: dict[str, Any]
    ) -> dict[str, Any]:
        """The task loss and, in training, the semantic loss times `semantic_weight`.

        Outside training the outputs have no semantic logits: classes of other splits have no
        place in the branch.
        """
        parts = {"task": self.objective.loss(query_labels, outputs["logits"])}
        if "semantic_support_logits" in outputs:
            parts["semantic"] = self.semantic_weight * self._semantic_loss(episode, outputs)
        return parts

    def _semantic_loss(self, episode: dict[str, Any], outputs: dict[str, Any]) -> Any:
        ids = [class_ids(episode, part, self.semantic_classes) for part in ("support", "query")]
        logits = [outputs[f"semantic_{part}_logits"] for part in ("support", "query")]
        losses = keras.losses.sparse_categorical_crossentropy(
            ops.concatenate(ids, axis=1), ops.concatenate(logits, axis=1), from_logits=True
        )
        mask = episode.get(SUPPORT_MASK)
        if mask is None:
            return ops.mean(losses)
        weights = [ops.cast(mask, losses.dtype), ops.ones(ops.shape(ids[1]), losses.dtype)]
        weights = ops.concatenate(weights, axis=1)
        # (12): a mean over each task's own images, then over tasks.
        return ops.mean(ops.sum(losses * weights, axis=1) / ops.sum(weights, axis=1))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "spatial_key_dim": self.spatial_key_dim,
            "task_key_dim": self.task_key_dim,
            "value_dim": self.value_dim,
            "spatial_attention": self.spatial_attention,
            "gaussian_sigma": self.gaussian_sigma,
            "semantic_classes": self.semantic_classes,
            "semantic_weight": self.semantic_weight,
        }


def _average_pool(maps: Any) -> Any:
    """[B, n, h, w, C] -> [B, n, C], summed in float32 at least."""
    dtype = keras.backend.result_type(maps.dtype, "float32")
    return ops.cast(ops.mean(ops.cast(maps, dtype), axis=(2, 3)), maps.dtype)


def _map_channels(backbone: keras.Model) -> int:
    shape = backbone.output_shape
    if len(shape) != 4:
        raise ValueError(
            "STANet attends to locations of feature maps [n, h, w, C]; the backbone "
            f"{backbone.name!r} gives {shape}. Leave out its pooling or flattening."
        )
    return shape[-1]
