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


def test_all_classes_keep_their_relative_precision_at_both_ends():
    # The largest logit first, last and shared; the others far enough below that 1 - p is far below rounding.
    logits = np.array([[50, 0, -3], [-3, 0, 20], [1, 1, -60], [0.1, 0, -0.1]], np.float32)

    def values_and_gradients(z):
        def weighted(z):
            # Each class on its own: the gradients of its two logarithms.
            log_p, log_complement = _label.class_log_probabilities(z)
            return jnp.stack([log_p, log_complement])

        return weighted(z), jax.jacrev(weighted)(z)

    got = jax.jit(jax.vmap(values_and_gradients))(logits)
    z = logits.astype(np.float64)
    columns = [log_probability(z, np.full(4, k)) for k in range(3)]
    log_p = np.stack([value for value, _ in columns], axis=1)
    p = np.exp(log_p)
    log_complement = np.where(p < 0.5, np.log1p(-np.minimum(p, 0.5)), np.log(p @ (1 - np.eye(3))))
    # log p itself is rounded by up to 4e-6 at -62.
    np.testing.assert_allclose(got[0], np.stack([log_p, log_complement], axis=1), rtol=4e-6)
    gradient = np.stack([slopes for _, slopes in columns], axis=1)
    odds = np.exp(log_p - log_complement)[..., None]
    np.testing.assert_allclose(got[1], np.stack([gradient, -odds * gradient], axis=1), rtol=1e-5, atol=1e-37)
