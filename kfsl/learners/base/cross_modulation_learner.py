"""Learners in which each query and each support image modulate each other."""

import contextlib
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kfsl.episodes import SUPPORT_MASK
from kfsl.layers.cross_modulation import CrossModulation
from kfsl.layers.moments_scope import moments_scope
from kfsl.learners.base.argument_checks import check_numbers, check_whole_numbers
from kfsl.learners.base.metric_learner import MetricLearner
from kfsl.learners.base.moments_state import moments_in, moments_state
from kfsl.learners.base.query_chunks import map_queries
from kfsl.networks.keras_private import flat_layers
from kfsl.networks.modulated_stage import ModulatedStage, staged_backbone


class CrossModulationLearner(MetricLearner):
    """A metric learner whose features are those of a pair, a query and a support image.

    Behind some layers of the backbone, a block's normalisation in the paper, both maps of a pair
    are modulated by factors and offsets that depend on both. What comes before the first of
    these layers is computed once for each image, as are its moments: repeating images changes
    neither mean nor variance. Subclasses write `pair_logits`.

    Under `bn_policy="support"` the layers that see pairs take their moments from the pairs of the
    support set with itself.

    Args:
        backbone: functional `keras.Model`. Float images `[n, H, W, C]` to features `[n, ...]`.
        modulated: sequence of str. The backbone's layers behind which pairs are modulated;
            every way through the network must lead through them. The default is blocks 2 to 4
            of `Conv4`.
        scale_penalty: float. L1 penalty on `gamma0` and `beta0`.
        noise: float. Standard deviation of a distortion; see `CrossModulation`.
        noisy: sequence of str, or None. Which of `modulated` are distorted; None: all.
        noise_seed: int.
        pairs_at_once: int. Outside training queries come in chunks of about so many pairs, and
            memory does not grow with their number. Under `bn_policy="batch"` all pairs have
            their moments in common and there are no chunks; under `"support"` the pairs of the
            support set with itself are seen at once.
        embed_together: bool. In training support and query images share the moments of the
            layers before the first modulation. The paper keeps them apart; those behind it
            always are.
        **kwargs: see `MetricLearner`.

    Raises:
        ValueError: for layers that the backbone does not have or that have others beside them,
            or arguments out of range.

    Reference:
        [Prol et al., 2018](https://arxiv.org/abs/1812.00273).
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        modulated: Sequence[str] = ("block2_bn", "block3_bn", "block4_bn"),
        scale_penalty: float = 1e-3,
        noise: float = 0.0,
        noisy: Sequence[str] | None = None,
        noise_seed: int = 0,
        pairs_at_once: int = 250,
        embed_together: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, embed_together=embed_together, **kwargs)
        self.modulated = _names("modulated", modulated)
        self.scale_penalty = scale_penalty
        self.noise = noise
        self.noisy = None if noisy is None else _names("noisy", noisy)
        self.noise_seed = noise_seed
        self.pairs_at_once = pairs_at_once
        self._check_arguments()
        self.staged = staged_backbone(self.backbone, self.modulated)
        self.modulations = self._make_modulations()

    def _check_arguments(self) -> None:
        if not self.modulated or len(set(self.modulated)) < len(self.modulated):
            raise ValueError(
                "`modulated` names at least one layer, and none twice; received "
                f"{self.modulated}. Without modulation this is a MatchingNetwork or a "
                "PrototypicalNetwork."
            )
        unknown = sorted(set(self.noisy or ()) - set(self.modulated))
        if unknown:
            raise ValueError(
                f"`noisy` has {unknown[0]!r}, which is not one of the modulated layers "
                f"{self.modulated}."
            )
        check_whole_numbers(1, pairs_at_once=self.pairs_at_once)
        check_whole_numbers(0, noise_seed=self.noise_seed)
        check_numbers(scale_penalty=self.scale_penalty, noise=self.noise)
        for layer in flat_layers(self.backbone):
            if getattr(layer, "activity_regularizer", None) is not None:
                raise ValueError(
                    f"The backbone's layer {layer.name!r} has an activity regularizer, whose loss "
                    "would depend on how pairs come in chunks. Leave it out."
                )

    def _make_modulations(self) -> list[CrossModulation]:
        outputs = [self.staged.trunk, *(stage.rest for stage in self.stages[:-1])]
        made = []
        for number, (stage, model) in enumerate(zip(self.stages, outputs, strict=True)):
            noisy = self.noisy is None or stage.name in self.noisy
            modulation = CrossModulation(
                keras.regularizers.L1(self.scale_penalty),
                noise=self.noise if noisy else 0.0,
                noise_seed=self.noise_seed + number,
                dtype=self.dtype_policy,
                name=f"{stage.name}_modulation",
            )
            shape = (None, None, *model.output_shape)
            modulation.build(shape, shape)
            made.append(modulation)
        return made

    @property
    def stages(self) -> tuple[ModulatedStage, ...]:
        """What follows each modulation, in the order of the backbone."""
        return self.staged.stages

    # === What methods differ in ===

    def pair_logits(self, queries: Any, supports: Any, one_hot: Any) -> Any:
        """Logits of the features of pairs.

        Args:
            queries: tensor, `[B, Q, S, D]`, float32, or float64 where all is. Features of the
                queries, each seen with each support image.
            supports: tensor, `[B, Q, S, D]`, likewise. Features of the support images, each seen
                with each query.
            one_hot: float tensor, `[B, S, ways]`; rows of padding are zero.

        Returns:
            tensor, `[B, Q, ways]`, of their dtype.
        """
        raise NotImplementedError

    # === Pairs ===

    def features_alone(self, images: Any, training: bool) -> Any:
        return self.staged.trunk(images, training=training)

    def fit_support(self, features: Any, labels: Any, mask: Any, training: bool) -> dict[str, Any]:
        one_hot = self.one_hot_support(labels, mask)
        state = {"support_features": features, "support_one_hot": one_hot}
        if mask is not None:
            state[SUPPORT_MASK] = mask
        if self._bn_policy == "support":
            with self._pair_moments(features, mask, mask) as scope:
                self.pair_features(features, features, training)
            state.update(moments_state(scope.moments))
        return state

    def classify(
        self, state: dict[str, Any], query_features: Any, training: bool
    ) -> dict[str, Any]:
        supports, one_hot = state["support_features"], state["support_one_hot"]

        def logits(queries: Any) -> Any:
            with self._pair_scope(state, queries, training):
                pairs = self.pair_features(queries, supports, training)
            return self.pair_logits(*pairs, one_hot)

        if training or self._bn_policy == "batch":
            return {"logits": logits(query_features)}
        batch, size = ops.shape(supports)[:2]
        at_once = self._queries_at_once(batch * size)
        return {"logits": map_queries(logits, query_features, at_once, self.logits_dtype)}

    def pair_features(
        self, queries: Any, supports: Any, training: bool, seen: dict[str, Any] | None = None
    ) -> tuple[Any, Any]:
        """Features of all pairs of a query and a support image.

        Args:
            queries: tensor, `[B, Q, h, w, C]`, from the trunk.
            supports: tensor, `[B, S, h, w, C]`.
            training: bool. How batch normalisation acts outside a `moments_scope`.
            seen: dict or None. Takes the generators' outputs; see `film_parameters`.

        Returns:
            Those of the queries and those of the support images, float32 `[B, Q, S, D]`.
        """
        query_maps, support_maps = ops.expand_dims(queries, 2), ops.expand_dims(supports, 1)
        for modulation, stage in zip(self.modulations, self.stages, strict=True):
            # The modulated stream comes first; both share the generator and the stage.
            pairs = ((support_maps, query_maps), (query_maps, support_maps))
            if seen is not None:
                seen[stage.name] = tuple(modulation.parameters(*pair) for pair in reversed(pairs))
            support_maps, query_maps = (stage(modulation, *pair, training) for pair in pairs)
        return _flat(query_maps), _flat(support_maps)

    def film_parameters(self, state: dict[str, Any], query_features: Any) -> dict[str, Any]:
        """What the generators make of all pairs at test.

        Args:
            state: dict of tensors, from `adapt`.
            query_features: tensor, `[B, Q, h, w, C]`, from `embed`.

        Returns:
            Name of the modulated layer -> `G(q, s)` and `G(s, q)`, each a pair of factors and
            offsets, `[B, Q, S, C]`.

        Raises:
            ValueError: under another policy than `"running"`, where `embed` gives images.
        """
        if self._bn_policy != "running":
            raise ValueError(
                "What the generators make of pairs can be seen under bn_policy='running'; this "
                f"learner has bn_policy={self._bn_policy!r}."
            )
        seen: dict[str, Any] = {}
        self.pair_features(query_features, state["support_features"], False, seen)
        return seen

    def _queries_at_once(self, supports: Any) -> Any:
        number = self.pairs_at_once // supports
        return max(number, 1) if isinstance(number, int) else ops.maximum(number, 1)

    def _pair_scope(self, state: dict[str, Any], queries: Any, training: bool) -> Any:
        if self._bn_policy == "support":
            return moments_scope(ops.shape(queries)[0], given=moments_in(state))
        if self._bn_policy == "running" and not training:
            return contextlib.nullcontext()
        return self._pair_moments(queries, None, state.get(SUPPORT_MASK))

    def _pair_moments(self, queries: Any, query_mask: Any, support_mask: Any) -> Any:
        """A scope for pairs, `[B * Q * S, ...]`, in which those with padding do not count."""
        batch, number = ops.shape(queries)[:2]
        mask = None
        if support_mask is not None:
            rows = ops.ones((batch, number), "bool") if query_mask is None else query_mask
            pairs = ops.logical_and(rows[:, :, None], support_mask[:, None, :])
            mask = ops.reshape(pairs, (-1,))
        running = self._bn_policy == "running"
        together = running and self.moments == "meta_batch"
        groups = 1 if together else batch
        return moments_scope(groups, mask=mask, update=running, across=together)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "modulated": self.modulated,
            "scale_penalty": self.scale_penalty,
            "noise": self.noise,
            "noisy": self.noisy,
            "noise_seed": self.noise_seed,
            "pairs_at_once": self.pairs_at_once,
        }


def _names(argument: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ValueError(
            f"`{argument}` is a list of layers; received {names!r}: write [{names!r}]."
        )
    return tuple(names)


def _flat(features: Any) -> Any:
    shape = ops.shape(features)
    dtype = keras.backend.result_type(features.dtype, "float32")
    return ops.cast(ops.reshape(features, (*shape[:3], -1)), dtype)
