"""The relative loss and the logit clip, by their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisy_optax as nox
from noisy_optax.losses import max_logit_norm, with_logit_clip
from noisy_optax.losses import relative_generalized_cross_entropy as relative


def softmax(z):
    exponentials = np.exp(z - z.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@pytest.fixture
def batch():
    logits = np.random.default_rng(0).normal(0, 3, (32, 5))
    return logits, np.random.default_rng(1).integers(0, 5, 32)


@jax.jit
def value_and_gradient(logits, labels, q):
    return jax.value_and_grad(lambda z: jnp.sum(relative(z, labels, q=q)))(logits)


@pytest.mark.parametrize("q", [0.0, 1e-6, 0.3, 1.0])
def test_value_and_gradient_are_those_of_the_formula(x64, batch, q):
    logits, labels = batch
    p = softmax(logits)
    of_label, top = p[np.arange(32), labels], p.max(axis=-1)
    losses = (1 - of_label**q) / (q * top**q) if q else -np.log(of_label)
    weight = (of_label / top) ** q
    value, gradient = value_and_gradient(logits, labels, q)
    np.testing.assert_allclose(value, losses.sum(), rtol=1e-9)
    np.testing.assert_allclose(gradient, weight[:, None] * (p - np.eye(5)[labels]), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("level", [0.0, 8176.0, -3e4])
def test_a_level_that_all_logits_share_costs_no_digits(level):
    found = relative(np.full((1, 7), level, np.float32), np.array([3]), q=0.7)
    np.testing.assert_allclose(found, (7**0.7 - 1) / 0.7, rtol=1e-6)


def test_an_undecided_model_learns_as_from_cross_entropy():
    # Whatever the number of classes, of which generalized cross-entropy takes a power.
    logits, label = jnp.zeros((1, 1000)), jnp.array([7])
    _, gradient = value_and_gradient(logits, label, 1.0)
    _, of_cross_entropy = value_and_gradient(logits, label, 0.0)
    np.testing.assert_allclose(gradient, of_cross_entropy, rtol=1e-6)


def test_logits_are_clipped_so_that_no_class_is_certain():
    for classes in (2, 10, 1000):
        limit = max_logit_norm(classes)
        # The surest of its label that logits of that norm can be: they sum to 0.
        surest = np.where(np.arange(classes) == 0, classes - 1.0, -1.0) / np.sqrt(classes * (classes - 1.0))
        assert softmax(limit * surest)[0] == pytest.approx(0.88)
        label = jnp.array([0])
        inside, outside = (
            with_logit_clip(relative, limit)(jnp.asarray([scale * limit * surest]), label)
            for scale in (1.0, 50.0)
        )
        np.testing.assert_allclose(inside, outside, rtol=1e-5)
    assert max_logit_norm(10) == pytest.approx(3.975, abs=1e-3)


def test_max_logit_norm_refuses_probabilities_that_cannot_be_limits():
    with pytest.raises(ValueError, match="max_probability must be in"):
        max_logit_norm(10, max_probability=0.1)


def test_clipped_logits_reach_both_parts_of_a_robust_loss():
    inner = nox.ogc.ogc_loss(learning_rate=0.1, update_every=1, queue_size=4)
    robust = with_logit_clip(inner, 1.0)
    logits, labels = jnp.array([[9.0, 0.0], [0.0, 5.0], [jnp.nan, 1.0], [0.3, 0.4]]), jnp.zeros(4, int)
    norms = jnp.linalg.norm(logits, axis=-1, keepdims=True)
    clipped = logits / jnp.maximum(norms, 1.0)
    losses, state = robust.apply(robust.init(), logits, labels)
    expected, expected_state = inner.apply(inner.init(), clipped, labels)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    np.testing.assert_allclose(state.queue, expected_state.queue, rtol=1e-6)
    np.testing.assert_array_equal(state.valid, [True, True, False, True])
