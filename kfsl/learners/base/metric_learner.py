"""Learners that compare features of a shared backbone."""

from typing import Any

import keras
from keras import ops

from kfsl.episodes import QUERY_IMAGES, SUPPORT_IMAGES, SUPPORT_MASK
from kfsl.layers.moments_scope import moments_scope
from kfsl.learners.base.argument_checks import check_choice
from kfsl.learners.base.given_layers import given_layer, given_network, preparation
from kfsl.learners.base.learner import BN_POLICIES, Learner
from kfsl.learners.base.moments_state import moments_in, moments_state
from kfsl.networks.stock_normalization import stock_normalization

MOMENTS = ("episode", "meta_batch")


class MetricLearner(Learner):
    """A learner whose only shared computation is a backbone.

    Subclasses write `fit_support` and `classify`, and need not know of batch normalisation.

    Args:
        backbone: `keras.Model`. Float images `[n, H, W, C]` to feature maps or vectors.
        bn_policy: str. Which moments normalise outside training: `"running"`, moving averages
            (inductive); `"support"`, those of the episode's support set, for the queries too
            (inductive); `"batch"`, those of whatever is embedded at once, so that queries
            influence each other (transductive).
        moments: str. In training under `"running"`: moments of each `"episode"`, or of the
            whole `"meta_batch"` (for episodes too small to have moments of their own). Keras's own
            BatchNormalization works with the latter alone, and counts padding as images.
        embed_together: bool. In training under `"running"`: support and query images share
            their moments.
        augmentation: `keras.layers.Layer` or None. Called with the raw pixels in training.
        **kwargs: see `Learner`.

    Raises:
        ValueError: if `bn_policy` or `moments` is not one of the above, or needs moments per
            episode that the backbone's normalisation cannot give.
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        bn_policy: str = "running",
        moments: str = "episode",
        embed_together: bool = True,
        augmentation: keras.layers.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice("bn_policy", bn_policy, BN_POLICIES)
        kwargs["preprocessing"] = preparation(backbone, kwargs.get("preprocessing"))
        super().__init__(bn_policy=bn_policy, **kwargs)
        check_choice("moments", moments, MOMENTS)
        self.backbone = given_network("backbone", backbone)
        self.moments = moments
        self.embed_together = embed_together
        self.augmentation = given_layer("augmentation", augmentation, "ShiftAndFlip")
        self._build_augmentation()
        self._refuse_stock_normalization()

    def _build_augmentation(self) -> None:
        """Now: what draws has variables, and those of a learner are there from the beginning."""
        if self.augmentation is None or self.augmentation.built:
            return
        shape = self.backbone.input_shape
        if None not in shape[1:]:
            self.augmentation.build(shape)

    def _refuse_stock_normalization(self) -> None:
        if self._bn_policy == "running" and self.moments == "meta_batch":
            return
        layer = stock_normalization(self.backbone)
        if layer is not None:
            raise ValueError(
                f"The backbone's layer {layer.name!r} is Keras's BatchNormalization, which knows "
                f"nothing of episodes, but bn_policy={self._bn_policy!r} with moments="
                f"{self.moments!r} needs moments per episode. Use "
                "kfsl.layers.normalization.BatchNormalization, or bn_policy='running' with "
                "moments='meta_batch'."
            )

    @property
    def logits_dtype(self) -> str:
        """Never less than single precision, and double where all is."""
        return keras.backend.result_type(self.compute_dtype, "float32")

    def features_alone(self, images: Any, training: bool) -> Any:
        """What the backbone makes of images one by one, `[n, ...]`; all that it is here for."""
        return self.backbone(images, training=training)

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        """`adapt`, given backbone features `[B, S, ...]`."""
        raise NotImplementedError

    def classify(
        self, state: dict[str, Any], query_features: Any, training: bool
    ) -> dict[str, Any]:
        """`infer`, given backbone features `[B, Q, ...]`."""
        raise NotImplementedError

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        return {"backbone": self.backbone.trainable_weights}

    def embed(self, images: Any, training: bool = False, mask: Any = None) -> Any:
        if self._bn_policy != "running":
            return images
        if not training:
            return self._backbone_features(images, training=False)
        together = self.moments == "meta_batch"
        groups = 1 if together else ops.shape(images)[0]
        with moments_scope(groups, mask=_folded(mask), update=True, across=together):
            return self._backbone_features(images, training=True)

    def embed_episode(self, episode: dict[str, Any], training: bool) -> tuple[Any, Any]:
        if not (self.embed_together and training and self._bn_policy == "running"):
            return super().embed_episode(episode, training)
        support, query = episode[SUPPORT_IMAGES], episode[QUERY_IMAGES]
        mask = episode.get(SUPPORT_MASK)
        if mask is not None:
            mask = ops.concatenate([mask, ops.ones(ops.shape(query)[:2], "bool")], axis=1)
        features = self.embed(ops.concatenate([support, query], axis=1), training, mask)
        size = ops.shape(support)[1]
        return features[:, :size], features[:, size:]

    def adapt(
        self,
        features: Any,
        labels: Any,
        mask: Any = None,
        seed: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        del seed
        if self._bn_policy == "running":
            return self.fit_support(features, labels, mask, training)
        with moments_scope(ops.shape(features)[0], mask=_folded(mask)) as scope:
            features = self._backbone_features(features, training)
        state = self.fit_support(features, labels, mask, training)
        if self._bn_policy == "support":
            state.update(moments_state(scope.moments))
        return state

    def infer(
        self, state: dict[str, Any], query_features: Any, training: bool = False
    ) -> dict[str, Any]:
        if self._bn_policy != "running":
            groups = ops.shape(query_features)[0]
            given = moments_in(state) if self._bn_policy == "support" else None
            with moments_scope(groups, given=given):
                query_features = self._backbone_features(query_features, training)
        return self.classify(state, query_features, training)

    def _backbone_features(self, images: Any, training: bool) -> Any:
        shape = ops.shape(images)
        flat = ops.reshape(images, (-1, *shape[2:]))
        if training and self.augmentation is not None:
            flat = self.augmentation(flat, training=True)
        features = self.features_alone(self.preprocessing(flat), training)
        return ops.reshape(features, (*shape[:2], *ops.shape(features)[1:]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "moments": self.moments,
            "embed_together": self.embed_together,
            "augmentation": keras.saving.serialize_keras_object(self.augmentation),
        }


def _folded(mask: Any) -> Any:
    return None if mask is None else ops.reshape(mask, (-1,))
