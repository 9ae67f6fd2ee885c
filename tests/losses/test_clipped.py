"""What is particular to clip_slope and of_probability."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses

CE, MAE, GCE = losses.cross_entropy, losses.mean_absolute_error, losses.generalized_cross_entropy
SQRT = functools.partial(GCE, q=0.5)
LOG_LOSS = losses.of_probability(lambda p: -jnp.log(p))
BRIER = losses.of_probability(lambda p: (1 - p) ** 2)

LOG_ODDS = np.linspace(-15, 15, 61)


def value_and_slope(loss, log_odds):
    """Values, and slopes g = -dl/dp, at log-odds of the label: two classes, the other's logit 0."""

    def at(log_odds):
        logits = jnp.stack([log_odds, jnp.zeros_like(log_odds)], axis=-1)
        return loss(logits, jnp.zeros(log_odds.shape, int))

    values, pull_back = jax.vjp(at, log_odds)
    dp = jnp.exp(jax.nn.log_sigmoid(log_odds) + jax.nn.log_sigmoid(-log_odds))
    return values, -pull_back(jnp.ones_like(values))[0] / dp


def sigmoid(log_odds):
    return 1 / (1 + np.exp(-np.asarray(log_odds, np.float64)))


# base, its value and slope as functions of p, and tau: p_tau. Clipped in part, everywhere (1), nowhere (0).
CLIPPED = {
    "cross-entropy": (
        CE,
        lambda p: -np.log(p),
        lambda p: 1 / p,
        {0.5: 1.0, 1.0: 1.0, 1.01: 1 / 1.01, 4.0: 1 / 4, 1000.0: 1 / 1000},
    ),
    "square root": (
        SQRT,
        lambda p: 2 - 2 * p**0.5,
        lambda p: p**-0.5,
        {0.25: 1.0, 2.0: 1 / 4, 20.0: 1 / 400},
    ),
    "absolute error": (MAE, lambda p: 1 - p, np.ones_like, {0.5: 1.0, 1.0: 1.0, 1.001: 0.0, 50.0: 0.0}),
    "brier": (BRIER, lambda p: (1 - p) ** 2, lambda p: 2 * (1 - p), {0.2: 0.9, 1.0: 0.5, 3.0: 0.0}),
}


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, 64) for name in CLIPPED), ("cross-entropy", 32)],
)
def test_base_above_the_threshold_and_its_tangent_below(name, precision):
    base, value, slope, thresholds = CLIPPED[name]
    tau, p_tau = np.array(list(thresholds)), np.array(list(thresholds.values()))
    # Besides the grid, a hair to both sides of each threshold, where a jump would show.
    with np.errstate(divide="ignore"):
        border = np.clip(np.log(p_tau) - np.log1p(-p_tau), -14, 14)
    log_odds = np.concatenate([np.tile(LOG_ODDS, (len(tau), 1)), border[:, None] + [-1e-6, 1e-6]], axis=1)

    with jax.enable_x64(precision == 64):
        clipped = jax.jit(jax.vmap(lambda tau, m: value_and_slope(losses.clip_slope(base, tau=tau), m)))
        got, got_slope = clipped(jnp.asarray(tau, float), jnp.asarray(log_odds, float))

    rtol, atol = (1e-8, 1e-14) if precision == 64 else (1e-5, 3e-7)
    p, tau, p_tau = sigmoid(log_odds), tau[:, None], p_tau[:, None]
    at_threshold = value(np.maximum(p_tau, 1e-300))
    expected = np.where(p > p_tau, value(p), at_threshold + tau * (p_tau - p))
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
    np.testing.assert_allclose(got_slope, np.minimum(slope(p), tau), rtol=rtol, atol=atol)
    if precision == 64:
        # Across the border the loss falls with slope min(g, tau) and by nothing else.
        fall = np.minimum(slope(p[:, -2]), tau[:, 0]) * (p[:, -1] - p[:, -2])
        np.testing.assert_allclose(got[:, -2] - got[:, -1], fall, rtol=1e-4, atol=1e-15)


def test_line_keeps_its_relative_precision_near_p_1():
    log_odds = jnp.array([0.0, 3.0, 7.0, 15.0, 30.0, 60.0])
    line = losses.clip_slope(CE, tau=0.5)
    values, slopes = jax.jit(functools.partial(value_and_slope, line))(log_odds)
    np.testing.assert_allclose(values, 0.5 * sigmoid(-log_odds), rtol=1e-5)
    np.testing.assert_allclose(slopes, 0.5, rtol=1e-5)


