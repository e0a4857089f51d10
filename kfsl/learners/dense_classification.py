"""Dense classification: a cosine classifier at every location."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kfsl.layers.cosine import cosine_similarity
from kfsl.layers.pooled_maps import pooled_maps
from kfsl.learners.base.argument_checks import check_choice, check_positive, check_whole_numbers
from kfsl.learners.base.metric_learner import MetricLearner
from kfsl.learners.base.vectors import class_means
from kfsl.objectives.classification import mask_absent

READINGS = ("average", "flatten", "dense")
SUPPORT_POOLINGS = ("average", "max", "flatten")
QUERY_POOLINGS = ("average", "max", "flatten", "dense")


@keras.saving.register_keras_serializable(package="kfsl")
class DenseClassification(MetricLearner):
    """Learns base classes with a cosine classifier; new ones are the means of their features.

    It is trained on plain batches of the base classes (`base_batch`). With `reading="dense"` each
    location of the feature map is classified on its own, and the loss is the mean over images and
    locations: what distinguishes a class must show everywhere. New classes are given by
    prototypes, means of pooled features that are not normalised before they are averaged; the
    classifier's weights play the part of the base classes' prototypes, so that both can be told
    apart together (`classify_jointly`).

    The `logits` of a dense reading are logarithms of probabilities: the mean over locations of
    their softmaxes.

    Args:
        backbone: `keras.Model`. Images to feature maps `[n, h, w, C]`. To flatten its maps, it
            must be built for one size of images.
        base_classes: int. Classes of the training split.
        reading: str. What of a map is classified in training: its `"average"`, the whole map
            (`"flatten"`), or every location (`"dense"`). Defaults to `"dense"`.
        scale: float. The learned factor of the cosines at the beginning. The paper has 10 on
            miniImageNet and 100 on FC100. Defaults to `10.0`.
        support_pooling: str or None. Of the support images of new classes: `"average"`, `"max"`
            or `"flatten"`. None is `"flatten"` where the reading is, else `"average"`, with which
            the paper's best results are made. Defaults to None.
        query_pooling: str or None. Of the queries, of new and base classes: `"average"`, `"max"`,
            `"flatten"` or `"dense"`. None is the reading. Defaults to None.
        ways: int or None. See `Learner`.
        moments: str. See `MetricLearner`. Defaults to `"meta_batch"`: plain batches have no
            episodes.
        **kwargs: see `MetricLearner` and `Learner`.

    Raises:
        ValueError: if an argument is out of range, the backbone gives no maps, or one of support
            and queries is flattened and the other is not.

    Reference:
        [Lifchitz et al., 2019](https://arxiv.org/abs/1903.05050), section 3. The paper sums the
        loss over locations; the mean is the same for all rates but one factor.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.dense_classification import DenseClassification

    backbone = Conv4(image_shape=(28, 28, 1), filters=8, num_pools=2)
    learner = DenseClassification(backbone, base_classes=64)
    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    assert learner(episode)["logits"].shape == (1, 15, 5)
    batch = {"query_images": episode["query_images"]}
    assert learner(batch)["logits"].shape == (1, 15, 64)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        base_classes: int,
        *,
        reading: str = "dense",
        scale: float = 10.0,
        support_pooling: str | None = None,
        query_pooling: str | None = None,
        ways: int | None = None,
        moments: str = "meta_batch",
        **kwargs: Any,
    ) -> None:
        check_whole_numbers(2, base_classes=base_classes)
        check_choice("reading", reading, READINGS)
        check_positive(scale=scale)
        super().__init__(backbone, ways=ways, moments=moments, **kwargs)
        if self.bn_policy != "running":
            raise ValueError(
                "DenseClassification needs bn_policy='running', since batches of base classes have "
                f"no support set; received {self.bn_policy!r}."
            )
        self.base_classes = base_classes
        self.reading = reading
        self.initial_scale = float(scale)
        flatten = reading == "flatten"
        self.support_pooling = support_pooling or ("flatten" if flatten else "average")
        self.query_pooling = query_pooling or reading
        self._check_poolings()
        size = _vector_size(self.backbone, reading)
        self.class_weights = self.add_weight(
            (base_classes, size), "glorot_uniform", name="class_weights", autocast=False
        )
        self.scale = self.add_weight(
            (), keras.initializers.Constant(scale), name="scale", autocast=False
        )

    def _check_poolings(self) -> None:
        check_choice("support_pooling", self.support_pooling, SUPPORT_POOLINGS)
        check_choice("query_pooling", self.query_pooling, QUERY_POOLINGS)
        if (self.support_pooling == "flatten") != (self.query_pooling == "flatten"):
            raise ValueError(
                "A flattened map can only be compared with flattened maps; received "
                f"support_pooling={self.support_pooling!r}, query_pooling={self.query_pooling!r}. "
                "Flatten both, or neither."
            )

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        """`backbone`, and `classifier` with the scale."""
        return {**super().weight_parts(), "classifier": [self.class_weights, self.scale]}

    # === Base classes ===

    def classify_base(self, query_features: Any, training: bool = False) -> dict[str, Any]:
        """Base classes by the classifier's weights.

        In training the reading is that of the loss, and `location_logits` `[B, Q, L, classes]` are
        what it is made of; at other times the queries are pooled as `query_pooling` says, as far
        as the weights allow.
        """
        pooling = self.reading
        if not training and "flatten" not in (self.reading, self.query_pooling):
            pooling = self.query_pooling
        at_locations = self._base_logits(query_features, pooling)
        outputs = {"logits": mean_prediction(at_locations)}
        if training:
            outputs["location_logits"] = at_locations
        return outputs

    def base_maps(self, query_features: Any) -> Any:
        """The maps that the classifier of base classes reads, of what `embed` gives."""
        return query_features

    def _base_logits(self, query_features: Any, pooling: str) -> Any:
        weights = ops.convert_to_tensor(self.class_weights)[None]
        return self._location_logits(self.base_maps(query_features), weights, pooling)

    def loss_parts(
        self, episode: dict[str, Any], query_labels: Any, outputs: dict[str, Any]
    ) -> dict[str, Any]:
        """(8), or (10) where every location counts; the mean over images and locations."""
        logits = outputs.get("location_logits")
        if logits is None:
            return super().loss_parts(episode, query_labels, outputs)
        labels = ops.cast(query_labels, "int32")[..., None]
        labels = ops.broadcast_to(labels, ops.shape(logits)[:-1])
        return {"task": self.objective.loss(labels, logits)}

    # === New classes ===

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        del training
        vectors = pooled_maps(features, self.support_pooling)[:, :, 0]
        # (1): not normalised before the mean.
        means, counts = class_means(vectors, self.one_hot_support(labels, mask))
        return {"prototypes": means, "support_counts": counts}

    def classify(
        self, state: dict[str, Any], query_features: Any, training: bool
    ) -> dict[str, Any]:
        del training
        at_locations = self._new_logits(state, query_features, self.query_pooling)
        return {"logits": mean_prediction(at_locations)}

    def _new_logits(self, state: dict[str, Any], query_features: Any, pooling: str) -> Any:
        return self._location_logits(
            query_features, state["prototypes"], pooling, state["support_counts"]
        )

    def activation_maps(self, query_features: Any, state: dict[str, Any] | None = None) -> Any:
        """Class activation maps: how sure each location is of each class, by itself.

        Args:
            query_features: tensor, `[B, Q, ...]`, from `embed`.
            state: dict or None. What `adapt` returned; None: base classes, by the classifier.

        Returns:
            Tensor, `[B, Q, h, w, N]`, in 0..1; the sum over the classes is 1.

        Raises:
            ValueError: if classes are known by flattened maps, with which no location can be
                compared.

        Reference:
            (9), and figure 3.
        """
        known_by = self.reading if state is None else self.support_pooling
        if known_by == "flatten":
            raise ValueError(
                "Classes that are known by whole, flattened maps have no activation maps: no "
                "location can be compared with them. Use reading='dense' or 'average'."
            )
        if state is None:
            logits = self._base_logits(query_features, "dense")
        else:
            logits = self._new_logits(state, query_features, "dense")
        height, width = ops.shape(self.base_maps(query_features))[2:4]
        batch, queries, _, classes = ops.shape(logits)
        maps = ops.softmax(logits, axis=-1)
        return ops.reshape(maps, (batch, queries, height, width, classes))

    @property
    def kept_base_classes(self) -> int:
        """All of them, unless new classes are read in another form than the weights."""
        alike = (self.reading == "flatten") == (self.query_pooling == "flatten")
        return self.base_classes if alike else 0

    def classify_jointly(self, state: dict[str, Any], query_features: Any) -> dict[str, Any]:
        """Base and new classes together: the prototypes are further rows of the classifier.

        Args:
            state: dict, what `adapt` returned.
            query_features: tensor, `[B, Q, h, w, C]`.

        Returns:
            dict: `logits`, `[B, Q, base_classes + ways]`, the base classes first.

        Raises:
            ValueError: if new classes are read in another form than the classifier's weights.

        Reference:
            (6) with imprinted weights, `W' = (W, P)`.
        """
        if not self.kept_base_classes:
            raise ValueError(
                f"The classifier was trained with reading={self.reading!r} and new classes have "
                f"query_pooling={self.query_pooling!r}: their vectors cannot be compared."
            )
        prototypes = state["prototypes"]
        batch = ops.shape(prototypes)[0]
        weights = ops.cast(ops.convert_to_tensor(self.class_weights), prototypes.dtype)
        weights = ops.broadcast_to(weights[None], (batch, *ops.shape(weights)))
        counts = state["support_counts"]
        present = ops.ones((batch, self.base_classes), counts.dtype)
        at_locations = self._location_logits(
            query_features,
            ops.concatenate([weights, prototypes], axis=1),
            self.query_pooling,
            ops.concatenate([present, counts], axis=1),
        )
        return {"logits": mean_prediction(at_locations)}

    def _location_logits(
        self, maps: Any, weights: Any, pooling: str, counts: Any = None, scale: Any = None
    ) -> Any:
        """(6), (9): scaled cosines, `[B, Q, L, N]`, of vectors and of weights, `[B, N, D]`."""
        vectors = pooled_maps(maps, pooling)
        batch, queries, locations, size = ops.shape(vectors)
        flat = ops.reshape(vectors, (batch, queries * locations, size))
        cosines = cosine_similarity(flat, weights, "both")
        logits = ops.cast(self.scale if scale is None else scale, cosines.dtype) * cosines
        if counts is not None:
            logits = mask_absent(logits, counts)
        return ops.reshape(logits, (batch, queries, locations, ops.shape(weights)[1]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "base_classes": self.base_classes,
            "reading": self.reading,
            "scale": self.initial_scale,
            "support_pooling": self.support_pooling,
            "query_pooling": self.query_pooling,
        }


def mean_prediction(at_locations: Any) -> Any:
    """(14): logarithm of the mean over locations of softmaxes; the logits if there is one.

    Args:
        at_locations: float tensor, `[B, Q, L, N]`, logits.

    Returns:
        Tensor, `[B, Q, N]`.
    """
    locations = at_locations.shape[2]
    if locations == 1:
        return at_locations[:, :, 0]
    logs = ops.log_softmax(at_locations, axis=-1)
    count = ops.cast(ops.shape(at_locations)[2], logs.dtype)
    return ops.logsumexp(logs, axis=2) - ops.log(count)


def _vector_size(backbone: keras.Model, reading: str) -> int:
    shape = backbone.output_shape
    if len(shape) != 4:
        raise ValueError(
            "DenseClassification reads feature maps [n, h, w, C]; the backbone "
            f"{backbone.name!r} gives {shape}. Leave out its pooling or flattening."
        )
    _, height, width, channels = shape
    if reading != "flatten":
        return channels
    if height is None or width is None:
        raise ValueError(
            "reading='flatten' needs a backbone for one size of images; "
            f"{backbone.name!r} gives {shape}. Give it image_shape with height and width."
        )
    return height * width * channels
