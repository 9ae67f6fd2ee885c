"""Focal loss: cross-entropy with less weight for examples that the model already predicts well."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


def focal_of_log_odds(log_odds: Float[Array, "..."], *, gamma: ArrayLike) -> Float[Array, "..."]:
    """-(1 - p)^gamma log p."""
    log_complement = _label.log_complement(log_odds)
    # The label has no probability beside the others. The weight is 1 there, and its gradient is 0: computed,
    # it would be the product of 0 and of gamma log p, which may be beyond the largest number.
    none = log_complement == 0
    # Where no other class has any probability the complement's logarithm is -inf, and 0 * -inf is NaN.
    exponent = jnp.maximum(log_complement, jnp.finfo(log_odds.dtype).min) * jnp.asarray(gamma, log_odds.dtype)
    weight = jnp.where(none, jnp.ones_like(exponent), jnp.exp(exponent))
    return -weight * _label.log_probability(log_odds)


@stated(bounded=False, symmetric=False, of_log_odds=focal_of_log_odds)
def focal(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: ArrayLike = 0.5,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Focal loss: cross-entropy times a power of 1 - p, where p is the probability of the label.

    $$\ell = -(1 - p)^\gamma \log p, \qquad p = \mathrm{softmax}(z)_y$$

    The gradient includes the gradient of the weight; some published code for noisy labels holds it fixed.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      gamma: >= 0; 0 is cross-entropy. Papers on label noise use 0.5; the source uses 2 for detection.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in nats, at most the cross-entropy, float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or gamma is out of range.

    References:
      Lin, Goyal, Girshick, He, Dollár, Focal Loss for Dense Object Detection, ICCV 2017,
      arXiv 1708.02002, eq. 4.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.focal(logits, labels, gamma=0.5).round(3)
    Array([0.044, 1.996], dtype=float32)
    """
    check_range("gamma", gamma, at_least=0.0)
    return _label.of_label(focal_of_log_odds, logits, labels, axis=axis, where=where, gamma=gamma)
