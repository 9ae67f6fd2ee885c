"""Hyper-parameters of the losses: ranges, traced values, and limits where one loss becomes another."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses
from tests.losses import formulas

CE, MAE, GCE = losses.cross_entropy, losses.mean_absolute_error, losses.generalized_cross_entropy
PHUBER_CE, PHUBER_GCE = losses.phuber_cross_entropy, losses.phuber_generalized_cross_entropy

LOGITS = (3 * np.random.default_rng(2).normal(size=(8, 5))).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 0, 2, 4], np.int32)
NAN, INF = float("nan"), float("inf")
BOUNDED, DYNAMICS_AWARE = losses.bounded_cross_entropy, losses.dynamics_aware


def clip_slope(logits, labels, *, tau):
    return losses.clip_slope(CE, tau=tau)(logits, labels)


RANGES = [
    (
        GCE,
        "q",
        "(0.0, 1.0]",
        [0, 0.0, -0.1, 1.0001, 2, NAN, INF, -INF, np.float32(1.5), np.array([0.5, 1.5])],
    ),
    (PHUBER_CE, "tau", "(1.0, inf)", [1, 1.0, 0.5, 0, -2.0, NAN, INF, np.float64(0.9), np.array([2.0, 1.0])]),
    (PHUBER_GCE, "q", "(0.0, 1.0)", [0, 1, 1.0, -0.1, 1.5, NAN, INF, np.float32(1)]),
    (PHUBER_GCE, "tau", "(1.0, inf)", [1, 1.0, 0.5, -2, NAN, INF]),
    (BOUNDED, "beta", "[0.0, 1.0)", [-0.1, 1, 1.0, 2, NAN, INF]),
    (DYNAMICS_AWARE, "q", "(0.0, inf)", [0, -0.1, NAN, INF, np.array([0.5, 0.0])]),
    (DYNAMICS_AWARE, "bootstrap_weight", "[0.0, inf)", [-0.1, NAN, INF]),
    (clip_slope, "tau", "(0.0, inf)", [0, 0.0, -1, NAN, INF, np.float32(0), np.array([1.0, 0.0])]),
]

ABOVE_0, AT_LEAST_0 = ("(0.0, inf)", [0, -1.0, NAN, INF]), ("[0.0, inf)", [-0.1, NAN, INF])
OPEN_UNIT = ("(0.0, 1.0)", [0, 1, 1.0, -0.1, NAN, INF])
RANGES += [
    (losses.reverse_cross_entropy, "label_floor", *OPEN_UNIT),
    (losses.symmetric_cross_entropy, "alpha", *AT_LEAST_0),
    (losses.symmetric_cross_entropy, "beta", *AT_LEAST_0),
    (losses.symmetric_cross_entropy, "label_floor", *OPEN_UNIT),
    (losses.jensen_shannon, "weight", *OPEN_UNIT),
    (losses.asymmetric_generalized_cross_entropy, "a", *ABOVE_0),
    (losses.asymmetric_generalized_cross_entropy, "q", *ABOVE_0),
    (losses.asymmetric_unhinged, "a", "(1.0, inf)", [1, 0.5, NAN, INF]),
    (losses.asymmetric_unhinged, "q", *ABOVE_0),
    (losses.asymmetric_exponential, "a", *ABOVE_0),
    (losses.asymmetric_norm, "a", "(1.0, inf)", [1, 0.5, NAN, INF]),
    (losses.asymmetric_norm, "q", *ABOVE_0),
    (losses.normalized_focal, "gamma", *AT_LEAST_0),
    (losses.normalized_negative_cross_entropy, "min_probability", *OPEN_UNIT),
    (losses.normalized_negative_focal, "gamma", *AT_LEAST_0),
    (losses.normalized_negative_focal, "min_probability", *OPEN_UNIT),
    (losses.nce_rce, "alpha", *AT_LEAST_0),
    (losses.nce_rce, "beta", *AT_LEAST_0),
    (losses.nce_rce, "label_floor", *OPEN_UNIT),
    (losses.nce_agce, "alpha", *AT_LEAST_0),
    (losses.nce_agce, "beta", *AT_LEAST_0),
    (losses.nce_agce, "a", *ABOVE_0),
    (losses.nce_agce, "q", *ABOVE_0),
    (losses.nce_nnce, "alpha", *AT_LEAST_0),
    (losses.nce_nnce, "beta", *AT_LEAST_0),
    (losses.nce_nnce, "min_probability", *OPEN_UNIT),
    (losses.sparsity, "q", "(0.0, 1.0]", [0, 1.5, NAN]),
    (losses.cross_entropy_with_sparse_regularization, "weight", *AT_LEAST_0),
    (losses.cross_entropy_with_sparse_regularization, "temperature", *ABOVE_0),
    (losses.cross_entropy_with_sparse_regularization, "q", "(0.0, 1.0]", [0, 1.5, NAN]),
    (losses.logit_clip_cross_entropy, "max_norm", *ABOVE_0),
    (losses.eps_softmax_cross_entropy, "m", *AT_LEAST_0),
    (losses.bi_tempered, "t1", "[0.0, 1.0]", [-0.1, 1.1, NAN]),
    (losses.bi_tempered, "t2", "[1.0, inf)", [0.9, NAN, INF]),
]


@pytest.mark.parametrize(
    ("loss", "name", "interval", "bad"),
    [(loss, name, interval, bad) for loss, name, interval, values in RANGES for bad in values],
)
def test_out_of_range(loss, name, interval, bad):
    with pytest.raises(ValueError) as caught:
        jax.eval_shape(lambda z: loss(z, LABELS, **{name: bad}), LOGITS)
    assert str(caught.value) == f"{name} must be in {interval}, got {bad}"


@pytest.mark.parametrize(("loss", "name"), [(loss, name) for loss, name, _, _ in RANGES])
@pytest.mark.parametrize("bad", ["1.5", None, [1.5]])
def test_not_a_number(loss, name, bad):
    with pytest.raises(TypeError, match=f"{name} must be a number, got "):
        jax.eval_shape(lambda z: loss(z, LABELS, **{name: bad}), LOGITS)


@pytest.mark.parametrize(
    ("loss", "hyper"),
    [
        (GCE, {"q": 1}),
        (GCE, {"q": np.float64(1e-12)}),
        (PHUBER_CE, {"tau": np.nextafter(1.0, 2.0)}),
        (PHUBER_CE, {"tau": 10**6}),
        (PHUBER_GCE, {"q": 0.999, "tau": np.array(1.001)}),
        (GCE, {"q": np.float16(0.5)}),
        (BOUNDED, {"beta": 0}),
        (DYNAMICS_AWARE, {"q": 5, "bootstrap_weight": 0}),
    ],
)
def test_ends_of_the_range_and_numpy_numbers_are_accepted(loss, hyper):
    jax.eval_shape(lambda z: loss(z, LABELS, **hyper), LOGITS)


# Each hyper-parameter, the others fixed, with d value / d hyper in closed form, of (log p, hyper).
TRACED = {
    "gce q": (
        GCE,
        "q",
        [0.2, 0.5, 1.0],
        lambda log_p, q: -np.exp(q * log_p) * log_p / q - (1 - np.exp(q * log_p)) / q**2,
    ),
    # The value of a tangent at p moves with its slope by p_tau - p: where it touches, nothing changes.
    "phuber_ce tau": (
        PHUBER_CE,
        "tau",
        [1.5, 4.0, 20.0],
        lambda log_p, tau: np.maximum(1 / tau - np.exp(log_p), 0),
    ),
    "phuber_gce tau": (
        functools.partial(PHUBER_GCE, q=0.5),
        "tau",
        [1.5, 4.0, 20.0],
        lambda log_p, tau: np.maximum(tau**-2 - np.exp(log_p), 0),
    ),
    "dynamics_aware q": (
        DYNAMICS_AWARE,
        "q",
        [0.2, 1.0, 1.5],
        lambda log_p, q: -np.exp(q * log_p) * log_p / q - (1 - np.exp(q * log_p)) / q**2,
    ),
    "bounded_cross_entropy beta": (
        BOUNDED,
        "beta",
        [0.01, 0.5, 0.9],
        lambda log_p, beta: np.expm1(log_p) / (beta + (1 - beta) * np.exp(log_p)),
    ),
    "clip_slope tau": (
        clip_slope,
        "tau",
        [1.5, 4.0, 20.0],
        lambda log_p, tau: np.maximum(1 / tau - np.exp(log_p), 0),
    ),
}


@pytest.mark.parametrize("name", TRACED)
@pytest.mark.usefixtures("x64")
def test_traced_hyperparameters_under_jit_and_vmap_and_their_derivatives(name):
    loss, argument, values, derivative = TRACED[name]
    logits = LOGITS.astype(np.float64)
    log_p, _ = formulas.log_probability(logits, LABELS)

    # One jvp for the whole batch: each example has its own value.
    got = jax.jit(jax.vmap(jax.jacfwd(lambda value: loss(logits, LABELS, **{argument: value}))))(
        np.array(values)
    )
    np.testing.assert_allclose(got, [derivative(log_p, value) for value in values], rtol=1e-9, atol=1e-12)


def test_phuber_gce_is_differentiable_in_q():
    q, h = 0.5, 1e-2

    @jax.jit
    @jax.vmap
    def value_and_derivative(q):
        return jax.value_and_grad(lambda q: PHUBER_GCE(LOGITS, LABELS, q=q, tau=2.0).sum())(q)

    (above, _, below), (_, derivative, _) = value_and_derivative(np.array([q + h, q, q - h], np.float32))
    np.testing.assert_allclose(derivative, (above - below) / (2 * h), rtol=1e-3)


def scaled_exponential(logits, labels, *, a):
    return losses.weighted_sum((functools.partial(losses.asymmetric_exponential, a=a), a))(logits, labels)


ONE = formulas.OfLogits(lambda z, y: np.ones(len(z), complex))


@pytest.mark.parametrize(
    ("loss", "hyper", "limit"),
    [
        (GCE, {"q": 1e-9}, formulas.CROSS_ENTROPY),
        (GCE, {"q": 1.0}, formulas.MEAN_ABSOLUTE_ERROR),
        (PHUBER_CE, {"tau": 1e30}, formulas.CROSS_ENTROPY),
        (PHUBER_CE, {"tau": 1 + 1e-6}, formulas.MEAN_ABSOLUTE_ERROR),
        (PHUBER_GCE, {"q": 0.5, "tau": 1e15}, formulas.gce(0.5)),
        (PHUBER_GCE, {"q": 1e-9, "tau": 3.0}, formulas.phuber_ce(3.0)),
        (PHUBER_GCE, {"q": 0.999999, "tau": 1.5}, formulas.MEAN_ABSOLUTE_ERROR),
        (BOUNDED, {"beta": 0.0}, formulas.CROSS_ENTROPY),
        (BOUNDED, {"beta": 1e-30}, formulas.CROSS_ENTROPY),
        (DYNAMICS_AWARE, {"q": 1e-9}, formulas.CROSS_ENTROPY),
        (DYNAMICS_AWARE, {"q": 0.7}, formulas.gce(0.7)),
        (DYNAMICS_AWARE, {"q": 1.0}, formulas.MEAN_ABSOLUTE_ERROR),
        (losses.symmetric_cross_entropy, {"alpha": 1.0, "beta": 0.0}, formulas.CROSS_ENTROPY),
        (losses.taylor_cross_entropy, {"order": 1}, formulas.MEAN_ABSOLUTE_ERROR),
        (losses.jensen_shannon, {"weight": 1e-10}, formulas.CROSS_ENTROPY),
        (losses.asymmetric_generalized_cross_entropy, {"a": 1e-12, "q": 0.3}, formulas.gce(0.3)),
        (losses.asymmetric_generalized_cross_entropy, {"a": 2.0, "q": 1.0}, formulas.MEAN_ABSOLUTE_ERROR),
        (losses.asymmetric_unhinged, {"a": 2.0, "q": 1.0}, formulas.MEAN_ABSOLUTE_ERROR),
        (scaled_exponential, {"a": 1e7}, formulas.MEAN_ABSOLUTE_ERROR),
        (losses.asymmetric_norm, {"a": 2.0, "q": 1.0}, formulas.MAE.times(2)),
        (losses.normalized_focal, {"gamma": 0.0}, formulas.NCE),
        (losses.normalized_negative_focal, {"gamma": 0.0}, formulas.nnce()),
        (losses.sparsity, {"q": 1.0}, ONE),
        (losses.logit_clip_cross_entropy, {"max_norm": 1e6}, formulas.CROSS_ENTROPY),
        (losses.eps_softmax_cross_entropy, {"m": 0.0}, formulas.CROSS_ENTROPY),
        (losses.bi_tempered, {"t1": 1.0, "t2": 1.0}, formulas.CROSS_ENTROPY),
        (losses.bi_tempered, {"t1": 1 - 1e-7, "t2": 1 + 1e-7}, formulas.CROSS_ENTROPY),
    ],
)
def test_limits(loss, hyper, limit):
    value, pull_back = jax.vjp(lambda z: loss(z, LABELS, **hyper), LOGITS)
    (gradient,) = pull_back(jnp.ones_like(value))
    expected_value, expected_gradient = limit.evaluate(LOGITS, LABELS)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "hyper", "expected"),
    [
        # p = 1/5 for every class. By hand, from the formulas in the papers.
        (CE, {}, np.log(5)),
        (MAE, {}, 4 / 5),
        (GCE, {"q": 0.5}, 2 * (1 - 5**-0.5)),
        (GCE, {}, (1 - 5**-0.7) / 0.7),
        (PHUBER_CE, {"tau": 2.0}, np.log(2) + 1 - 2 / 5),
        (PHUBER_CE, {}, np.log(5)),
        (PHUBER_GCE, {"q": 0.5, "tau": 2.0}, 2 * (1 - 1 / 2) + 2 * (1 / 4 - 1 / 5)),
        (PHUBER_GCE, {}, (1 - 5**-0.7) / 0.7),
        (BOUNDED, {"beta": 0.5}, -np.log(0.6)),
        (BOUNDED, {}, -np.log(0.1 + 0.9 / 5)),
        # Equal probabilities have the entropy log C.
        (DYNAMICS_AWARE, {"q": 2.0, "bootstrap_weight": 0.5}, (1 - 1 / 25) / 2 + 0.5 / 2),
        (DYNAMICS_AWARE, {}, (1 - 5**-0.6) / 0.6),
        (losses.unhinged, {}, 4 / 5),
        (losses.reverse_cross_entropy, {}, 4 / 5 * 4 * np.log(10)),
        (losses.symmetric_cross_entropy, {}, 0.1 * np.log(5) + 4 / 5 * 4 * np.log(10)),
        (losses.taylor_cross_entropy, {}, 4 / 5 + (4 / 5) ** 2 / 2),
        # The mixture of label and prediction is 3/5 at the label and 1/10 elsewhere.
        (
            losses.jensen_shannon,
            {},
            (np.log(5 / 3) + np.log(1 / 3) / 5 + np.log(2) * 4 / 5) / np.log(2),
        ),
        (losses.asymmetric_generalized_cross_entropy, {"a": 1, "q": 2}, (2**2 - 1.2**2) / 2),
        (losses.asymmetric_unhinged, {"a": 2, "q": 2}, (1.8**2 - 1) / 2),
        (losses.asymmetric_exponential, {"a": 0.5}, np.exp(-0.4) - np.exp(-2)),
        (losses.asymmetric_norm, {"a": 2, "q": 2}, (1.8**2 + 4 * 0.2**2 - 1) / 2),
        (losses.mean_squared_error, {}, 0.8**2 + 4 * 0.2**2),
        (losses.normalized_cross_entropy, {}, 1 / 5),
        (losses.normalized_focal, {}, 1 / 5),
        (losses.normalized_negative_cross_entropy, {}, 4 / 5),
        (losses.normalized_negative_focal, {}, 4 / 5),
        (losses.nce_rce, {"alpha": 10, "beta": 0.1}, 2 + 0.08 * 4 * np.log(10)),
        (losses.nce_agce, {"alpha": 10, "beta": 0.1, "a": 1, "q": 2}, 2 + 0.05 * (2**2 - 1.2**2)),
        (losses.nce_nnce, {"alpha": 10, "beta": 1}, 2 + 4 / 5),
        (losses.sparsity, {"q": 0.5}, 5**0.5),
        (
            losses.cross_entropy_with_sparse_regularization,
            {"weight": 2, "temperature": 0.1, "q": 0.5},
            np.log(5) + 2 * 5**0.5,
        ),
        (losses.logit_clip_cross_entropy, {}, np.log(5)),
        (losses.eps_softmax_cross_entropy, {"m": 1}, -np.log(6 / 10)),
        (losses.bi_tempered, {"t1": 0.5, "t2": 3}, (1 - 5**-0.5) / 0.5 - (1 - 5**-0.5) / 1.5),
    ],
)
def test_by_hand_at_equal_logits(loss, hyper, expected):
    got = jax.jit(lambda z: loss(z, np.array([2]), **hyper))(np.full((1, 5), 7, np.float32))
    np.testing.assert_allclose(got, [expected], rtol=1e-6)


@pytest.mark.parametrize(("order", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_order_of_the_taylor_series_is_a_positive_integer(order, error):
    with pytest.raises(error):
        losses.taylor_cross_entropy(LOGITS, LABELS, order=order)


def test_clipped_logits_stay_below_the_bound_that_the_docstring_gives():
    # The worst logits: all of the norm against the label.
    worst = np.array([-4, 1, 1, 1, 1], np.float32) * np.array([[1e4], [1.0], [0.01]], np.float32)
    value = losses.logit_clip_cross_entropy(worst, np.zeros(3, np.int32), max_norm=3.0)
    bound = np.log(1 + 4 * np.exp(3 * np.sqrt(5 / 4)))
    np.testing.assert_allclose(value[:2], bound, rtol=1e-6)
    assert value[2] < bound
