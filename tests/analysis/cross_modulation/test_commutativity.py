"""How different `G(s, q)` and `G(q, s)` are, and what varies with the other stream."""

import numpy as np
import pytest

from kfsl.analysis.cross_modulation.commutativity import (
    commutativity_figure,
    commutativity_table,
    commutativity_values,
    generated,
    relative_difference,
    variances,
    with_equal_halves,
)
from kfsl.analysis.numbered_episode import numbered_episode
from kfsl.evaluation.evaluate import EVALUATION_SEED
from kfsl.figures.cross_modulation_weights import block_kernels
from tests.support import letters
from tests.support.cross_modulation_runs import CLASSES, letters_cross_modulation, letters_episode


@pytest.fixture(scope="module", params=CLASSES)
def learner(request):
    return letters_cross_modulation(request.param)


def test_relative_difference():
    a, b = np.zeros((1, 2, 2)), np.zeros((1, 2, 2))
    a[0, 0] = 3.0, 4.0
    assert relative_difference(a, b) == pytest.approx((5 / 2.5 + 0) / 2)
    b[0] = [[6.0, 8.0], [0.0, 1.0]]
    assert relative_difference(a, b) == pytest.approx((5 / 7.5 + 1 / 0.5) / 2)


def test_variance_left_with_the_own_image_fixed():
    rng = np.random.default_rng(0)
    own, other = rng.normal(size=(6, 1, 3)), rng.normal(size=(1, 4, 3))
    part, whole = variances(own + other)
    assert part == pytest.approx(other.var(axis=1).sum())
    assert whole == pytest.approx(part + own.var(axis=0).sum())
    assert variances(np.broadcast_to(own, (6, 4, 3)))[0] == pytest.approx(0.0)


def test_equal_halves_commute_exactly(learner):
    equal = with_equal_halves(learner)
    for modulation in equal.modulations:
        # 0 + a + b is 0 + b + a to the last bit; with a bias the sums are rounded apart.
        modulation.generator.bias.assign(np.zeros(8))
    for first, second in generated(equal, letters_episode()).values():
        assert np.any(first)
        np.testing.assert_array_equal(first, second)
    for first, second in generated(learner, letters_episode()).values():
        assert relative_difference(first, second) > 0.01
    halves = block_kernels(learner)["block2_bn"]
    assert np.any(halves["self"] != halves["cross"])  # The learner itself was not touched.


def test_both_orders_of_pairs_one_by_one(learner):
    """Chunks of queries are in their order, and padding is left out."""
    episode = letters_episode(shots=2)
    whole = generated(learner, episode)
    mask = np.array([[True, False] * 3])
    masked = generated(learner, {**episode, "support_mask": mask})
    for block, orders in whole.items():
        for order, values in enumerate(orders):
            assert values.shape == (12, 6, 8)
            np.testing.assert_array_equal(masked[block][order], values[:, mask[0]])
    one = {name: array[:, 7:8] for name, array in episode.items() if name == "query_images"}
    for block, orders in generated(learner, {**episode, **one}).items():
        for order, values in enumerate(orders):
            np.testing.assert_allclose(values[0], whole[block][order][7], atol=1e-5)


def test_nothing_varies_with_the_other_stream_without_cross_weights(store):
    learner = letters_cross_modulation()
    for modulation in learner.modulations:
        kernel = np.array(modulation.generator.kernel)
        kernel[4:] = 0.0
        modulation.generator.kernel.assign(kernel)
    learner.modulations[1].film.gamma_scale.assign(np.zeros(4))
    learner.modulations[1].film.beta_scale.assign(np.zeros(4))
    values = commutativity_values(
        letters.experiment(store, learner=learner), split="val", episodes=2, seed=0
    )
    for found in values["blocks"].values():
        for share in ("query_varies_with_support", "support_varies_with_query"):
            assert found["raw"][share] == pytest.approx(0.0, abs=1e-9)
            assert found["raw"]["difference"] > 0.01
    # Nothing is left of block 4 after its factors: no variance, and no share of it.
    silent = values["blocks"]["block4_bn"]["scaled"]
    assert (silent["difference"], silent["query_varies_with_support"]) == (0.0, None)
    assert commutativity_table(values).splitlines()[4].split() == [
        *("block4_bn", "scaled", "0.000", "±", "0.000", "0"),
    ]
    commutativity_figure(values)


def test_everything_varies_with_the_other_stream_without_self_weights(store):
    learner = letters_cross_modulation()
    modulation = learner.modulations[0]
    kernel = np.array(modulation.generator.kernel)
    kernel[:4] = 0.0
    modulation.generator.kernel.assign(kernel)
    values = commutativity_values(
        letters.experiment(store, learner=learner), split="val", episodes=2, seed=0
    )
    found = values["blocks"]["block2_bn"]["scaled"]
    for share in ("query_varies_with_support", "support_varies_with_query"):
        assert found[share] == pytest.approx(1.0)
    assert values["blocks"]["block4_bn"]["raw"]["equal_halves"] < 1e-5


def test_means_over_episodes(store, learner):
    experiment = letters.experiment(store, learner=learner)
    values = commutativity_values(experiment, split="val", episodes=2, seed=EVALUATION_SEED)
    differences, parts, wholes = [], [], []
    film = learner.modulations[1].film
    scales = np.concatenate([film.gamma_scale, film.beta_scale])
    for index in range(2):
        episode, _, _ = numbered_episode(experiment, "val", index)
        queries, supports = (order * scales for order in generated(learner, episode)["block4_bn"])
        for q in range(12):
            for s in range(3):
                a, b = queries[q, s], supports[q, s]
                norms = np.linalg.norm(a) + np.linalg.norm(b)
                differences.append(2 * np.linalg.norm(a - b) / norms)
        wholes.append(np.mean((supports - supports.mean(axis=(0, 1))) ** 2, axis=(0, 1)).sum())
        parts.append(np.mean((supports - supports.mean(axis=0)) ** 2, axis=(0, 1)).sum())
    found = values["blocks"]["block4_bn"]["scaled"]
    assert found["difference"] == pytest.approx(np.mean(differences), rel=1e-5)
    assert found["support_varies_with_query"] == pytest.approx(sum(parts) / sum(wholes), rel=1e-5)
    by_episode = np.mean(np.reshape(differences, (2, -1)), axis=1)
    expected = 1.96 * np.std(by_episode, ddof=1) / np.sqrt(2)
    assert found["interval"] == pytest.approx(expected, rel=1e-4)
