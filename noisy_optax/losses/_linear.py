"""Losses that are a multiple of 1 - p, like mean absolute error, but have other names."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._generalized_cross_entropy import mean_absolute_error_of_log_odds
from noisy_optax.losses._properties import stated


@stated(bounded=True, symmetric=True, of_log_odds=mean_absolute_error_of_log_odds)
def unhinged(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Unhinged loss: linear in the probability of the given label.

    $$\ell = 1 - p, \qquad p = \mathrm{softmax}(z)_y$$

    The same as `mean_absolute_error`, under the name it has in the papers on symmetric losses.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match.

    References:
      van Rooyen, Menon, Williamson, Learning with Symmetric Label Noise: The Importance of Being Unhinged,
      NeurIPS 2015, arXiv 1505.07634.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.unhinged(jnp.array([[2.0, 0.0], [0.0, 0.0]]), jnp.array([0, 1])).round(3)
    Array([0.119, 0.5  ], dtype=float32)
    """
    return _label.of_label(mean_absolute_error_of_log_odds, logits, labels, axis=axis, where=where)


def reverse_cross_entropy_of_log_odds(
    log_odds: Float[Array, "..."], *, label_floor: ArrayLike
) -> Float[Array, "..."]:
    """-log(label_floor) (1 - p)."""
    return -jnp.log(jnp.asarray(label_floor, log_odds.dtype)) * mean_absolute_error_of_log_odds(log_odds)


@stated(bounded=True, symmetric=True, of_log_odds=reverse_cross_entropy_of_log_odds)
def reverse_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    label_floor: ArrayLike = 1e-4,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Reverse cross-entropy: cross-entropy with label and prediction exchanged; it is linear in p.

    $$\ell = -\sum_k p_k \log\max(y_k, \epsilon) = -\log(\epsilon)\,(1 - p)$$

    where $p_k$ are all softmax probabilities, $p$ is that of the label and $y$ is the one-hot label.
    $\epsilon$ replaces the zeros of $y$ in the logarithm. Symmetric: it sums to $-\log(\epsilon)\,(C - 1)$
    over all labels.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      label_floor: in (0, 1); the value that replaces the zeros of the one-hot label.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, -log label_floor], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or label_floor is out of range.

    References:
      Wang, Ma, Chen, Luo, Yi, Bailey, Symmetric Cross Entropy for Robust Learning with Noisy Labels,
      ICCV 2019, arXiv 1908.06112, section 3.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.reverse_cross_entropy(jnp.zeros((1, 2)), jnp.array([0])).round(3) # 9.21 / 2
    Array([4.605], dtype=float32)
    """
    check_range("label_floor", label_floor, above=0.0, below=1.0)
    return _label.of_label(
        reverse_cross_entropy_of_log_odds, logits, labels, axis=axis, where=where, label_floor=label_floor
    )
