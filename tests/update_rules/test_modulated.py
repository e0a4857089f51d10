"""ModGrad's update rule, on a loss of two weights in double precision."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.gradients import InnerLoss, inner_loop
from kfsl.update_rules.modulated import Modulated
from kfsl.update_rules.sgd import SGD

START = [tf.constant([0.3, -1.2, 0.7], "float64"), tf.constant([[0.5], [-0.4]], "float64")]


def toy_loss(weights, step):
    del step
    first, second = weights
    return tf.reduce_sum(tf.sin(first) * first) + tf.reduce_sum(tf.exp(second)) * first[0]


def ones(context):
    del context
    return [tf.ones_like(weight) for weight in START]


def task_dependent(context):
    """Factors with zeros, which depend on both entries of the context."""
    factors = tf.stack([1.0 + context[0], 0.0 * context[0], tf.exp(context[1])])
    return [factors, tf.stack([[context[0] * context[1] + 2.0], [0.5 - context[1]]])]


def run(modulation, rate=0.1, steps=2, form="paper", **arguments):
    rule = Modulated(modulation, rate, context_size=2, form=form)
    weights, losses = inner_loop(toy_loss, START, rule, steps, **arguments)
    return [weight.numpy() for weight in weights], losses.numpy()


def sgd(rates, steps=2):
    weights, losses = inner_loop(toy_loss, START, SGD(rates), steps)
    return [weight.numpy() for weight in weights], losses.numpy()


def assert_equal(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_constant_factors_are_gradient_descent():
    assert_equal(run(ones)[0], sgd(0.1)[0])
    np.testing.assert_allclose(run(ones)[1], sgd(0.1)[1])
    assert_equal(run(lambda v: [0.3 * m for m in ones(v)])[0], sgd(0.03)[0])


def test_factors_without_context_are_meta_sgd():
    rates = [tf.constant([0.1, 0.0, 2.0], "float64"), tf.constant([[0.5], [1.5]], "float64")]
    assert_equal(run(lambda v: rates, rate=0.2)[0], sgd([0.2 * rate for rate in rates])[0])


def test_no_factors_no_step():
    def zeros(context):
        return [0.0 * (context[0] + one) for one in ones(context)]

    assert_equal(run(zeros)[0], START)
    inner = InnerLoss(toy_loss)
    rule = Modulated(zeros, 0.1, 2)
    _, gradients = inner.value_and_grad(START)
    context, value = rule.refined(inner, START, gradients, tf.zeros((2,), "float64"))
    np.testing.assert_allclose(context, 0.0)
    np.testing.assert_allclose(value, toy_loss(START, 0))


def test_scaling_rate_and_factors():
    # The context's gradient does not change either: it sees rate * M alone.
    scaled = run(lambda v: [m / 4.0 for m in task_dependent(v)], rate=0.4)
    assert_equal(scaled[0], run(task_dependent)[0])


def by_hand(modulation, start, gradients, refinements, rate=0.1):
    """Weights after context refinements by central differences, and the last context."""

    def moved(context):
        factors = modulation(tf.constant(context))
        return [w - rate * m * g for w, m, g in zip(start, factors, gradients, strict=True)]

    context = np.zeros(2)
    for _ in range(refinements):
        differences = [
            toy_loss(moved(context + 1e-5 * d), 0) - toy_loss(moved(context - 1e-5 * d), 0)
            for d in np.eye(2)
        ]
        context = -np.array(differences) / 2e-5
    return moved(context), context


def toy_gradients(weights):
    return InnerLoss(toy_loss).value_and_grad(weights)[1]


def test_two_steps_of_the_paper_by_hand():
    weights = START
    for _ in range(2):
        weights, context = by_hand(task_dependent, weights, toy_gradients(weights), 1)
        assert np.all(np.abs(context) > 1e-3)
    for actual, expected in zip(run(task_dependent)[0], weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-8)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_steps_of_the_code_by_hand(steps):
    # 2K factors, the first without context: 2K - 1 refinements, from the first weights.
    expected, _ = by_hand(task_dependent, START, toy_gradients(START), 2 * steps - 1)
    for actual, one in zip(run(task_dependent, steps=steps, form="code")[0], expected, strict=True):
        np.testing.assert_allclose(actual, one, rtol=1e-7)


def test_the_forms_agree_on_one_step_alone():
    assert_equal(run(task_dependent, steps=1)[0], run(task_dependent, steps=1, form="code")[0])
    paper, code = (run(task_dependent, form=form)[0] for form in ("paper", "code"))
    assert np.max(np.abs(paper[0] - code[0])) > 1e-3


@pytest.mark.parametrize("form", ["paper", "code"])
def test_loop_equals_unrolled_steps_and_losses_come_before_each(form):
    weights, losses = run(task_dependent, steps=3, form=form)
    looped, looped_losses = run(task_dependent, steps=tf.constant(3), form=form)
    assert_equal(looped, weights)
    np.testing.assert_allclose(looped_losses, losses)
    expected = [toy_loss(run(task_dependent, steps=k, form=form)[0], 0) for k in range(3)]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


SEED = tf.constant([3, 4], tf.int64)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_noise_enters_before_the_modulation_and_is_drawn_once_a_step(form, monkeypatch):
    seen = []
    moved = Modulated.moved
    monkeypatch.setattr(
        Modulated, "moved", lambda *a: seen.append([g.numpy() for g in a[2]]) or moved(*a)
    )
    noisy, _ = run(task_dependent, steps=1, form=form, noise=0.5, seed=SEED)
    for gradients in seen[1:]:
        assert_equal(gradients, seen[0])
    assert np.all(np.abs(seen[0][0] - toy_gradients(START)[0]) > 1e-3)
    clean, _ = run(task_dependent, steps=1, form=form)
    assert noisy[0][1] == clean[0][1] == START[0][1]  # Where the factor is 0.
    assert np.min(np.abs(noisy[0] - clean[0])[[0, 2]]) > 1e-3
    silent, _ = run(task_dependent, steps=1, form=form, noise=0.0, seed=SEED)
    assert_equal(silent, clean)


def test_unknown_form():
    with pytest.raises(ValueError, match="form"):
        Modulated(ones, 0.1, 2, form="both")
