"""Taylor cross-entropy: the power series of cross-entropy about p = 1, cut off."""

import operator

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


def taylor_cross_entropy_of_log_odds(log_odds: Float[Array, "..."], *, order: int) -> Float[Array, "..."]:
    """The sum of (1 - p)^i / i for i up to the order."""
    complement = jnp.exp(_label.log_complement(log_odds))
    losses = jnp.full_like(complement, 1 / order)
    for i in range(order - 1, 0, -1):
        losses = complement * losses + 1 / i
    return complement * losses


@stated(bounded=True, symmetric=False, of_log_odds=taylor_cross_entropy_of_log_odds)
def taylor_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    order: int = 2,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Taylor cross-entropy: the first terms of the series of -log p about p = 1.

    $$\ell = \sum_{i=1}^{n} \frac{(1 - p)^i}{i}, \qquad p = \mathrm{softmax}(z)_y$$

    Order 1 is mean absolute error; cross-entropy is the limit of large orders.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      order: n >= 1, a Python integer: it sets how many terms are computed.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses between 0 and the harmonic number 1 + 1/2 + ... + 1/n, float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or order is less than 1.

    References:
      Feng, Shu, Lin, Lv, Li, An, Can Cross Entropy Loss Be Robust to Label Noise?, IJCAI 2020.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[-jnp.inf, 0.0], [0.0, 0.0]]), jnp.array([0, 0])
    >>> nox.losses.taylor_cross_entropy(logits, labels, order=2)
    Array([1.5  , 0.625], dtype=float32)
    """
    order = operator.index(order)
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    return _label.of_label(
        taylor_cross_entropy_of_log_odds, logits, labels, axis=axis, where=where, order=order
    )
