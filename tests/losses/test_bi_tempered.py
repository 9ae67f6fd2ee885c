"""What is particular to bi_tempered: the normaliser, its implicit derivative, the series near p = 1."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax.losses import _bi_tempered, bi_tempered
from tests.losses import formulas

LOGITS = 2 * np.random.default_rng(3).normal(size=(6, 4))
LABELS = np.arange(6, dtype=np.int32) % 4


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0))
def total_probability(z, s):
    return jnp.exp(_bi_tempered._tempered_log_probabilities(z, s)).sum(axis=-1)


def hard_logits(num_classes, dtype):
    """Ties, groups of classes far apart, and random logits on every scale."""
    rng = np.random.default_rng(0)
    random = [scale * rng.normal(size=num_classes) for scale in (1e-3, 1, 30, 1e3, 1e4)]
    groups = [
        np.where(np.arange(num_classes) < size, 0.0, -gap)
        for size in (1, num_classes // 2, num_classes)
        for gap in (1e-3, 1, 10, 100, 1e4)
    ]
    return np.array([*random, *groups], dtype)


@pytest.mark.parametrize("num_classes", [2, 1000])
@pytest.mark.parametrize("precision", [32, 64])
def test_probabilities_sum_to_one(num_classes, precision):
    with jax.enable_x64(precision == 64):
        dtype = np.dtype(f"float{precision}")
        s = np.array([0, 1e-6, 1e-3, 0.1, 0.5, 1, 3, 10], dtype)
        total = total_probability(hard_logits(num_classes, dtype), s)
    # The rounding of 1000 terms.
    np.testing.assert_allclose(total, 1, atol=100 * np.finfo(dtype).eps)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["t1", "t2"])
def test_derivatives_of_first_and_second_order(name):
    # The gradient and its own derivative, along a direction in the logits and along a temperature.
    fixed, value = {"t1": ("t2", 0.7), "t2": ("t1", 1.4)}[name]
    other = {"t2": 1.5, "t1": 0.6}[fixed]
    direction, h = np.random.default_rng(4).normal(size=LOGITS.shape), 1e-5

    @jax.jit
    def gradient(z, t):
        return jax.grad(lambda z, t: bi_tempered(z, LABELS, **{name: t, fixed: other}).sum(), (0, 1))(z, t)

    tangents = jax.jit(lambda z, t: jax.jvp(gradient, (z, t), (direction, 1.0)))(LOGITS, value)[1]
    above, below = (gradient(LOGITS + sign * h * direction, value + sign * h) for sign in (1, -1))
    for tangent, a, b in zip(tangents, above, below, strict=True):
        np.testing.assert_allclose(tangent, (a - b) / (2 * h), rtol=1e-6, atol=1e-8)

    plain = jax.jit(lambda t: bi_tempered(LOGITS, LABELS, **{name: t, fixed: other}).sum())
    slope = (plain(value + h) - plain(value - h)) / (2 * h)
    np.testing.assert_allclose(gradient(LOGITS, value)[1], slope, rtol=1e-7)


def test_gradient_does_not_go_through_the_iterations():
    loss = lambda z: bi_tempered(z, LABELS).sum()  # noqa: E731
    loops = [str(jax.make_jaxpr(f)(LOGITS)).count("scan[") for f in (loss, jax.grad(loss))]
    assert loops == [1, 1]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("t1", [0.0, 0.5, 0.9, 1.0])
def test_relative_precision_near_p_1(t1):
    # The integral of x^-t1 (1 - x) from p to 1, by quadrature: both sides of where the series takes over.
    complement = np.array([1e-12, 1e-6, 1e-3, 0.05, 0.0999, 0.1001, 0.3, 0.9])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    y = complement[:, None] * (nodes + 1) / 2
    expected = complement / 2 * np.sum(weights * y * (1 - y) ** -t1, axis=1)
    got = _bi_tempered._divergence_at_label(np.log1p(-complement), complement, jnp.asarray(t1))
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_softmax_and_a_bounded_divergence():
    # t2 = 1, t1 = 0: half the squared error.
    value = jax.jit(functools.partial(bi_tempered, t1=0.0, t2=1.0))(LOGITS, LABELS)
    np.testing.assert_allclose(value, formulas.MSE.values(LOGITS, LABELS) / 2, rtol=1e-12)
