"""A learner as small as one can be whose state is fast weights."""

import tensorflow as tf
from keras import ops

from kfsl.learners.base.learner import Learner


class OneStep(Learner):
    """A linear classifier of pixels whose state is its weights after one gradient step."""

    takes_fewer_ways = False  # Nothing masks the classes that an episode lacks.

    def __init__(self, ways: int = 3, size: int = 256, **kwargs) -> None:
        super().__init__(ways=ways, **kwargs)
        self.kernel = self.add_weight((size, ways), "glorot_uniform", name="kernel")
        self.bias = self.add_weight((ways,), "zeros", name="bias")

    def adapt(self, features, labels, mask=None, seed=None, training=False):
        one_hot = self.one_hot_support(labels, mask)
        batch = ops.shape(features)[0]
        start = [ops.tile(w.value[None], (batch, *[1] * len(w.shape))) for w in self.weights[:2]]
        with tf.GradientTape() as tape:
            tape.watch(start)
            logits = self._logits(*start, features)
            loss = -ops.sum(ops.mean(ops.log_softmax(logits) * one_hot, axis=1))
        gradients = tape.gradient(loss, start)
        fast = [w - 0.5 * g for w, g in zip(start, gradients, strict=True)]
        return {"fast_kernel": fast[0], "fast_bias": fast[1]}

    def infer(self, state, query_features, training=False):
        return {"logits": self._logits(state["fast_kernel"], state["fast_bias"], query_features)}

    def _logits(self, kernel, bias, images):
        shape = ops.shape(images)
        pixels = ops.reshape(self.preprocessing(images), (shape[0], shape[1], -1))
        return ops.einsum("bnd,bdc->bnc", pixels, kernel) + bias[:, None]
