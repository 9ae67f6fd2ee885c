"""Bi-tempered logistic loss: a bounded divergence of a heavy-tailed softmax."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


@stated(bounded=True, symmetric=False)
def bi_tempered(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    t1: ArrayLike = 0.8,
    t2: ArrayLike = 1.2,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Bi-tempered logistic loss: bounded by t1 < 1, heavy-tailed by t2 > 1.

    $$\ell = -\log_{t_1} p_y - \frac{1 - \sum_k p_k^{2 - t_1}}{2 - t_1}, \qquad
      p_k = \exp_{t_2}(z_k - \lambda), \quad \sum_k p_k = 1$$

    where $\log_t x = (x^{1 - t} - 1)/(1 - t)$ and $\exp_t$ is its inverse. $t_1 = t_2 = 1$ is cross-entropy.
    The normaliser $\lambda(z)$ is exact up to rounding and differentiated implicitly. Some published code
    stops after five steps of a fixed-point iteration and differentiates through these steps.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      t1: in [0, 1]; the loss is bounded for t1 < 1.
      t2: >= 1; 1 is the softmax. The result is NaN where C^t2 overflows; at exactly 1 the derivative with
        respect to t2 is given as 0.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1 / (1 - t1)], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or t1 or t2 is out of range.

    References:
      Amid, Warmuth, Anil, Koren, Robust Bi-Tempered Logistic Loss Based on Bregman Divergences, NeurIPS 2019,
      arXiv 1906.03361.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.bi_tempered(logits, labels, t1=0.8, t2=1.2).round(3)
    Array([0.110..., 1.453...], dtype=float32)
    """
    check_range("t1", t1, at_least=0.0, at_most=1.0)
    check_range("t2", t2, at_least=1.0)
    z, is_label, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
    t1, t2 = jnp.asarray(t1, z.dtype), jnp.asarray(t2, z.dtype)
    log_p = _tempered_log_probabilities(z, t2 - 1)
    complement = -_label.expm1(_label.at_label(log_p, is_label))
    others = _label.over_others(jnp.exp((2 - t1) * log_p), is_label) / (2 - t1)
    divergence = _divergence_at_label(_label.at_label(log_p, is_label), complement, t1)
    return _label.finish(divergence + others + undefined, where)


# Newton's method below took at most 8 steps for t2 up to 50, 1000 classes and logits up to 1e4.
NEWTON_STEPS = 10
# For 1 - p < 0.1, to the precision of float64.
SERIES_TERMS = 14


def _tempered_log_probabilities(
    z: Float[Array, "... classes"], s: Float[Array, ""]
) -> Float[Array, "... classes"]:
    """log exp_t(z - lambda) for t = 1 + s."""
    possible = z != -jnp.inf
    is_top, distance = _label.distance_below_top(z)
    distance = jnp.where(possible, distance, jnp.zeros_like(z))
    excess = _normaliser(distance, s, possible, is_top)
    return jnp.where(possible, _log_exp(excess[..., None] + distance, s), -jnp.inf)


def _log_exp(x: Float[Array, "..."], s: Float[Array, ""]) -> Float[Array, "..."]:
    """log exp_t(-x) = -log(1 + s x) / s for t = 1 + s and x >= 0."""
    heavy = s > 0
    return jnp.where(heavy, -jnp.log1p(s * x) / jnp.where(heavy, s, jnp.ones_like(s)), -x)


@jax.custom_jvp
def _normaliser(
    distance: Float[Array, "... classes"],
    s: Float[Array, ""],
    possible: Bool[Array, "... classes"],
    is_top: Bool[Array, "... classes"],
) -> Float[Array, "..."]:
    """lambda minus the largest logit, for classes at `distance` below it.

    Newton's method on (1 - F^-s) / s = 0 with F the sum of the probabilities: concave and increasing, so
    that the steps from 0 never overshoot, and a straight line for s = 0 or equal logits.
    """

    def step(_, excess):
        log_total = jnp.log1p(_surplus(excess, distance, s, possible, is_top))
        bent = -_label.expm1(-s * log_total) / jnp.where(s > 0, s, jnp.ones_like(s))
        height = jnp.where(s > 0, bent, log_total)
        return excess + height * jnp.exp((1 + s) * log_total) / _steepness(excess, distance, s, possible)

    return jax.lax.fori_loop(0, NEWTON_STEPS, step, jnp.zeros_like(distance[..., 0]))


@_normaliser.defjvp
def _normaliser_jvp(primals, tangents):
    distance, s, possible, is_top = primals
    excess = _normaliser(distance, s, possible, is_top)

    def at_solution(distance, s):
        return _surplus(excess, distance, s, possible, is_top)

    _, change = jax.jvp(at_solution, (distance, s), tangents[:2])
    return excess, change / _steepness(excess, distance, s, possible)


def _surplus(excess: Array, distance: Array, s: Array, possible: Array, is_top: Array) -> Array:
    """The sum of the probabilities, less 1: exact when nearly all of it is the top class's."""
    log_p = _log_exp(excess[..., None] + distance, s)
    others = jnp.where(possible, jnp.exp(log_p), jnp.zeros_like(log_p))
    return jnp.sum(jnp.where(is_top, _label.expm1(log_p), others), axis=-1)


def _steepness(excess: Array, distance: Array, s: Array, possible: Array) -> Array:
    """Minus the derivative of the surplus with respect to the excess, the sum of p^t2."""
    powers = jnp.exp((1 + s) * _log_exp(excess[..., None] + distance, s))
    return jnp.sum(jnp.where(possible, powers, jnp.zeros_like(powers)), axis=-1)


def _divergence_at_label(log_p: Array, complement: Array, t1: Array) -> Array:
    """The integral of x^-t1 (1 - x) from p to 1, by its power series where the closed form would cancel."""
    near = complement < 0.1
    small = jnp.where(near, complement, jnp.zeros_like(complement))
    coefficient, power, series = jnp.ones_like(t1), small**2, jnp.zeros_like(small)
    for n in range(SERIES_TERMS):
        series += coefficient * power / (n + 2)
        coefficient, power = coefficient * (t1 + n) / (n + 1), power * small
    a = 1 - t1
    bounded = a > 0
    tempered_log = _label.expm1(a * log_p) / jnp.where(bounded, a, jnp.ones_like(a))
    minus_log = -jnp.where(bounded, tempered_log, log_p)
    return jnp.where(near, series, minus_log + _label.expm1((1 + a) * log_p) / (1 + a))
