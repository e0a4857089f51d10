"""Implanting: new convolutions beside a frozen network, learnt from a support set."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kfsl import gradients
from kfsl.layers.cosine import cosine_similarity
from kfsl.layers.pooled_maps import pooled_maps
from kfsl.learners.base.argument_checks import (
    check_choice,
    check_numbers,
    check_positive,
    check_whole_numbers,
)
from kfsl.learners.base.episode_checks import check_shots
from kfsl.learners.base.task_loop import map_tasks, task_seeds
from kfsl.learners.dense_classification import DenseClassification, mean_prediction
from kfsl.networks.implants import ImplantedNetwork
from kfsl.update_rules.adam import Adam

LOSSES = ("average", "max", "dense")


@keras.saving.register_keras_serializable(package="kfsl")
class Implanting(DenseClassification):
    """A trained network of base classes, widened for each task by implants.

    Implants lie beside the convolutions behind the layer `after`; see `ImplantedNetwork`. For
    each task they are drawn anew, and learnt on its support set alone: each support image is
    classified once by the prototypes of the others, which are computed anew in each update. The
    network itself stays as it is, in inference mode, to the bit.

    It trains nothing beforehand: its run is that of a `DenseClassification`, whose weights it
    begins with (`train.start_from`, `train.epochs = 0`). `embed` gives the frozen block's input.

    Args:
        backbone: `keras.Model`. See `DenseClassification`.
        base_classes: int. As in the run that it begins with.
        after: str. The layer behind which convolutions have implants. Defaults to
            `"block3_pool"`: the last block of ResNet-12, as in the paper, and of Conv-4.
        channels: int. Of each implant. Defaults to `16`.
        shortcuts: bool. Whether 1x1 convolutions of shortcuts have implants too, which the paper
            does not say. Defaults to True: then the new stream has a shortcut as the old one has.
        updates: int. On the whole support set at once; the paper's 50 epochs. Defaults to `50`.
        rate: float. Of AdamW; the paper gives none. Defaults to `1e-3`.
        decay: float. Decoupled weight decay; the paper gives none. Defaults to `1e-2`.
        gain: float. Multiplies the first kernels. Defaults to `1.0`.
        loss_pooling: str. How support images are read as queries of each other: `"average"`,
            `"max"` or `"dense"` (12). Defaults to `"average"`, the paper's best.
        loss_support_pooling: str or None. How they are read as prototypes of each other,
            `"average"` or `"max"`; None is `support_pooling`, that of the prototypes which answer
            queries. Defaults to None.
        implant_scale: float. Of the cosines, here and for the queries. Defaults to `10.0`.
        reading, support_pooling, query_pooling, **kwargs: see `DenseClassification`; maps that
            are flattened have no prototypes here. `query_pooling` defaults to `"dense"`.

    Raises:
        ValueError: if an argument is out of range, or implants cannot lie behind `after`; in
            `adapt`, for classes with a single support image, as far as labels can be read there.

    Reference:
        [Lifchitz et al., 2019](https://arxiv.org/abs/1903.05050), section 3.2, (11) to (14). The
        sums of (11) and (12) are means here.

    Example:
    ```python
    from kfsl.backbones.resnet12 import ResNet12
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.implanting import Implanting

    backbone = ResNet12(image_shape=(16, 16, 3), filters=(4, 4, 8, 8))
    learner = Implanting(backbone, base_classes=64, channels=2, updates=3)
    episode, _ = EpisodeSpec(3, 2, 2, (16, 16, 3)).random_episode()
    assert learner(episode)["logits"].shape == (1, 6, 3)
    ```
    """

    smallest_shots = 2

    def __init__(
        self,
        backbone: keras.Model,
        base_classes: int,
        *,
        after: str = "block3_pool",
        channels: int = 16,
        shortcuts: bool = True,
        updates: int = 50,
        rate: float = 1e-3,
        decay: float = 1e-2,
        gain: float = 1.0,
        loss_pooling: str = "average",
        loss_support_pooling: str | None = None,
        implant_scale: float = 10.0,
        query_pooling: str | None = None,
        **kwargs: Any,
    ) -> None:
        query_pooling = query_pooling or "dense"
        super().__init__(backbone, base_classes, query_pooling=query_pooling, **kwargs)
        check_whole_numbers(0, updates=updates)
        check_whole_numbers(1, channels=channels)
        check_numbers(0, decay=decay, gain=gain)
        check_positive(rate=rate, implant_scale=implant_scale)
        check_choice("loss_pooling", loss_pooling, LOSSES)
        if loss_support_pooling is not None:
            check_choice("loss_support_pooling", loss_support_pooling, LOSSES[:2])
        self.after = after
        self.channels = channels
        self.shortcuts = shortcuts
        self.updates = updates
        self.rate = rate
        self.decay = decay
        self.gain = gain
        self.loss_pooling = loss_pooling
        self.loss_support_pooling = loss_support_pooling
        self.implant_scale = implant_scale
        self.implanted = ImplantedNetwork(self.backbone, after, channels, shortcuts)
        # What is frozen has no gradient, and counts as no parameter that is trained.
        self.backbone.trainable = False
        self.class_weights.trainable = self.scale.trainable = False

    def embed(self, images: Any, training: bool = False, mask: Any = None) -> Any:
        """The input of the block that has implants; in inference mode, whatever `training` says."""
        del training, mask
        shape = ops.shape(images)
        flat = ops.reshape(images, (-1, *shape[2:]))
        features = self.implanted.trunk(self.preprocessing(flat), training=False)
        return ops.reshape(features, (*shape[:2], *ops.shape(features)[1:]))

    def base_maps(self, query_features: Any) -> Any:
        shape = ops.shape(query_features)
        maps = self.implanted.base_maps(ops.reshape(query_features, (-1, *shape[2:])))
        return ops.reshape(maps, (*shape[:2], *ops.shape(maps)[1:]))

    # === One task ===

    def adapt(
        self,
        features: Any,
        labels: Any,
        mask: Any = None,
        seed: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        """Draws implants and learns them; then the prototypes of the widened embedding.

        Args:
            features: tensor, `[B, S, h, w, C]`, from `embed`.
            labels: int tensor, `[B, S]`.
            mask: bool tensor or None, `[B, S]`; False marks padding.
            seed: int tensor or None, `[2]`: stream and number of the first episode.
            training: bool. Makes no difference.

        Returns:
            dict: `prototypes`, `[B, ways, D]`, `support_counts`, and the implants.
        """
        del training
        self.objective.check_targets(labels)
        check_shots(labels, mask, self.smallest_shots, type(self).__name__)
        inputs = {"features": features, "labels": labels, "seed": task_seeds(features, seed)}
        if mask is not None:
            inputs["mask"] = mask
        return map_tasks(self._adapt_task, inputs)

    def _adapt_task(self, task: dict[str, Any]) -> dict[str, Any]:
        one_hot = self.one_hot_support(task["labels"], task.get("mask"))
        seen = self.implanted.see(task["features"])
        start = self.implanted.start(task["seed"], self.gain)
        implants, _ = gradients.inner_loop(
            self.leave_one_out_loss(seen, one_hot),
            list(start.values()),
            self.update_rule,
            self.updates,
            differentiated=False,
        )
        return self.task_state(seen, one_hot, implants)

    @property
    def update_rule(self) -> Adam:
        """AdamW, with the learner's rate and decay."""
        return Adam(self.rate, decay=self.decay)

    def task_state(self, seen: list[Any], one_hot: Any, implants: list[Any]) -> dict[str, Any]:
        """The state that implants give: they, and the prototypes of the widened embedding.

        Args:
            seen: list of tensors, `[S, ...]`, of one task; see `ImplantedNetwork.see`.
            one_hot: float tensor, `[S, ways]`; rows of padding are zero.
            implants: list of tensors.

        Returns:
            dict, as `adapt`, without the leading axis.
        """
        maps = self.implanted.embed(seen, implants)[None]
        vectors = pooled_maps(maps, self.support_pooling)[0, :, 0]
        one_hot = ops.cast(one_hot, vectors.dtype)
        counts = ops.sum(one_hot, axis=0)
        sums = ops.matmul(ops.transpose(one_hot), vectors)
        return {
            "prototypes": sums / ops.maximum(counts, 1.0)[:, None],
            "support_counts": counts,
            **dict(zip(self.implanted.keys, implants, strict=True)),
        }

    def leave_one_out_loss(self, seen: list[Any], one_hot: Any) -> gradients.LossFunction:
        """(11), (12): each support image among the prototypes of the others, in closed form.

        Args:
            seen: list of tensors, `[S, ...]`, of one task.
            one_hot: float tensor, `[S, ways]`; rows of padding are zero.

        Returns:
            Function of implants and the number of the update.
        """
        present = ops.sum(one_hot, axis=1)  # [S]

        def loss(implants: gradients.Weights, step: Any) -> Any:
            del step
            logits = self.leave_one_out_logits(seen, one_hot, implants)
            rows, real = (ops.cast(each, logits.dtype) for each in (one_hot, present))
            chosen = ops.sum(rows[:, None] * ops.log_softmax(logits, axis=-1), axis=-1)
            return -ops.sum(ops.mean(chosen, axis=1) * real) / ops.sum(real)

        return loss

    def leave_one_out_logits(
        self, seen: list[Any], one_hot: Any, implants: gradients.Weights
    ) -> Any:
        """Scaled cosines of each support image with the prototypes of the others.

        Args:
            seen: list of tensors, `[S, ...]`, of one task.
            one_hot: float tensor, `[S, ways]`; rows of padding are zero.
            implants: list of tensors.

        Returns:
            Tensor, `[S, L, ways]`; `L` is 1 unless `loss_pooling="dense"`.
        """
        maps = self.implanted.embed(seen, implants)[None]
        pooling = self.loss_support_pooling or self.support_pooling
        supports = pooled_maps(maps, pooling)[0, :, 0]  # [S, D]
        one_hot = ops.cast(one_hot, supports.dtype)
        counts = ops.sum(one_hot, axis=0)
        own_count = ops.maximum(ops.matmul(one_hot, counts[:, None]) - 1.0, 1.0)
        queries = pooled_maps(maps, self.loss_pooling)[0]  # [S, L, D]
        sums = ops.matmul(ops.transpose(one_hot), supports)
        means = sums / ops.maximum(counts, 1.0)[:, None]
        # Of an image's own class the mean without it.
        without = (ops.matmul(one_hot, sums) - supports) / own_count
        own = cosine_similarity(queries, without[:, None], "both")  # [S, L, 1]
        every = ops.broadcast_to(means[None], (ops.shape(one_hot)[0], *ops.shape(means)))
        others = cosine_similarity(queries, every, "both")  # [S, L, ways]
        mine = one_hot[:, None]
        logits = self.implant_scale * (mine * own + (1.0 - mine) * others)
        return ops.where(counts > 0, logits, -1e9)

    def infer(
        self, state: dict[str, Any], query_features: Any, training: bool = False
    ) -> dict[str, Any]:
        del training
        at_locations = self._new_logits(state, query_features, self.query_pooling)
        return {"logits": mean_prediction(at_locations)}

    def _new_logits(self, state: dict[str, Any], query_features: Any, pooling: str) -> Any:
        def widened(task: dict[str, Any]) -> Any:
            implants = [task[key] for key in self.implanted.keys]
            return self.implanted.embed(self.implanted.see(task["queries"]), implants)

        implants = {key: state[key] for key in self.implanted.keys}
        maps = map_tasks(widened, {"queries": query_features, **implants})
        counts = state["support_counts"]
        return self._location_logits(maps, state["prototypes"], pooling, counts, self.implant_scale)

    @property
    def kept_base_classes(self) -> int:
        """None: see `classify_jointly`."""
        return 0

    def classify_jointly(self, state: dict[str, Any], query_features: Any) -> dict[str, Any]:
        raise ValueError(
            "The base classes' weights do not know the implants, so base and new classes cannot be "
            "told apart together. Use DenseClassification for that."
        )

    def get_config(self) -> dict[str, Any]:
        names = (
            "after", "channels", "shortcuts", "updates", "rate", "decay", "gain", "loss_pooling",
            "loss_support_pooling", "implant_scale",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
