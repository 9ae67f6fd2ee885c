"""Asymmetric losses: tolerant to label noise as long as the true class remains the most frequent one."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


def asymmetric_generalized_cross_entropy_of_log_odds(
    log_odds: Float[Array, "..."], *, a: ArrayLike, q: ArrayLike
) -> Float[Array, "..."]:
    """((a + 1)^q - (a + p)^q) / q."""
    a, q = jnp.asarray(a, log_odds.dtype), jnp.asarray(q, log_odds.dtype)
    p = jnp.exp(_label.log_probability(log_odds))
    share = jnp.exp(_label.log_complement(log_odds)) / (a + 1)
    # log((a + p) / (a + 1)), from whichever of 1 - p and a + p is small.
    small = share < 0.5
    log_ratio = jnp.where(
        small, jnp.log1p(-jnp.where(small, share, jnp.zeros_like(share))), jnp.log((a + p) / (a + 1))
    )
    return -((a + 1) ** q) * _label.expm1(q * log_ratio) / q


@stated(bounded=True, symmetric=False, of_log_odds=asymmetric_generalized_cross_entropy_of_log_odds)
def asymmetric_generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    a: ArrayLike = 0.6,
    q: ArrayLike = 0.6,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Asymmetric generalized cross-entropy: generalized cross-entropy of a + p.

    $$\ell = \frac{(a + 1)^q - (a + p)^q}{q}, \qquad p = \mathrm{softmax}(z)_y$$

    $a \to 0$ gives generalized cross-entropy, $q = 1$ mean absolute error.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      a: > 0; 0.6 in published code for CIFAR-10.
      q: > 0; 0.6 in published code for CIFAR-10.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, ((a + 1)^q - a^q) / q], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or a or q is out of range.

    References:
      Zhou, Liu, Jiang, Gao, Ji, Asymmetric Loss Functions for Learning with Noisy Labels, ICML 2021,
      arXiv 2106.03110.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.losses.asymmetric_generalized_cross_entropy
    >>> round(float(loss(jnp.zeros(2), jnp.array(0), a=1.0, q=2.0)), 3) # (2^2 - 1.5^2) / 2
    0.875
    """
    check_range("a", a, above=0.0)
    check_range("q", q, above=0.0)
    return _label.of_label(
        asymmetric_generalized_cross_entropy_of_log_odds, logits, labels, axis=axis, where=where, a=a, q=q
    )


def asymmetric_unhinged_of_log_odds(
    log_odds: Float[Array, "..."], *, a: ArrayLike, q: ArrayLike
) -> Float[Array, "..."]:
    """((a - p)^q - (a - 1)^q) / q as (a - p)^q times one minus the ratio, exact for small 1 - p."""
    complement = jnp.exp(_label.log_complement(log_odds))
    a, q = jnp.asarray(a, complement.dtype), jnp.asarray(q, complement.dtype)
    log_ratio = -jnp.log1p(complement / (a - 1))
    return -(((a - 1) + complement) ** q) * _label.expm1(q * log_ratio) / q


@stated(bounded=True, symmetric=False, of_log_odds=asymmetric_unhinged_of_log_odds)
def asymmetric_unhinged(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    a: ArrayLike = 5.5,
    q: ArrayLike = 3.0,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Asymmetric unhinged loss: a power of a - p.

    $$\ell = \frac{(a - p)^q - (a - 1)^q}{q}, \qquad p = \mathrm{softmax}(z)_y$$

    $q = 1$ gives mean absolute error.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      a: > 1; 5.5 in published code for CIFAR-10.
      q: > 0; 3 in published code for CIFAR-10.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, (a^q - (a - 1)^q) / q], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or a or q is out of range.

    References:
      Zhou, Liu, Jiang, Gao, Ji, Asymmetric Loss Functions for Learning with Noisy Labels, ICML 2021,
      arXiv 2106.03110.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.losses.asymmetric_unhinged
    >>> round(float(loss(jnp.zeros(2), jnp.array(0), a=2.0, q=2.0)), 3) # (1.5^2 - 1) / 2
    0.625
    """
    check_range("a", a, above=1.0)
    check_range("q", q, above=0.0)
    return _label.of_label(asymmetric_unhinged_of_log_odds, logits, labels, axis=axis, where=where, a=a, q=q)


def asymmetric_exponential_of_log_odds(log_odds: Float[Array, "..."], *, a: ArrayLike) -> Float[Array, "..."]:
    """e^(-p / a) - e^(-1 / a)."""
    a = jnp.asarray(a, log_odds.dtype)
    p, complement = jnp.exp(_label.log_probability(log_odds)), jnp.exp(_label.log_complement(log_odds))
    return -jnp.exp(-p / a) * _label.expm1(-complement / a)


@stated(bounded=True, symmetric=False, of_log_odds=asymmetric_exponential_of_log_odds)
def asymmetric_exponential(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    a: ArrayLike = 2.5,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Asymmetric exponential loss.

    $$\ell = e^{-p/a} - e^{-1/a}, \qquad p = \mathrm{softmax}(z)_y$$

    The papers omit the constant, so the minimum of their loss is $e^{-1/a}$. For large $a$, $a\,\ell$
    approaches mean absolute error.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      a: > 0; 2.5 in published code for CIFAR-10.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1 - e^(-1/a)], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or a is out of range.

    References:
      Zhou, Liu, Jiang, Gao, Ji, Asymmetric Loss Functions for Learning with Noisy Labels, ICML 2021,
      arXiv 2106.03110.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.asymmetric_exponential(jnp.zeros((1, 2)), jnp.array([0]), a=1.0).round(3)
    Array([0.239...], dtype=float32)
    """
    check_range("a", a, above=0.0)
    return _label.of_label(asymmetric_exponential_of_log_odds, logits, labels, axis=axis, where=where, a=a)


@stated(bounded=True, symmetric=False)
def asymmetric_norm(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    a: ArrayLike = 1.5,
    q: ArrayLike = 0.9,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Asymmetric norm: a power of the distance between a times the one-hot label and the prediction.

    $$\ell = \frac{\sum_k |a\,y_k - p_k|^q - (a - 1)^q}{q}
           = \frac{(a - p)^q - (a - 1)^q + \sum_{k \ne y} p_k^q}{q}$$

    where $p_k$ are all softmax probabilities and $p$ is the probability of the label.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      a: > 1.
      q: > 0.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses >= 0 and bounded (for q < 1 by a number that grows with C), float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or a or q is out of range.

    References:
      Zhou, Liu, Jiang, Gao, Ji, Asymmetric Loss Functions for Learning with Noisy Labels, ICML 2021,
      arXiv 2106.03110.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.losses.asymmetric_norm
    >>> round(float(loss(jnp.zeros(2), jnp.array(0), a=2.0, q=2.0)), 3) # (1.5^2 - 1 + 0.5^2) / 2
    0.75
    """
    check_range("a", a, above=1.0)
    check_range("q", q, above=0.0)
    against_others = _label.against_others(*_label.prepare(logits, labels, axis=axis, where=where))
    at_label = asymmetric_unhinged_of_log_odds(against_others.log_odds, a=a, q=q)
    at_others = against_others.power_sum(q)
    return _label.finish(at_label + at_others / jnp.asarray(q, at_others.dtype), where)
