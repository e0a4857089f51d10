"""The contract that every few-shot learner keeps."""

from collections.abc import Mapping
from typing import Any

import keras

from kfsl.argument_checks import check_made
from kfsl.episodes import SEED, SUPPORT_IMAGES, SUPPORT_MASK
from kfsl.layers.pixel_normalization import PixelNormalization
from kfsl.learners.base.argument_checks import check_choice
from kfsl.learners.base.base_class_answers import BaseClassAnswers
from kfsl.learners.base.episode_checks import check_kind
from kfsl.learners.base.episodic_model import EpisodicModel
from kfsl.learners.base.given_layers import given_layer, restored
from kfsl.objectives.classification import Classification
from kfsl.objectives.objective import Objective

#: The policies of learners that normalise; the others have `"none"`.
BN_POLICIES = ("running", "support", "batch")


class Learner(BaseClassAnswers, EpisodicModel):
    """A model that is given a support set and answers for queries.

    A method is three functions: `embed` (what depends on one image alone), `adapt` (what is
    learnt from the support set, a flat dict of tensors) and `infer` (the queries' answers).
    Training, evaluation, export and prediction all go through them, so no state hides in
    attributes. What an answer is, and what an error costs, is the `objective`'s business.

    A learner is built when it is constructed: subclasses build the layers they make.

    Args:
        ways: int or None. Classes per episode; None reads it from the support labels.
        preprocessing: `keras.layers.Layer` or None. Takes uint8 pixels to floats; None is
            `PixelNormalization()`, which divides by 255, where the objective is about images; or
            nothing, where the backbone takes raw pixels.
        weight_decay: float or dict. Adds `weight_decay * w` to the gradient of each weight (L2,
            as in PyTorch's `Adam(weight_decay=...)`), or, from names of `weight_parts`, to
            those of these parts alone. Keras's own `weight_decay` is decoupled.
        bn_policy: str. Which moments normalise outside training: see `MetricLearner` and
            `GradientLearner`. Defaults to `"none"`.
        objective: `Objective` or None. None is `Classification(ways)`.

    Raises:
        ValueError: for an argument of a wrong type, fewer than 2 ways, an unknown policy, an
            objective of a kind that the method has no answer for, or `ways` besides an objective
            that has another number.

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

    #: Whether relabelling the classes of an episode permutes the logits and nothing else.
    permutes_with_classes: bool = True
    #: Whether the method can be asked for numbers instead of classes.
    regresses: bool = False

    def __init__(
        self,
        *,
        ways: int | None = None,
        preprocessing: keras.layers.Layer | None = None,
        weight_decay: float | Mapping[str, float] = 0.0,
        bn_policy: str = "none",
        objective: Objective | None = None,
        **kwargs: Any,
    ) -> None:
        objective = Classification(ways) if objective is None else restored(objective)
        check_made("`objective`", objective, Objective, "an objective", "Classification")
        super().__init__(objective=objective, weight_decay=weight_decay, **kwargs)
        check_choice("bn_policy", bn_policy, (*BN_POLICIES, "none"))
        if not (self.objective.has_classes or self.regresses):
            raise ValueError(
                f"{type(self).__name__} tells classes apart; received the objective "
                f"{type(objective).__name__}. Learn numbers with a method that takes gradient "
                "steps, such as MAML, or with ConditionalNeuralProcess."
            )
        if ways is not None and self.objective.width != ways:
            raise ValueError(
                f"The objective has {self.objective.width} columns; received ways={ways} besides. "
                "Leave `ways` out."
            )
        self.ways = self.objective.width
        sees_images = objective.support_inputs == SUPPORT_IMAGES
        default = PixelNormalization() if sees_images else keras.layers.Identity()
        layer = given_layer("preprocessing", preprocessing, "PixelNormalization")
        self.preprocessing = default if layer is None else layer
        self._bn_policy = bn_policy
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
        """Answers for queries with what was learnt.

        Args:
            state: dict of tensors, from `adapt`.
            query_features: tensor, `[B, Q, ...]`, from `embed`.
            training: bool.

        Returns:
            A dict with the objective's `output`, and what a loss or a figure needs besides. For
            classification that is `logits`, float32 `[B, Q, ways]`, whose softmax is the
            prediction.
        """
        raise NotImplementedError

    #: Whether a learner made for some number of ways can be given fewer.
    takes_fewer_ways: bool = True

    #: The least number of support images of each class.
    smallest_shots: int = 1

    #: Whether `adapt` takes `steps`, so that a served model can be asked for another number.
    adapts_in_steps: bool = False

    @property
    def default_steps(self) -> int | None:
        """Gradient steps of an adaptation outside training; None where there are none."""
        return None

    @property
    def transductive(self) -> bool:
        """Whether a prediction may depend on the other queries of its episode."""
        return self.bn_policy == "batch"

    @property
    def bn_policy(self) -> str:
        """Which moments normalise at test: `running`, `support`, `batch` or `none`."""
        return self._bn_policy

    # === What all methods share ===

    def call(
        self, episode: dict[str, Any], training: bool = False, steps: Any = None
    ) -> dict[str, Any]:
        """Embeds, adapts and infers.

        Args:
            episode: dict of tensors; see `kfsl.episodes.EpisodeSpec`. Without support set it is
                a batch of base classes.
            training: bool.
            steps: int, int tensor or None. Gradient steps, for learners that take any number.

        Returns:
            What `infer` returns, or `classify_base` for a batch of base classes.
        """
        check_kind(self, episode)
        if self.objective.support_inputs not in episode:
            query = self.embed(episode[self.objective.query_inputs], training)
            return self.classify_base(query, training)
        support, query = self.embed_episode(episode, training)
        return self.answer(support, query, episode, training, steps)

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """The shape of one input of an episode; None where the method takes any."""
        backbone = getattr(self, "backbone", None)
        return None if backbone is None else tuple(backbone.input_shape[1:])

    def remedy_for_inputs(self, shape: tuple[int, ...]) -> str:
        """What to do where tasks have inputs of another shape; a sentence for people."""
        backbone = getattr(self, "backbone", None)
        taken = self.input_shape if backbone is None else backbone.input_shape[1:]
        if len(taken) == len(shape) == 1:
            # Beside an input a network may take more, such as a context.
            shape = (shape[0] + taken[0] - self.input_shape[0],)
        return f"Make the network for them: MLP.image_shape = {shape}."

    def answer(
        self,
        support: Any,
        query: Any,
        episode: dict[str, Any],
        training: bool = False,
        steps: Any = None,
        joint: bool = False,
    ) -> dict[str, Any]:
        """`call`, for an episode that is embedded.

        Args:
            support: tensor, `[B, S, ...]`, features.
            query: tensor, `[B, Q, ...]`, features.
            episode: dict of tensors, of which labels, mask and seed are read.
            training: bool.
            steps: int, int tensor or None.
            joint: bool. Queries may be of base classes too.

        Returns:
            What `infer` returns, or `classify_jointly`.
        """
        targets = episode[self.objective.support_targets]
        self.objective.check_targets(targets)
        state = self.adapt(
            support,
            targets,
            mask=episode.get(SUPPORT_MASK),
            seed=episode.get(SEED),
            training=training,
            **({} if steps is None else {"steps": steps}),
        )
        if joint:
            return self.classify_jointly(state, query)
        return self.infer(state, query, training=training)

    def embed_episode(self, episode: dict[str, Any], training: bool) -> tuple[Any, Any]:
        """Support and query features; apart, unless the method embeds them together."""
        inputs, queries = (
            episode[key] for key in (self.objective.support_inputs, self.objective.query_inputs)
        )
        support = self.embed(inputs, training, episode.get(SUPPORT_MASK))
        return support, self.embed(queries, training)

    def one_hot_support(self, labels: Any, mask: Any = None) -> Any:
        """Support labels as float32 one-hot rows, `[B, S, ways]`; padding rows are zero."""
        return self.objective.one_hot(labels, mask)

    # === Serialisation ===

    def get_config(self) -> dict[str, Any]:
        # `ways` says all of exactly `Classification`: a subclass may judge otherwise.
        own = None if type(self.objective) is Classification else self.objective
        return {
            "name": self.name,
            "ways": None if own else self.ways,
            "preprocessing": keras.saving.serialize_keras_object(self.preprocessing),
            "weight_decay": self.weight_decay,
            "bn_policy": self._bn_policy,
            "objective": keras.saving.serialize_keras_object(own),
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    def get_build_config(self) -> dict[str, Any]:
        return {}

    def build_from_config(self, config: dict[str, Any]) -> None:
        del config