def test_clipping_twice_is_clipping_at_the_smaller_slope():
    loss = losses.clip_slope(losses.clip_slope(CE, tau=10.0), tau=2.0)
    log_odds = jnp.asarray(LOG_ODDS, float)
    values, slopes = jax.jit(functools.partial(value_and_slope, loss))(log_odds)
    p = sigmoid(log_odds)
    np.testing.assert_allclose(
        values, np.where(p > 0.5, -np.log(p), np.log(2) + 1 - 2 * p), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(slopes, np.minimum(1 / p, 2), rtol=1e-5)


def test_threshold_is_solved_for_when_the_loss_is_made_unless_tau_is_traced():
    def step(log_odds, tau):
        return value_and_slope(losses.clip_slope(CE, tau=tau), log_odds)

    log_odds = jnp.asarray(LOG_ODDS, float)
    concrete = jax.make_jaxpr(functools.partial(step, tau=3.0))(log_odds)
    traced = jax.make_jaxpr(step)(log_odds, 3.0)
    loops = [any(loop in str(jaxpr) for loop in ("while[", "scan[")) for jaxpr in (concrete, traced)]
    assert loops == [False, True]


def normalised_cross_entropy(logits, labels, *, axis=-1, where=None):
    del axis, where
    log_p = jax.nn.log_softmax(logits)
    return jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0] / log_p.sum(axis=-1)


def nan_slope(p):
    # The branch not taken has no derivative, which `where` does not hide.
    return jnp.where(p < 2, 1 - p, jnp.sqrt(p - 2))


def named(name, function):
    loss = losses.of_probability(function)
    loss.__name__ = name
    return loss


def over_log_classes(logits, labels, *, axis=-1, where=None):
    return losses.cross_entropy(logits, labels, axis=axis, where=where) / np.log(logits.shape[axis])


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (named("concave", lambda p: 1 - p**2), "base must be convex in p on .*, which concave is not"),
        (
            named("gce_1.3", lambda p: (1 - p**1.3) / 1.3),
            "base must be convex in p on .*, which gce_1.3 is not",
        ),
        (named("increasing", lambda p: p), "base must decrease with p on .*, which increasing does not"),
        (named("valley", lambda p: (p - 0.6) ** 2), "base must decrease with p on .*, which valley does not"),
        (normalised_cross_entropy, "label's probability alone, which normalised_cross_entropy does not"),
        (over_log_classes, "label's probability alone, which over_log_classes does not"),
        (named("nan_slope", nan_slope), "base must have finite values and slopes .*, unlike nan_slope"),
    ],
)
def test_base_that_cannot_be_clipped(base, message):
    with pytest.raises(ValueError, match=message):
        losses.clip_slope(base, tau=2.0)(jnp.zeros((1, 2)), jnp.array([0]))


def test_of_probability_of_minus_log_is_cross_entropy():
    log_odds = jnp.asarray(LOG_ODDS, float)
    got, got_slopes = jax.jit(functools.partial(value_and_slope, LOG_LOSS))(log_odds)
    # p is rounded to a multiple of 2^-24 near p = 1.
    np.testing.assert_allclose(got, -np.log(sigmoid(log_odds)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(got_slopes, 1 / sigmoid(log_odds), rtol=1e-5)


def test_of_probability_never_shows_the_function_0_or_1():
    logits = np.array([[-1000, 0], [1000, 0], [-np.inf, 0], [0, -np.inf]], np.float32)
    p = jax.jit(losses.of_probability(lambda p: p))(logits, np.zeros(4, np.int32))
    assert np.all((p > 0) & (p < 1))
    np.testing.assert_allclose(p, [0, 1, 0, 1], atol=1e-7)


def test_a_base_with_a_traced_hyperparameter_is_refused_in_a_sentence():
    def loss(q):
        base = functools.partial(losses.generalized_cross_entropy, q=q)
        return losses.clip_slope(base, tau=2.0)(jnp.zeros((1, 2)), jnp.zeros(1, int))

    with pytest.raises(TypeError, match="hyper-parameters of a base must be numbers, not traced values"):
        jax.jit(loss)(0.5)


def test_tau_is_a_scalar():
    with pytest.raises(ValueError, match=r"tau must be a scalar, got shape \(2,\)"):
        losses.clip_slope(losses.cross_entropy, tau=np.array([2.0, 3.0]))
