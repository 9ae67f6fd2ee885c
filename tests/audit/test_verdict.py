"""What is judged from the dynamics: against numpy, by hand, and where almost nothing is known."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import audit
from noisy_optax.audit import _dynamics, _verdict
from tests.audit import reference
from tests.audit.test_dynamics import LABELS, C, N, recorded


def stacked(replicas):
    return jax.tree.map(lambda *x: jnp.stack(x), *replicas)


def assert_same(verdict, expected):
    probability, score, suggested, disagreement = expected
    np.testing.assert_allclose(verdict.probability_wrong, probability, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(verdict.score, score, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(verdict.suggested, suggested)
    np.testing.assert_allclose(verdict.disagreement, disagreement, rtol=1e-6)


@pytest.mark.parametrize("epochs", [1, 4, 21])
def test_a_verdict_equals_one_in_numpy(epochs):
    found, expected = recorded(3, epochs)
    assert_same(jax.jit(audit.judge)(found, LABELS), reference.judge([expected], LABELS))


def test_replicas_are_judged_together():
    found, expected = zip(*(recorded(seed) for seed in range(4)), strict=True)
    verdict = audit.judge(stacked(found), LABELS)
    assert_same(verdict, reference.judge(expected, LABELS))
    in_two_axes = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), stacked(found))
    chex.assert_trees_all_equal(audit.judge(in_two_axes, LABELS), verdict)
    each = jax.vmap(audit.judge, (0, None))(stacked(found), LABELS)
    assert_same(jax.tree.map(lambda x: x[1], each), reference.judge(expected[1:2], LABELS))


def test_an_example_without_weight_is_judged_by_the_latest_record():
    logits = jnp.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    begun = audit.record(audit.init(4), jnp.array([0, 2]), logits, jnp.array([0, 0]))
    verdict = audit.judge(begun, np.array([0, 1, 0, 2]))
    assert np.argmax(verdict.probability_wrong) == np.argmax(verdict.score) == 2
    # Those that were never recorded are between the others.
    np.testing.assert_allclose(verdict.probability_wrong[jnp.array([1, 3])], 0.5)
    np.testing.assert_array_equal(verdict.suggested, [0, 1, 1, 2])
    # Each label is predicted from the start: no epoch has a weight.
    ended = audit.end_epoch(audit.record(audit.init(4), jnp.arange(4), 3 * jnp.eye(4), jnp.arange(4)))
    assert not np.any(ended.weight)
    verdict = audit.judge(ended, np.arange(4))
    assert not np.any(verdict.probability_wrong > 0.5)
    np.testing.assert_array_equal(verdict.suggested, np.arange(4))


def test_the_early_disagreement_is_that_after_a_tenth_of_the_epochs():
    shares = jnp.linspace(1, 0, _dynamics.EARLY_EPOCHS)
    for epochs, early in ((1, 0), (9, 0), (10, 1), (257, 25), (9999, 255)):
        dynamics = audit.init(N)._replace(epochs=jnp.array(epochs, jnp.int32), unpredicted=shares)
        assert audit.judge(dynamics, LABELS).disagreement == shares[early]


def test_epochs_past_the_early_ones_are_not_written():
    dynamics = audit.init(2)._replace(epochs=jnp.array(_dynamics.EARLY_EPOCHS, jnp.int32))
    ended = audit.end_epoch(audit.record(dynamics, jnp.arange(2), jnp.eye(2), jnp.arange(2)))
    assert ended.epochs == _dynamics.EARLY_EPOCHS + 1
    np.testing.assert_array_equal(ended.unpredicted, 1)


def test_the_early_disagreement_bounds_the_share_and_keeps_the_order():
    suspicions = jnp.linspace(-5.0, 4.6, 100)
    bounded = _verdict.no_more_than(suspicions, jnp.array(0.105))
    assert jnp.sum(bounded > 0) == 10
    assert (jnp.diff(bounded) > 0).all()
    np.testing.assert_array_equal(_verdict.no_more_than(suspicions, jnp.array(0.6)), suspicions)
    np.testing.assert_array_equal(_verdict.no_more_than(suspicions, jnp.array(1.0)), suspicions)
    assert not (_verdict.no_more_than(suspicions, jnp.array(0.0)) > 0).any()


def verdict_of(probability, disagreement=0.0):
    p = jnp.asarray(probability, jnp.float32)
    return audit.Verdict(p, p, jnp.zeros(p.shape, jnp.int32), jnp.array(disagreement))


def test_the_rate_and_its_error_by_hand():
    found = audit.noise_rate(verdict_of([0.0, 0.2, 0.9, 1.0]))
    error = np.sqrt(0.25 / 4 + ((0.2 + 0.1) / 4 / 2) ** 2)
    np.testing.assert_allclose(
        found, [0.5, error, 0.5 - 1.96 * error, 0.5 + 1.96 * error], rtol=1e-6, atol=1e-7
    )
    assert audit.noise_rate(verdict_of(np.zeros(9))) == (0, 0, 0, 0)
    assert audit.noise_rate(verdict_of([0.0, 0.2, 0.3], 0.9)).high == np.float32(0.9)
    assert audit.noise_rate(verdict_of([1.0, 0.7, 0.8])).high == 1


def test_what_is_misshapen_is_told():
    with pytest.raises(TypeError, match="labels must be integers, got float32"):
        audit.judge(audit.init(N), np.zeros(N, np.float32))
    with pytest.raises(
        ValueError, match=r"expected labels of shape \(24,\), one for each example, got \(3,\)"
    ):
        audit.judge(audit.init(N), np.zeros(C, int))
