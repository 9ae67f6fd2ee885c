"""label_log_odds and label_log_probability, from which the losses of p are made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses
from noisy_optax.losses import _label
from tests.losses.formulas import log_probability

NAN, INF = np.nan, np.inf
WHERE = np.array([True, False] * 6)
ROWS = [
    # logits, label, log-odds, log p
    ([0, 0, 0], 0, -np.log(2), -np.log(3)),
    ([30, 0, -INF], 0, 30, -np.log1p(np.exp(-30))),
    ([30, 0, -INF], 1, -30, -30 - np.log1p(np.exp(-30))),
    ([1e4, -1e4, -INF], 0, 2e4, 0),
    ([1e4, -1e4, -INF], 1, -2e4, -2e4),
    ([3, -INF, -INF], 0, INF, 0),
    ([-INF, 3, 0], 0, -INF, -INF),
    ([-INF, -INF, -INF], 0, NAN, NAN),
    ([NAN, 0, 0], 1, NAN, NAN),
    ([INF, 0, 0], 1, NAN, NAN),
    ([0, 0, 0], -1, NAN, NAN),
    ([0, 0, 0], 3, NAN, NAN),
]
LOGITS = np.array([row[0] for row in ROWS], np.float32)
LABELS = np.array([row[1] for row in ROWS], np.int32)


@pytest.mark.parametrize(
    ("function", "column"), [(losses.label_log_odds, 2), (losses.label_log_probability, 3)]
)
def test_by_hand_and_masked(function, column):
    @jax.jit
    def value_and_gradient(where):
        values, pull_back = jax.vjp(lambda z: function(z, LABELS, where=where), LOGITS)
        return values, pull_back(jnp.ones_like(values))[0]

    expected = np.array([row[column] for row in ROWS])
    values, gradient = value_and_gradient(np.ones(12, bool))
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert np.all(np.isnan(gradient[-2:]))

    values, gradient = value_and_gradient(WHERE)
    np.testing.assert_allclose(values[WHERE], expected[WHERE], rtol=1e-6)
    assert np.all(np.isfinite(values[~WHERE]))
    np.testing.assert_array_equal(gradient[~WHERE], 0)
    if function is losses.label_log_probability:
        np.testing.assert_array_equal(values[~WHERE], 0)


@pytest.mark.usefixtures("x64")
def test_gradient_of_log_probability():
    logits = 5 * np.random.default_rng(4).normal(size=(20, 6))
    labels = np.arange(20) % 6
    gradient = jax.jit(jax.grad(lambda z: losses.label_log_probability(z, labels).sum()))(logits)
    np.testing.assert_allclose(gradient, log_probability(logits, labels)[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_label_against_the_others_and_what_they_have(label):
    # The largest logit first, last and shared; the others far enough below that 1 - p is far below rounding.
    logits = np.array([[50, 0, -3], [-3, 0, 20], [1, 1, -60], [0.1, 0, -0.1], [0, -INF, 1]], np.float32)
    mark = np.broadcast_to(np.arange(3) == label, logits.shape)
    split = jax.jit(_label.against_others)(logits, mark)
    log_p = np.stack([log_probability(logits, np.full(5, k))[0] for k in range(3)], axis=1)
    others = np.where(mark, -INF, log_p)
    np.testing.assert_allclose(split.log_odds, log_p[:, label] - np.log(np.exp(others).sum(1)), rtol=1e-6)
    # Near p = 1 the others' log p are rounded, as the docstring says; the label's is not.
    np.testing.assert_allclose(split.log_probabilities(), others, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(split.power_sum(0.7), np.exp(0.7 * others).sum(1), rtol=1e-5)


def test_nothing_beside_the_label():
    split = _label.against_others(jnp.array([[2.0, -INF], [0.0, -INF]]), jnp.array([[True, False]] * 2))
    np.testing.assert_array_equal(split.log_odds, INF)
    np.testing.assert_array_equal(split.log_probabilities(), -INF)
    np.testing.assert_array_equal(split.power_sum(0.5), 0)


def test_log1mexp_at_both_ends():
    log_p = np.array([-1e-20, -1e-3, -0.5, -0.6931, -30, -90, -1e4], np.float32)
    value, slope = jax.vmap(jax.value_and_grad(_label.log1mexp))(log_p)
    exact = log_p.astype(np.float64)
    expected = np.log1p(-np.exp(np.minimum(exact, -0.5)))
    expected = np.where(exact > -0.5, np.log(-np.expm1(exact)), expected)
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(slope, -np.exp(exact) / -np.expm1(exact), rtol=1e-5, atol=1e-37)
    assert jax.value_and_grad(_label.log1mexp)(0.0) == (np.finfo(np.float32).min, 0)
