"""The simpler operations give the same numbers, and nothing else is touched."""

import numpy as np
import pytest
import tensorflow as tf

from kfsl.serving.graph_rewrites import inserted_axes, product, simplify

VALUES = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
FREE = tf.TensorSpec((None, None, None), tf.float32)


@pytest.fixture
def rewritten(tmp_path):
    """A function of one tensor, saved, simplified and loaded; and the operations it has then."""

    def make(function, *variables):
        module, folder = tf.Module(), str(tmp_path / "model")
        module.variables_of_it = list(variables)
        module.call = tf.function(function, [FREE], autograph=False)
        tf.saved_model.save(module, folder)
        simplify(folder)
        loaded = tf.saved_model.load(folder)
        graph = loaded.call.get_concrete_function(FREE).graph.as_graph_def()
        nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
        return loaded, {node.op for node in nodes}

    return make


INSERTIONS = [
    lambda x: x[:, None],
    lambda x: x[..., None],
    lambda x: x[None],
    lambda x: x[:, None, :, None],
    lambda x: x[None, ..., None, :],
    lambda x: x[..., None, :, None],
    lambda x: x[:, None, None, ..., None],
]


@pytest.mark.parametrize("insertion", INSERTIONS)
def test_axes_are_inserted_where_they_were(rewritten, insertion):
    simple, operations = rewritten(insertion)
    assert "StridedSlice" not in operations
    assert "ExpandDims" in operations
    np.testing.assert_array_equal(simple.call(VALUES), insertion(VALUES))


SLICES = [lambda x: x[:, ::-1], lambda x: x[:, None, ::2], lambda x: x[1, None], lambda x: x[:, 1:]]


@pytest.mark.parametrize("cut", SLICES)
def test_slices_that_do_more_stay_what_they_are(rewritten, cut):
    kept, operations = rewritten(cut)
    assert "StridedSlice" in operations
    np.testing.assert_array_equal(kept.call(VALUES), cut(VALUES))


def test_axes_behind_an_ellipsis_count_from_the_end():
    assert inserted_axes([{"new_axis"}, {"ellipsis"}, {"new_axis"}, {"begin", "end"}]) == [0, -2]
    assert inserted_axes([{"begin", "end"}]) == []


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("ij,jk->ik", (2, 3), (3, 4)),
        ("bqshw,bshwc->bqsc", (2, 3, 4, 5, 6), (2, 4, 5, 6, 3)),
        ("bqhw,bqhwc->bqc", (2, 3, 4, 5), (2, 3, 4, 5, 6)),
        ("bnd,bdc->cnb", (2, 3, 4), (2, 4, 5)),
        ("i,j->ji", (3,), (4,)),
        ("ij,ij->", (3, 4), (3, 4)),
        ("ab,ab->ba", (3, 4), (3, 4)),
    ],
)
def test_a_contraction_is_one_product_of_matrices(equation, left, right):
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=shape) for shape in (left, right))
    found = product(equation)(tf.constant(a), tf.constant(b))
    np.testing.assert_allclose(found, np.einsum(equation, a, b), atol=1e-12)


@pytest.mark.parametrize("equation", ["ii,ij->j", "ij,k->k", "...i,ij->...j", "ij,jk->kk"])
def test_other_contractions_stay_what_they_are(equation):
    assert product(equation) is None


def test_loops_and_variables_stay(rewritten):
    weight = tf.Variable(VALUES[0])
    inner = tf.function(lambda x: tf.einsum("bij,jk->bik", x, tf.transpose(weight))[:, None])

    def outer(x):
        start = tf.zeros([tf.shape(x)[0], 1, tf.shape(x)[1], 3])
        step = lambda i, total: (i + 1, total + inner(x))  # noqa: E731
        return tf.while_loop(lambda i, _: i < 3, step, [0, start])[1]

    simple, operations = rewritten(outer, weight)
    assert "Einsum" not in operations
    assert "BatchMatMulV2" in operations
    expected = 3 * np.einsum("bij,jk->bik", VALUES, VALUES[0].T)[:, None]
    np.testing.assert_allclose(simple.call(VALUES), expected, rtol=1e-5)
    simple.variables_of_it[0].assign(2 * weight)
    np.testing.assert_allclose(simple.call(VALUES), 2 * expected, rtol=1e-5)
