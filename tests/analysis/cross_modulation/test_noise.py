"""Noise on the modulation: which block it falls on, and what is told of the accuracies."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines import pipeline
from kfsl.analysis.compared_learners import with_settings
from kfsl.analysis.cross_modulation.noise import noise_figure, noise_table, noise_values
from kfsl.analysis.request import AnalysisRequest
from kfsl.analyze import analyze
from kfsl.runs.evaluation_record import Evaluation
from tests.support import letters
from tests.support.cross_modulation_runs import (
    CLASSES,
    cross_modulation_run,
    letters_cross_modulation,
    letters_episode,
)


@pytest.fixture(scope="module", params=CLASSES)
def learner(request):
    return letters_cross_modulation(request.param)


def logits(learner, **settings):
    distorted = with_settings(learner, **settings) if settings else learner
    return np.asarray(distorted(letters_episode())["logits"])


def random_operations(learner):
    """Names of random operations in all functions of the graph of `infer`."""
    episode = letters_episode()
    features = learner.embed(episode["support_images"])
    state = learner.adapt(features, episode["support_labels"])
    queries = learner.embed(episode["query_images"])  # 12 queries, in chunks of 4.
    graph = tf.function(learner.infer).get_concrete_function(state, queries).graph
    definition = graph.as_graph_def()
    functions = [function.node_def for function in definition.library.function]
    nodes = [node for nodes in (definition.node, *functions) for node in nodes]
    return {node.op for node in nodes if "Random" in node.op}


def test_without_noise_nothing_is_drawn(learner):
    clean = logits(learner)
    np.testing.assert_array_equal(logits(learner, noise=0.0), clean)
    np.testing.assert_array_equal(logits(learner, noise=0.3, noisy=()), clean)
    assert random_operations(with_settings(learner, noise=0.3, noisy=())) == set()
    assert random_operations(with_settings(learner, noise=0.3, noisy=("block4_bn",)))


def test_seeds_decide_what_is_drawn(learner):
    first, again, other = (logits(learner, noise=0.3, noise_seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.all(first != other)


@pytest.mark.parametrize(("noisy", "other"), [(0, 1), (1, 0)])
def test_noise_falls_on_the_block_that_is_named(learner, noisy, other):
    silent = with_settings(learner)
    film = silent.modulations[noisy].film
    for scale in (film.gamma_scale, film.beta_scale):
        scale.assign(np.zeros(4))
    clean, names = logits(silent), silent.modulated
    # What is multiplied by zero cannot be distorted; the other block can.
    np.testing.assert_array_equal(logits(silent, noise=0.3, noisy=(names[noisy],)), clean)
    assert np.any(logits(silent, noise=0.3, noisy=(names[other],)) != clean)


def test_rows_of_the_table(store):
    learner = with_settings(letters_cross_modulation(), pairs_at_once=100)
    experiment = letters.experiment(store, learner=learner)
    episodes, query_labels = next(
        iter(
            pipeline.episodes(
                experiment.dataset, "val", experiment.sampler, seed=0, count=1, meta_batch=6
            )
        )
    )
    seen = []

    def evaluated(changed, split="val"):
        """Without a graph, whose compilation takes longer than all the rest."""
        learner = changed.learner
        right = np.argmax(learner(episodes)["logits"], axis=-1) == np.asarray(query_labels)
        accuracies = right.mean(axis=1).tolist()
        found = Evaluation(
            split=split, values=accuracies, ways=3, shots=1, queries=4, seed=0,
            dataset="letters", dataset_fingerprint="", episodes_fingerprint="",
            learner="", bn_policy="running", transductive=False,
        )  # fmt: skip
        seen.append((learner.noise, learner.noisy, learner.noise_seed, found))
        return found

    values = noise_values(experiment, evaluated, levels=(0.0, 9.0), noise_seeds=2, split="val")
    clean = seen[0][-1]
    blocks = ["block2_bn", "block4_bn"]
    sets = [["block2_bn"], ["block4_bn"], blocks]
    assert [row["noisy"] for row in values["rows"]] == sets * 2
    assert values["clean"] == {"accuracy": clean.mean, "interval": clean.interval}
    assert [call[:3] for call in seen] == [
        (0.0, (), 0),
        *((level, tuple(noisy), s) for level in (0.0, 9.0) for noisy in sets for s in (0, 2)),
    ]
    for row in values["rows"][:3]:  # Noise of 0 is no noise, to the last bit.
        assert (row["accuracy"], row["interval"]) == (clean.mean, clean.interval)
        assert row["change"] == {"mean": 0.0, "interval": 0.0}
        assert (row["by_seed"], row["spread"]) == ([clean.mean] * 2, 0.0)
    draws = [found.values for *_, found in seen[-2:]]
    row = values["rows"][-1]
    assert row["by_seed"] == [np.mean(draw) for draw in draws]
    assert row["spread"] == pytest.approx(np.std(row["by_seed"], ddof=1))
    means = np.mean(draws, axis=0)
    changes = means - clean.values
    half = 1.96 / np.sqrt(6)
    assert row["accuracy"] == pytest.approx(means.mean())
    assert row["interval"] == pytest.approx(half * means.std(ddof=1))
    assert row["change"]["mean"] == pytest.approx(changes.mean())
    assert row["change"]["interval"] == pytest.approx(half * changes.std(ddof=1))
    assert np.any(changes)

    lines = noise_table(values).splitlines()
    assert lines[0].split()[:3] == ["noise", *blocks]
    assert lines[1].split() == [f"{100 * clean.mean:.2f}", "±", f"{100 * clean.interval:.2f}"]
    assert [line.count("x") for line in lines[2:]] == [1, 1, 2] * 2
    assert lines[2].index("x") == lines[0].index("block2_bn")
    axes = noise_figure(values).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [*sets[0], *sets[1], "all"]


def test_bad_runs_and_levels_are_told_in_one_line(store, tmp_path):
    run = letters.trained_run(str(tmp_path / "run"), store)
    names = ("noise", "scales", "norms", "commutativity")
    for name in [f"cross_modulation_{name}" for name in names]:
        with pytest.raises(ValueError, match=r"^PrototypicalNetwork has no cross-modulation"):
            analyze(name, AnalysisRequest(run))
    with pytest.raises(ValueError, match="at least 0; received -1"):
        analyze("cross_modulation_noise", AnalysisRequest(run), levels=(-1.0,))
    batch = cross_modulation_run(str(tmp_path / "batch"), store, ("block4_bn",))
    binding = "letters_cross_modulation.bn_policy = 'batch'"
    with pytest.raises(ValueError, match="needs a run with bn_policy='running'; this one has 'ba"):
        analyze("cross_modulation_commutativity", AnalysisRequest(batch, (binding,)))
