"""with_logit_bias on both kinds of loss, and logit_bias against integrals done in other ways."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from noisy_optax import losses, ogc

B, C = 8, 5
LOGITS = (3 * np.random.default_rng(6).normal(size=(B, C))).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 0, 2, 4], np.int32)
BIASED = LOGITS + np.where(np.arange(C) == LABELS[:, None], np.float32(1.5), np.float32(0))
WHERE = np.array([True, False] * 4)


# --- with_logit_bias --------------------------------------------------------------------------------------


def test_bias_goes_to_the_label_on_the_class_axis_and_the_mask_along():
    loss = losses.with_logit_bias(losses.cross_entropy, 1.5)
    got = jax.jit(functools.partial(loss, axis=1))(
        np.moveaxis(LOGITS.reshape(4, 2, C), -1, 1), LABELS.reshape(4, 2), where=WHERE.reshape(4, 2)
    )
    expected = np.where(WHERE, losses.cross_entropy(BIASED, LABELS), 0)
    np.testing.assert_allclose(got, expected.reshape(4, 2), rtol=1e-6)


def test_no_bias_is_the_loss_itself():
    for loss in (losses.cross_entropy, functools.partial(losses.dynamics_aware, q=1.2, bootstrap_weight=0.5)):
        biased = losses.with_logit_bias(loss, 0.0)
        np.testing.assert_array_equal(jax.jit(biased)(LOGITS, LABELS), jax.jit(loss)(LOGITS, LABELS))


def test_bias_is_not_rounded_to_half_precision():
    loss = losses.with_logit_bias(losses.cross_entropy, 0.01)
    logits = jnp.array([[8.0, 8.0]], jnp.bfloat16)
    np.testing.assert_allclose(loss(logits, jnp.array([0])), np.log1p(np.exp(-0.01)), rtol=1e-6)


def test_traced_bias_and_its_derivative():
    def total(epsilon):
        return losses.with_logit_bias(losses.cross_entropy, epsilon)(LOGITS, LABELS).sum()

    value, slope = jax.jit(jax.value_and_grad(total))(1.5)
    np.testing.assert_allclose(value, losses.cross_entropy(BIASED, LABELS).sum(), rtol=1e-6)
    softmax = special.softmax(BIASED.astype(np.float64), axis=1)
    np.testing.assert_allclose(slope, np.sum(softmax[np.arange(B), LABELS] - 1), rtol=1e-5)


def test_a_robust_loss_sees_the_bias_in_update_and_value():
    base = functools.partial(losses.generalized_cross_entropy, q=0.5)
    plain = ogc.ogc_loss(base, learning_rate=0.1, update_every=1, queue_size=B)
    wrapped = losses.with_logit_bias(plain, 1.5)
    update, value = jax.jit(plain.update), jax.jit(plain.value)
    labels = np.where(np.arange(B) == 7, -1, LABELS)
    assert jax.tree.structure(wrapped.init()) == jax.tree.structure(plain.init())

    for where in (np.ones(B, bool), np.arange(B) > 0):
        expected = update(plain.init(), BIASED, labels, where=where)
        got = jax.jit(wrapped.update)(wrapped.init(), LOGITS, labels, where=where)
        # Queue, mixture and threshold are all about the biased p: not those of the plain logits.
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), got, expected)
        assert np.any(np.asarray(got.queue) != update(plain.init(), LOGITS, labels, where=where).queue)
        losses_got = jax.jit(wrapped.value)(got, LOGITS, labels, where=where)
        np.testing.assert_allclose(losses_got, value(expected, BIASED, labels, where=where), rtol=1e-6)
        np.testing.assert_array_equal(np.isnan(losses_got), np.arange(B) == 7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.zeros(2)])
def test_bias_is_a_finite_scalar(bad):
    with pytest.raises(ValueError, match="epsilon must be"):
        losses.with_logit_bias(losses.cross_entropy, bad)


# --- logit_bias -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("target", [0.51, 0.6, 0.99])
def test_solves_the_equation_integrated_over_every_logit(num_classes, target):
    epsilon = losses.logit_bias(num_classes, target_probability=target)
    # Gauss-Hermite in each of the logits, the first of which is the label's.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    logits = np.meshgrid(*[nodes] * num_classes, indexing="ij")
    density = functools.reduce(np.multiply.outer, [weights / weights.sum()] * num_classes)
    others = special.logsumexp(logits[1:], axis=0)
    np.testing.assert_allclose(
        np.sum(density * special.expit(logits[0] + epsilon - others)), target, rtol=1e-7
    )


@pytest.mark.parametrize(("num_classes", "target"), [(10, 0.146), (100, 0.10), (1000, 0.146)])
def test_solves_the_equation_by_simulation(num_classes, target):
    epsilon = losses.logit_bias(num_classes, target_probability=target)
    logits = np.random.default_rng(7).normal(size=(4_000_000 // num_classes, num_classes))
    p = special.expit(logits[:, 0] + epsilon - special.logsumexp(logits[:, 1:], axis=1))
    standard_error = p.std() / np.sqrt(len(p))
    assert abs(p.mean() - target) < 4 * standard_error
    # Narrow enough to see a bias that is off by a tenth.
    assert standard_error < 0.0025


def test_a_hundred_thousand_classes():
    epsilon = losses.logit_bias(100_000, target_probability=0.3)
    # So many others sum up to their mean; a single integral remains.
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    p = special.expit(nodes + epsilon - np.log(99_999) - 0.5)
    np.testing.assert_allclose(weights @ p / weights.sum(), 0.3, rtol=1e-4)


def test_targets_give_the_papers_values():
    mae, bounded_ce = losses.MEAN_ABSOLUTE_ERROR_TARGET, losses.BOUNDED_CROSS_ENTROPY_TARGET
    assert round(losses.logit_bias(10), 1) == 0.5
    assert losses.logit_bias(10) == losses.logit_bias(10, target_probability=mae)
    assert round(losses.logit_bias(100, target_probability=bounded_ce), 1) == 2.5


def test_a_class_among_equals_needs_none():
    for num_classes in (2, 10, 100_000):
        np.testing.assert_allclose(
            losses.logit_bias(num_classes, target_probability=1 / num_classes), 0, atol=1e-8
        )
    # With two classes a label starts at 0.5: a bias that lowers that would be worse than none.
    assert losses.logit_bias(2) == 0
    assert losses.logit_bias(2, target_probability=1e-6) == 0


def test_ends_of_the_range():
    # With two classes the bias adds to a difference of two normals: far out its spread does not matter.
    high = losses.logit_bias(2, target_probability=1 - 1e-6)
    assert 14 < high < 16
    assert 14 < losses.logit_bias(100_000, target_probability=1 - 1e-6) < 40


@pytest.mark.parametrize(
    ("num_classes", "target", "message"),
    [
        (1, 0.5, r"num_classes must be in \[2, inf\), got 1"),
        (10, 0.0, "target_probability must be in"),
        (10, 1.0, "target_probability must be in"),
    ],
)
def test_arguments_out_of_range(num_classes, target, message):
    with pytest.raises(ValueError, match=message):
        losses.logit_bias(num_classes, target_probability=target)
