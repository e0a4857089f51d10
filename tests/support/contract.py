"""The suite that every learner passes; a learner's test subclasses `LearnerContract`."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kfsl.episodes import EpisodeSpec
from tests.support.served_apart import served_apart

Episode = dict[str, np.ndarray]


class LearnerContract:
    """What is asked of every learner.

    A subclass defines `make_learner(**arguments)`, and overrides the attributes below where
    its method differs.
    """

    #: Arguments to try one by one; each is a learner of its own for all tests.
    variants: tuple[dict, ...] = ({},)

    spec = EpisodeSpec(ways=3, shots=2, queries=2, image_shape=(16, 16, 1))

    #: Part of a weight's path -> why its gradient is zero.
    zero_gradients: dict[str, str] = {}

    #: The loss of an episode before it is learnt by heart.
    least_loss = 0.5
    overfitting_steps = 80
    overfitting_rate = 1e-2
    tolerance = 2e-5

    def make_learner(self, **arguments) -> keras.Model:
        raise NotImplementedError

    def training_episode(self, **arguments) -> tuple[Episode, np.ndarray]:
        """What it is trained on; a learner of base classes overrides it."""
        return self.spec.random_episode(**arguments)

    @pytest.fixture(autouse=True)
    def _seeded(self):
        keras.utils.set_random_seed(0)
        yield
        keras.config.set_dtype_policy("float32")

    @pytest.fixture
    def learner(self, variant) -> keras.Model:
        return generic(self.make_learner(**variant))

    @pytest.fixture
    def episode(self) -> Episode:
        return self.spec.random_episode(seed=1)[0]

    def test_shapes(self, learner):
        episode, targets = self.spec.random_episode(meta_batch=2)
        inputs, labels, _ = served_names(learner)
        state = learner.adapt(learner.embed(episode[inputs]), episode[labels])
        assert all(key.isidentifier() for key in state)
        assert all(value.shape[0] == 2 for value in state.values())
        outputs = learner(episode)[learner.objective.output]
        assert outputs.shape == (2, targets.shape[1], self.columns)
        assert keras.backend.standardize_dtype(outputs.dtype) == "float32"

    @property
    def columns(self) -> int:
        """Numbers of an answer."""
        return self.spec.ways

    def test_every_weight_has_a_gradient(self, variant):
        # In double precision a gradient that is zero by construction is far below all others.
        keras.config.set_dtype_policy("float64")
        learner = generic(self.make_learner(**variant))
        gradients = loss_gradients(learner, *self.training_episode(meta_batch=2))
        assert len(gradients) == len(learner.trainable_weights) > 0
        for path, gradient in gradients.items():
            assert gradient is not None, f"{path} is not reached by the loss"
            assert np.all(np.isfinite(gradient)), path
            expected_zero = any(part in path for part in self.zero_gradients)
            largest = np.max(np.abs(gradient))
            # Zero but for rounding, beside the largest gradient of all.
            scale = max(np.max(np.abs(other)) for other in gradients.values())
            assert (largest <= 1e-10 * scale) == expected_zero, f"{path}: {largest}"

    def test_overfits_one_episode(self, learner):
        episode, labels = self.noise_episode()
        learner.compile(keras.optimizers.Adam(self.overfitting_rate))
        before, _ = answered(learner, episode, labels)
        assert before > self.least_loss
        # One meta-batch at a time; whole epochs are trained in half precision below.
        for _ in range(self.overfitting_steps):
            logs = learner.train_on_batch(episode, labels, return_dict=True)
            assert np.isfinite(logs["loss"])
        after, score = answered(learner, episode, labels)
        if learner.objective.measure.larger_is_better:
            assert score == 1.0
        assert after < 0.2 * before

    def noise_episode(self) -> tuple[Episode, np.ndarray]:
        """Pure noise: nothing but memory tells which query belongs to which class."""
        rng = np.random.default_rng(0)
        episode, labels = self.training_episode()
        for key in {"support_images", "query_images"} & set(episode):
            episode[key] = rng.integers(0, 256, episode[key].shape).astype("uint8")
        return episode, labels

    def test_support_order_changes_nothing(self, learner, episode):
        size = episode[served_names(learner)[0]].shape[1]
        order = np.random.default_rng(3).permutation(size)
        permuted = {
            key: value[:, order] if key.startswith("support") else value
            for key, value in episode.items()
        }
        self.assert_same(logits_of(learner, permuted), logits_of(learner, episode))

    def test_padding_changes_nothing(self, learner, episode):
        padded = with_padding(episode, rows=3)
        self.assert_same(logits_of(learner, padded), logits_of(learner, episode))

    def test_padding_changes_no_gradient(self, learner):
        episode, labels = self.spec.random_episode(seed=1, meta_batch=2)
        gradients = loss_gradients(learner, episode, labels)
        padded = loss_gradients(learner, with_padding(episode, rows=3), labels)
        scale = max(
            np.max(np.abs(gradient)) for gradient in gradients.values() if gradient is not None
        )
        for path, gradient in gradients.items():
            if gradient is None:  # Of weights that episodes do not train.
                continue
            np.testing.assert_allclose(
                padded[path], gradient, atol=10 * self.tolerance * scale, err_msg=path
            )

    def test_permuting_classes_permutes_logits(self, learner, episode):
        order = np.roll(np.arange(self.spec.ways), 1)
        relabelled = {**episode, "support_labels": order[episode["support_labels"]]}
        logits = logits_of(learner, episode)
        permuted = logits_of(learner, relabelled)[..., order]
        if learner.permutes_with_classes:
            self.assert_same(permuted, logits)
        else:
            assert np.max(np.abs(permuted - logits)) > 1e-3

    def test_other_queries_matter_only_if_transductive(self, learner, episode):
        logits = logits_of(learner, episode)
        changed, key = dict(episode), served_names(learner)[2]
        largest = 255 if learner.objective.has_classes else 1
        changed[key] = np.concatenate([episode[key][:, :1], largest - episode[key][:, 1:]], axis=1)
        first = logits_of(learner, changed)[:, :1]
        if learner.transductive:
            assert np.max(np.abs(first - logits[:, :1])) > 1e-3
        else:
            self.assert_same(first, logits[:, :1])

    def test_meta_batch_equals_episodes_alone(self, learner):
        episodes, labels = self.spec.random_episode(seed=2, meta_batch=4)
        singles = [
            ({key: value[i : i + 1] for key, value in episodes.items()}, labels[i : i + 1])
            for i in range(4)
        ]
        alone = np.concatenate([logits_of(learner, episode) for episode, _ in singles])
        self.assert_same(logits_of(learner, episodes), alone)
        if getattr(learner, "moments", "episode") == "meta_batch":
            return  # Training mixes the episodes' moments, by the user's choice.
        together = loss_gradients(learner, episodes, labels)
        apart = [loss_gradients(learner, *single) for single in singles]
        together = {path: found for path, found in together.items() if found is not None}
        scale = max(np.max(np.abs(gradient)) for gradient in together.values())
        for path, gradient in together.items():
            mean = np.mean([gradients[path] for gradients in apart], axis=0)
            np.testing.assert_allclose(
                gradient, mean, atol=10 * self.tolerance * scale, err_msg=path
            )

    def test_config_round_trip(self, learner, episode):
        # As JSON holds it: Keras gives some tuples of a functional model back as lists.
        config = json.dumps(learner.get_config())
        copy = type(learner).from_config(json.loads(config))
        assert json.dumps(copy.get_config()) == config
        copy.set_weights(learner.get_weights())
        self.assert_same(logits_of(copy, episode), logits_of(learner, episode))

    def test_keras_file(self, learner, episode, tmp_path):
        learner.save(tmp_path / "learner.keras")
        loaded = keras.saving.load_model(tmp_path / "learner.keras")
        assert type(loaded) is type(learner)
        np.testing.assert_array_equal(logits_of(loaded, episode), logits_of(learner, episode))

    def test_saved_model_in_a_process_without_kfsl(self, learner, episode, tmp_path):
        from kfsl.serving.export import export

        shape = getattr(self.spec, "image_shape", None)
        export(learner, str(tmp_path / "model"), image_shape=shape)
        arrays = {key: episode[key][0] for key in served_names(learner)}
        if learner.adapts_in_steps:
            arrays["steps"] = np.int32(learner.default_steps + 1)
        found = served_apart(tmp_path / "model", arrays, tmp_path)
        objective = learner.objective
        expected = np.asarray(objective.prediction(logits_of(learner, episode)[0]))
        assert np.ptp(expected) > 0.01, "nearly uniform answers would agree with anything"
        np.testing.assert_allclose(found["answers"], expected, atol=1e-5)
        if learner.adapts_in_steps:
            support, query = learner.embed_episode(episode, training=False)
            labels = episode[objective.support_targets]
            state = learner.adapt(support, labels, steps=learner.default_steps + 1)
            outputs = learner.infer(state, query)[objective.output][0]
            expected = np.asarray(objective.prediction(outputs))
            np.testing.assert_allclose(found["with_steps"], expected, atol=1e-5)

    def test_mixed_precision(self, variant, policy):
        keras.config.set_dtype_policy(policy)
        learner = self.make_learner(**variant)
        assert all(weight.dtype == "float32" for weight in learner.weights)
        # Graphs of all variants are trained above; here that of the first.
        first = variant == self.variants[0]
        learner.compile(keras.optimizers.Adam(1e-3), run_eagerly=not first)
        episode, labels = self.training_episode(meta_batch=2)
        history = learner.fit(repeated(episode, labels, 3), verbose=0, shuffle=False)
        assert np.isfinite(history.history["loss"][-1])
        assert np.isfinite(history.history["gradient_norm"][-1])
        assert logits_of(learner, self.spec.random_episode()[0]).dtype == np.float32

    def assert_same(self, actual: np.ndarray, expected: np.ndarray) -> None:
        scale = max(1.0, float(np.max(np.abs(expected))))
        np.testing.assert_allclose(actual, expected, atol=self.tolerance * scale)


HALF = ("mixed_bfloat16", "mixed_float16")
#: Of a learner of classes.
SERVED = ("support_images", "support_labels", "query_images")


def pytest_generate_tests_for(metafunc) -> None:
    """Runs each test of a contract once for each variant; called by conftest."""
    contract = metafunc.cls
    if not (contract and issubclass(contract, LearnerContract)):
        return
    if "variant" not in metafunc.fixturenames:
        return
    variants = contract.variants
    names = ["-".join(f"{k}={v}" for k, v in v.items()) or "default" for v in variants]
    if "policy" in metafunc.fixturenames:
        # The first variant in both half precisions, the others in one and the other in turn.
        cases = [(0, HALF[0]), *((i, HALF[(i + 1) % 2]) for i in range(len(variants)))]
        metafunc.parametrize(
            ("variant", "policy"),
            [(variants[i], policy) for i, policy in cases],
            ids=[f"{names[i]}-{policy}" for i, policy in cases],
        )
        return
    metafunc.parametrize("variant", variants, ids=names)


def generic(learner: keras.Model, seed: int = 5) -> keras.Model:
    """A learner whose weights and moving averages have no special values."""
    rng = np.random.default_rng(seed)
    for weight in learner.weights:
        noise = rng.normal(0.0, 0.1, weight.shape)
        weight.assign(weight.numpy() + (np.abs(noise) if "variance" in weight.path else noise))
    return learner


def served_names(learner: keras.Model) -> tuple[str, str, str]:
    """The keys of an episode that a learner is asked with."""
    objective = learner.objective
    return objective.support_inputs, objective.support_targets, objective.query_inputs


def answered(learner: keras.Model, episode: Episode, labels: np.ndarray) -> tuple[float, float]:
    """Loss, and accuracy or error, in inference mode."""
    outputs = learner(episode, training=False)
    scores = learner.objective.scores(labels, outputs[learner.objective.output].numpy())
    return float(learner.compute_loss(episode, labels, outputs)), float(np.mean(scores))


def logits_of(learner: keras.Model, episode: Episode) -> np.ndarray:
    """Logits, or what the outputs are called, in inference mode."""
    return learner(episode, training=False)[learner.objective.output].numpy()


def loss_gradients(
    learner: keras.Model, episode: Episode, labels: np.ndarray
) -> dict[str, np.ndarray | None]:
    """Gradient of the training loss for each trainable weight, by a key of its own."""
    with tf.GradientTape() as tape:
        loss = learner.compute_loss(episode, labels, learner(episode, training=True))
    gradients = tape.gradient(loss, learner.trainable_weights)
    return {
        f"{index}:{weight.path}": None if gradient is None else gradient.numpy()
        for index, (weight, gradient) in enumerate(
            zip(learner.trainable_weights, gradients, strict=True)
        )
    }


def with_padding(episode: Episode, rows: int) -> Episode:
    """The episode with noise behind its support set, masked."""
    rng = np.random.default_rng(7)
    key = next(name for name in ("support_images", "support_inputs") if name in episode)
    batch, size = episode[key].shape[:2]
    padded = {**episode, "support_mask": np.arange(size + rows)[None].repeat(batch, 0) < size}
    for name in (name for name in episode if name.startswith("support_")):
        value = episode[name]
        noise = np.zeros((batch, rows, *value.shape[2:]), value.dtype)
        if name == key or value.dtype.kind == "f":
            noise = (255 * rng.uniform(size=noise.shape)).astype(value.dtype)
        padded[name] = np.concatenate([value, noise], axis=1)
    return padded


def repeated(episode: Episode, labels: np.ndarray, steps: int) -> tf.data.Dataset:
    """The same meta-batch, `steps` times."""
    return tf.data.Dataset.from_tensors((episode, labels)).repeat(steps)
