"""Multimodal Prototypical Networks: a network for each task, modulated by its support set."""

from typing import Any

import keras
from keras import ops

from kfsl.layers.task_encoder import TaskEncoder
from kfsl.learners.base.argument_checks import check_choice, check_numbers, check_whole_numbers
from kfsl.learners.base.given_layers import given_network, shared_preparation
from kfsl.learners.base.learner import BN_POLICIES
from kfsl.learners.base.policy_network import PolicyNetwork
from kfsl.learners.base.task_loop import map_tasks
from kfsl.learners.base.taskwise_learner import TaskwiseLearner
from kfsl.learners.base.vectors import flat_features, squared_distances
from kfsl.networks.head import check_graph
from kfsl.networks.modulated_network import (
    EMBEDDING,
    ModulatedNetwork,
)
from kfsl.networks.stock_normalization import refuse_stock_normalization
from kfsl.networks.weight_modulation import WeightModulation
from kfsl.objectives.classification import mask_absent

#: Columns where nothing says how many.
WAYS = 5


@keras.saving.register_keras_serializable(package="kfsl")
class ModulatedPrototypicalNetwork(TaskwiseLearner):
    """Prototypical Networks whose backbone is modulated for each task (MProtoNet, and with KML).

    A network of its own, `encoder`, makes a vector of the support images, without their labels;
    generators make from it what modulates the backbone: factors of whole kernels (KML), or of
    channels (FiLM). Support set and queries then pass the same modulated network. The queries have
    no part in the vector.

    Args:
        backbone: functional `keras.Model`. Float images `[n, H, W, C]` to features `[n, ...]`.
        encoder: `keras.Model`. Float images to maps or vectors.
        ways: int or None. Columns of the logits in training. Defaults to `5`, or to what an
            `objective` says.
        generator: str. `"factorised"`: KML, two vectors and their outer product for each kernel;
            `"full"`: KML, a number for each entry of a kernel; `"film"`: MProtoNet, a factor and
            an offset for each channel behind batch normalisation. Defaults to `"factorised"`.
        embedding_size: int. Numbers in the task's vector. Defaults to `128`.
        dense: bool. Whether the backbone's dense layers are modulated too. Defaults to False.
        residual: bool. Factors are `1 + M`, as in the paper; False: `M`, as in the authors'
            program. Defaults to True.
        scale: float. Multiplies the logits, as in `PrototypicalNetwork`. Defaults to `1.0`.
        refined: bool. Whether prototypes are refined once by the queries, which makes the method
            transductive: each counts for a class as far as it is predicted. The authors' program
            does so, and leaves support images out by mistake; the paper does not mention it.
            Defaults to False.
        bn_policy: str. `"batch"`: moments of the support set and of the queries, each their own,
            in training and at test, as the authors have it (transductive); `"support"`: those of
            the support set, for the queries too; `"running"`: moving averages at test. The
            encoder sees support sets alone. Defaults to `"batch"`.
        **kwargs: see `TaskwiseLearner` and `Learner`.

    Raises:
        ValueError: if an argument is out of range, the backbone has nothing to modulate, it or the
            encoder has Keras's own batch normalisation, not frozen, or one of the two takes raw
            pixels and no `preprocessing` is given.

    Reference:
        [Abdollahzadeh et al., 2021](https://arxiv.org/abs/2110.14202);
        [Snell et al., 2017](https://arxiv.org/abs/1703.05175), equations 1 and 2.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.modulated_prototypical_network import ModulatedPrototypicalNetwork

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    backbone, encoder = (Conv4(image_shape=(28, 28, 1), filters=8) for _ in range(2))
    learner = ModulatedPrototypicalNetwork(backbone, encoder, embedding_size=16)
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        encoder: keras.Model,
        *,
        ways: int | None = WAYS,
        generator: str = "factorised",
        embedding_size: int = 128,
        dense: bool = False,
        residual: bool = True,
        scale: float = 1.0,
        refined: bool = False,
        bn_policy: str = "batch",
        **kwargs: Any,
    ) -> None:
        check_choice("bn_policy", bn_policy, BN_POLICIES)
        check_whole_numbers(1, embedding_size=embedding_size)
        check_numbers(scale=scale)
        if ways == WAYS and kwargs.get("objective") is not None:
            ways = None  # The default is for learners without one.
        kwargs["preprocessing"] = shared_preparation(backbone, encoder, kwargs.get("preprocessing"))
        # Modulated weights stay float32: the backbone's own layers cast them.
        super().__init__(ways=ways, bn_policy=bn_policy, autocast=False, **kwargs)
        self.backbone = given_network("backbone", backbone)
        self.encoder = given_network("encoder", encoder)
        check_graph(self.backbone)
        refuse_stock_normalization("backbone", self.backbone)
        self.task_encoder = TaskEncoder(
            self.encoder, embedding_size, dtype=self.dtype_policy, name="task_encoder"
        )
        modulation = WeightModulation(
            self.backbone, generator, embedding_size, dense, residual, self.dtype_policy
        )
        self.generators = modulation.generators
        network = ModulatedNetwork(self.backbone, self.task_encoder, modulation, bn_policy)
        self.modulated_network = network
        self.policy_network = PolicyNetwork(network, bn_policy)
        self.generator = generator
        self.embedding_size = embedding_size
        self.dense = dense
        self.residual = residual
        self.scale = scale
        self.refined = refined

    @property
    def transductive(self) -> bool:
        return self.refined or super().transductive

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        """`backbone`, and `modulation`: the encoder and the generators."""
        own = [w for made in self.generators for w in made.trainable_weights]
        return {
            "backbone": self.backbone.trainable_weights,
            "modulation": [*self.task_encoder.trainable_weights, *own],
        }

    def adapt(
        self,
        features: Any,
        labels: Any,
        mask: Any = None,
        seed: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        """Describes the task, and averages what its own network makes of each class.

        Args:
            features: tensor, `[B, S, H, W, C]`: the images.
            labels: int tensor, `[B, S]`.
            mask: bool tensor or None, `[B, S]`; False marks padding.
            seed: not needed.
            training: bool.

        Returns:
            dict: `task_embedding`, `[B, embedding_size]`, `prototypes`, `[B, ways, D]`,
            `support_counts`, and the support set's moments under `bn_policy="support"`.
        """
        del seed
        self.objective.check_targets(labels)
        inputs = {"images": features, "one_hot": self.one_hot_support(labels, mask)}
        if mask is not None:
            inputs["mask"] = mask
        return map_tasks(lambda task: self._adapt_task(task, training), inputs)

    def _adapt_task(self, task: dict[str, Any], training: bool) -> dict[str, Any]:
        images, mask, one_hot = (
            self.preprocessing(task["images"]),
            task.get("mask"),
            task["one_hot"],
        )
        start = self.modulated_network.start({"inputs": images, "mask": mask, "training": training})
        weights = list(start.values())
        maps = self.policy_network.support_outputs(weights, images, mask, training)
        vectors = flat_features(maps[None])[0]
        one_hot = ops.cast(one_hot, vectors.dtype)
        counts = ops.sum(one_hot, axis=0)
        # Eq. 1 of Snell et al.
        sums = ops.matmul(ops.transpose(one_hot), vectors)
        state = {
            **start,
            "prototypes": sums / ops.maximum(counts, 1.0)[:, None],
            "support_counts": counts,
        }
        if self._bn_policy == "support":
            state.update(self.policy_network.moments(weights, images, mask, training))
        return state

    def infer(
        self, state: dict[str, Any], query_features: Any, training: bool = False
    ) -> dict[str, Any]:
        def one(task: dict[str, Any]) -> Any:
            images = self.preprocessing(task["queries"])
            maps = self.policy_network.query_outputs([task[EMBEDDING]], images, task, training)
            return self._logits(flat_features(maps[None]), task)

        return {"logits": map_tasks(one, {**state, "queries": query_features})}

    def _logits(self, queries: Any, task: dict[str, Any]) -> Any:
        """Eq. 2 of Snell et al., for one task; `[1, Q, D]` to `[Q, ways]`."""
        prototypes, counts = task["prototypes"][None], task["support_counts"][None]

        def logits(prototypes: Any) -> Any:
            return mask_absent(-self.scale * squared_distances(queries, prototypes), counts)

        found = logits(prototypes)
        if self.refined:
            shares = ops.softmax(found)
            found = logits(refined_prototypes(prototypes, counts, queries, shares))
        return found[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "generator": self.generator,
            "embedding_size": self.embedding_size,
            "dense": self.dense,
            "residual": self.residual,
            "scale": self.scale,
            "refined": self.refined,
        }


def refined_prototypes(prototypes: Any, counts: Any, queries: Any, shares: Any) -> Any:
    """Means over support images and queries, a query counting for a class by its share.

    Args:
        prototypes: float tensor, `[B, N, D]`, means of `counts` support images.
        counts: float tensor, `[B, N]`.
        queries: float tensor, `[B, Q, D]`.
        shares: float tensor, `[B, Q, N]`.

    Returns:
        Tensor, `[B, N, D]`.

    Example:
    ```python
    import numpy as np
    from kfsl.learners.modulated_prototypical_network import refined_prototypes

    prototypes, counts = np.array([[[0.0], [1.0]]]), np.array([[2.0, 1.0]])
    queries, shares = np.array([[[3.0]]]), np.array([[[1.0, 0.0]]])
    assert np.allclose(refined_prototypes(prototypes, counts, queries, shares), [[[1.0], [1.0]]])
    ```
    """
    sums = prototypes * counts[..., None] + ops.einsum("bqn,bqd->bnd", shares, queries)
    weights = counts + ops.sum(shares, axis=1)
    return sums / ops.maximum(weights, 1e-12)[..., None]
