"""Squared error between the one-hot label and the prediction."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


@stated(bounded=True, symmetric=False)
def mean_squared_error(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Mean squared error between the one-hot label and the softmax probabilities.

    $$\ell = \sum_k (p_k - y_k)^2 = (1 - p)^2 + \sum_{k \ne y} p_k^2$$

    where $p_k$ are all softmax probabilities and $p$ is that of the label. "Mean" refers to the examples.
    Over the classes the loss is a sum, as in the paper; some published code divides it by $C$.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 2], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match.

    References:
      Ghosh, Kumar, Sastry, Robust Loss Functions under Label Noise for Deep Neural Networks, AAAI 2017,
      arXiv 1712.09482.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.mean_squared_error(jnp.array([[0.0, 0.0], [-jnp.inf, 0.0]]), jnp.array([0, 0]))
    Array([0.5, 2. ], dtype=float32)
    """
    against_others = _label.against_others(*_label.prepare(logits, labels, axis=axis, where=where))
    at_label = jnp.exp(2 * _label.log_complement(against_others.log_odds))
    return _label.finish(at_label + against_others.power_sum(2), where)
