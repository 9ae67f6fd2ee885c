"""What is particular to focal: its limits, a hand value, and probabilities of 0 and 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax.losses import cross_entropy, focal

LOG_ODDS = np.concatenate([[-1e4, -100], np.linspace(-20, 20, 41), [100, 1e4]]).astype(np.float32)


def of_log_odds(loss, log_odds, **options):
    """Values and derivatives at log-odds of the label: two classes, the other's logit 0."""

    def at(m):
        return loss(jnp.stack([m, jnp.zeros_like(m)]), jnp.int32(0), **options)

    return jax.jit(jax.vmap(jax.value_and_grad(at)))(log_odds)


def test_gamma_zero_is_cross_entropy():
    np.testing.assert_allclose(
        of_log_odds(focal, LOG_ODDS, gamma=0.0), of_log_odds(cross_entropy, LOG_ODDS), rtol=1e-6
    )


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0, 2.0])
def test_value_and_fully_differentiated_gradient(gamma):
    m = LOG_ODDS.astype(np.float64)
    log_p, log_q = -np.logaddexp(0, -m), -np.logaddexp(0, m)
    weight = np.exp(gamma * log_q)
    value, derivative = of_log_odds(focal, LOG_ODDS, gamma=gamma)
    np.testing.assert_allclose(value, -weight * log_p, rtol=2e-5, atol=1e-37)
    # d/dm of -(1 - p)^gamma log p, with dp/dm = p (1 - p).
    expected = weight * (gamma * np.exp(log_p) * log_p - np.exp(log_q))
    np.testing.assert_allclose(derivative, expected, rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_no_probability_elsewhere(gamma):
    logits = np.array([1.0, -np.inf, -np.inf], np.float32)
    value, gradient = jax.value_and_grad(lambda z: focal(z, jnp.int32(0), gamma=gamma))(logits)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_traced_gamma():
    logits, label = np.array([2.0, 0.0], np.float32), jnp.int32(1)
    slope = jax.grad(lambda gamma: focal(logits, label, gamma=gamma))(0.5)
    p = 1 / (1 + np.exp(2.0))
    np.testing.assert_allclose(slope, -np.sqrt(1 - p) * np.log(1 - p) * np.log(p), rtol=1e-5)


def test_refuses_negative_gamma():
    with pytest.raises(ValueError, match=r"gamma must be in \[0.0, inf\)"):
        focal(np.zeros(2, np.float32), jnp.int32(0), gamma=-0.5)
