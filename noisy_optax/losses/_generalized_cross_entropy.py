"""Generalized cross-entropy and its limit, the mean absolute error."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


def mean_absolute_error_of_log_odds(log_odds: Float[Array, "..."]) -> Float[Array, "..."]:
    """1 - p."""
    return jnp.exp(_label.log_complement(log_odds))


@stated(bounded=True, symmetric=True, of_log_odds=mean_absolute_error_of_log_odds)
def mean_absolute_error(
    logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
) -> Float[Array, "..."]:
    r"""Mean absolute error between the one-hot label and the softmax probabilities.

    $$\ell = 1 - p, \qquad p = \mathrm{softmax}(z)_y$$

    The loss is bounded by 1 and symmetric (it sums to $C - 1$ over all labels), so it tolerates uniform label
    noise. Its gradient vanishes for small $p$, so it learns slowly, and barely learns with many classes.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1], float32 or wider, `[...]`. This is half of the L1 distance $2 - 2p$, as in the
      papers' code.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match.

    References:
      Ghosh, Kumar, Sastry, Robust Loss Functions under Label Noise for Deep Neural Networks, AAAI 2017,
      arXiv 1712.09482.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.mean_absolute_error(jnp.array([[2.0, 0.0], [0.0, 0.0]]), jnp.array([0, 1])).round(3)
    Array([0.119, 0.5  ], dtype=float32)
    """
    return _label.of_label(mean_absolute_error_of_log_odds, logits, labels, axis=axis, where=where)


def generalized_cross_entropy_of_log_odds(
    log_odds: Float[Array, "..."], *, q: ArrayLike
) -> Float[Array, "..."]:
    """(1 - p^q) / q."""
    q = jnp.asarray(q, log_odds.dtype)
    return -_label.expm1(q * _label.log_probability(log_odds)) / q


@stated(bounded=True, symmetric=False, of_log_odds=generalized_cross_entropy_of_log_odds)
def generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: ArrayLike = 0.7,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Generalized cross-entropy: between cross-entropy (q to 0) and mean absolute error (q = 1).

    $$\ell = \frac{1 - p^q}{q}, \qquad p = \mathrm{softmax}(z)_y$$

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      q: in (0, 1]; 0.7 in the paper.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1/q], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or q is out of range.

    References:
      Zhang, Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels,
      NeurIPS 2018, arXiv 1805.07836, eq. 6.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.generalized_cross_entropy(logits, labels, q=0.5).round(3)
    Array([0.123, 1.309], dtype=float32)
    """
    check_range("q", q, above=0.0, at_most=1.0)
    return _label.of_label(generalized_cross_entropy_of_log_odds, logits, labels, axis=axis, where=where, q=q)
