"""Learning to modulate the gradient."""

from typing import Any

import keras

from kfsl import gradients
from kfsl.layers.gradient_modulation import GradientModulation
from kfsl.learners.base.argument_checks import check_choice, check_numbers, check_whole_numbers
from kfsl.learners.base.gradient_learner import GradientLearner
from kfsl.networks.adapted_network import AdaptedNetwork, backbone_with_head
from kfsl.networks.head import Head
from kfsl.networks.keras_private import flat_layers
from kfsl.update_rules.modulated import FORMS, Modulated

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


@keras.saving.register_keras_serializable(package="kfsl")
class ModGrad(GradientLearner):
    """ModGrad: a generator gives each entry of the inner gradient a factor, task by task.

    Every adapted weight is modulated, by a cell of its own; the other weights, the head too,
    are the same for all tasks. The context that the cells read is found by a look ahead on the
    support set, so a step costs two passes of MAML's. By default, initial factors are small, and
    the inner loop hardly moves until the generator has learnt to.

    Give the generator its own optimiser: `train.part_optimizers = {'generator': ...}`.

    Args:
        backbone: see `GradientLearner`.
        inner_rate: float. The inner rate alpha.
        context_size: int. Size `d` of the context vector.
        columns: int. Columns `u` that the cells mix.
        initial_factor: float. What factors begin around: with `1.0` training begins as MAML of
            the same rate. The paper and its program have none, `0.0`.
        steps: int. Inner steps.
        adapted: sequence of str, or None. See `GradientLearner`, but None stands for kernel and
            bias of the last two convolutions; `("",)` for all weights.
        form: str. `"paper"` or `"code"`: what more than one step means; see `Modulated`.
        **kwargs: see `GradientLearner`. `gradient_noise` enters before the modulation;
            `first_order` makes constants of the support set's gradients, not of the context.

    Raises:
        ValueError: for arguments out of range, or a network without two convolutions where
            `adapted` is None.

    Reference:
        Simon et al., On Modulating the Gradient for Meta-Learning, ECCV 2020, algorithm 1 and
        equations 5 to 9.

    Example:
    ```python
    from kfsl.backbones.conv4 import Conv4
    from kfsl.episodes import EpisodeSpec
    from kfsl.learners.modgrad import ModGrad

    episode, _ = EpisodeSpec(5, 1, 3, (28, 28, 1)).random_episode()
    backbone = Conv4(image_shape=(28, 28, 1), filters=8)
    learner = ModGrad(backbone, ways=5, context_size=20)
    assert learner(episode)["logits"].shape == (1, 15, 5)
    ```
    """

    def __init__(
        self,
        backbone: keras.Model,
        *,
        inner_rate: float = 0.1,
        context_size: int = 300,
        columns: int = 5,
        initial_factor: float = 0.0,
        steps: int = 1,
        adapted: Any = None,
        form: str = "paper",
        **kwargs: Any,
    ) -> None:
        network = last_convolutions if adapted is None else None
        super().__init__(backbone, steps=steps, adapted=adapted, network=network, **kwargs)
        check_choice("form", form, FORMS)
        check_whole_numbers(1, context_size=context_size, columns=columns)
        check_numbers(inner_rate=inner_rate, initial_factor=initial_factor)
        self.inner_rate = inner_rate
        self.context_size = context_size
        self.columns = columns
        self.initial_factor = initial_factor
        self.form = form
        self.generator = self._make_generator()

    def _make_generator(self) -> keras.Model:
        # Factors are small and meet float32 weights: no half precision here.
        dtype = self.dtype_policy.variable_dtype
        context = keras.layers.Input((self.context_size,), dtype=dtype, name="context")
        factors = {}
        adapted = zip(self.adapted_network.keys, self.adapted_network.variables, strict=True)
        for key, variable in adapted:
            shape, name = variable.shape, f"modulation_of_{key}"
            cell = GradientModulation(
                shape, self.columns, self.initial_factor, dtype=dtype, name=name
            )
            factors[key] = cell(context)
        return keras.Model(context, factors, name="generator")

    def weight_parts(self) -> dict[str, list[keras.Variable]]:
        return {"generator": self.generator.trainable_variables}

    def modulation(self, context: Any) -> list[Any]:
        """The factors of each adapted weight's gradient.

        Args:
            context: float tensor, `[d]`.

        Returns:
            List of tensors of the adapted weights' shapes, none negative.
        """
        factors = self.generator(context[None])
        return [factors[key][0] for key in self.adapted_network.keys]

    def update_rule(self) -> gradients.UpdateRule:
        return Modulated(self.modulation, self.inner_rate, self.context_size, self.form)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "inner_rate": self.inner_rate,
            "context_size": self.context_size,
            "columns": self.columns,
            "initial_factor": self.initial_factor,
            "form": self.form,
        }


def last_convolutions(backbone: keras.Model, head: Head) -> AdaptedNetwork:
    """A network that adapts kernel and bias of its last two convolutions.

    Raises:
        ValueError: for a network that has fewer.
    """
    network = backbone_with_head(backbone, head)
    found = [layer for layer in flat_layers(network) if isinstance(layer, CONVOLUTIONS)]
    if len(found) < 2:
        raise ValueError(
            "Without `adapted`, ModGrad adapts the last two convolutions of the network; "
            f"this one has {len(found)}. Name the weights to adapt, such as ('head',)."
        )
    last = {id(variable) for layer in found[-2:] for variable in layer.trainable_variables}
    variables = enumerate(network.trainable_variables)
    return AdaptedNetwork(network, [i for i, variable in variables if id(variable) in last])
