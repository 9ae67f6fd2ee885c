"""weighted_sum, and the combinations as hyper-parameters of one loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox
from noisy_optax import losses

LOGITS = (3 * np.random.default_rng(2).normal(size=(6, 5))).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 0], np.int32)
CE, MAE = losses.cross_entropy, losses.mean_absolute_error


def test_sum_with_axis_and_where():
    focal = functools.partial(losses.focal, gamma=2.0)
    where = np.array([True, True, False, True, False, True])
    total = jax.jit(functools.partial(losses.weighted_sum((CE, 0.25), (MAE, -1), (focal, 3.0)), axis=0))
    got = total(LOGITS.T, LABELS, where=where)
    expected = 0.25 * CE(LOGITS, LABELS) - MAE(LOGITS, LABELS) + 3 * focal(LOGITS, LABELS)
    np.testing.assert_allclose(got, np.where(where, expected, 0), rtol=1e-6)


def test_weights_may_be_traced_and_differentiated():
    @jax.jit
    def slope(weight):
        return jax.grad(lambda w: losses.weighted_sum((CE, 1.0), (MAE, w))(LOGITS, LABELS).sum())(weight)

    np.testing.assert_allclose(slope(2.0), MAE(LOGITS, LABELS).sum(), rtol=1e-6)


def test_weight_that_follows_a_schedule():
    robust = nox.scheduled(losses.nce_rce, alpha=optax.linear_schedule(1.0, 0.0, 2), beta=0.5)
    state = robust.init()
    for alpha in (1.0, 0.5, 0.0):
        state = robust.update(state, LOGITS, LABELS)
        expected = losses.nce_rce(LOGITS, LABELS, alpha=alpha, beta=0.5)
        np.testing.assert_allclose(robust.value(state, LOGITS, LABELS), expected, rtol=1e-6)


def test_the_softmax_they_share_is_computed_once():
    compiled = jax.jit(losses.weighted_sum((CE, 1.0), (MAE, 2.0), (losses.unhinged, 1.0))).lower(
        LOGITS, LABELS
    )
    alone = jax.jit(losses.weighted_sum((CE, 1.0), (MAE, 2.0))).lower(LOGITS, LABELS)
    # Exponentials over all classes, after common subexpressions were merged.
    counts = [low.compile().as_text().count("f32[6,5]{1,0} exponential") for low in (compiled, alone)]
    assert counts[0] == counts[1]


def test_class_weights_as_the_docstring_says():
    class_weights = jnp.array([1.0, 2.0, 0.5, 0.0, 1.0])
    labels = jnp.asarray(np.where(np.arange(6) == 3, -1, LABELS))
    weighted = class_weights[labels] * CE(LOGITS, labels)
    np.testing.assert_array_equal(np.isnan(weighted), np.arange(6) == 3)
    np.testing.assert_allclose(weighted[1], 2 * CE(LOGITS, LABELS)[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("terms", "error", "message"),
    [
        ((), ValueError, "expected at least one pair"),
        ((CE,), TypeError, "expected pairs of a loss and its weight"),
        (((CE, 1.0, 2.0),), TypeError, "expected pairs of a loss and its weight"),
        (((1.0, CE),), TypeError, "expected pairs of a loss and its weight"),
        (((CE, "1"),), TypeError, "weight must be a number, got '1'"),
        (((CE, float("nan")),), ValueError, r"weight must be in \(-inf, inf\), got nan"),
    ],
)
def test_bad_terms(terms, error, message):
    with pytest.raises(error, match=message):
        losses.weighted_sum(*terms)
