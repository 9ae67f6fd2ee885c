"""Jensen-Shannon divergence between the one-hot label and the prediction."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


def jensen_shannon_of_log_odds(log_odds: Float[Array, "..."], *, weight: ArrayLike) -> Float[Array, "..."]:
    """The scaled divergence, which depends on p alone."""
    w = jnp.asarray(weight, log_odds.dtype)
    # p log p is 0 long before; -inf would make it NaN.
    log_p = jnp.maximum(_label.log_probability(log_odds), -1e5)
    p, complement = jnp.exp(log_p), jnp.exp(_label.log_complement(log_odds))
    mixture = p + w * complement
    # -m log m + (1 - w) p log p, the second time with log m = log p + log(1 + w (1 - p) / p): the first
    # cancels for p far above w, the second overflows for p far below.
    likely = p > w
    ratio = w * complement / jnp.where(likely, p, jnp.ones_like(p))
    entropies = jnp.where(
        likely,
        -w * log_p - mixture * jnp.log1p(ratio),
        (1 - w) * p * log_p - mixture * jnp.log(jnp.where(likely, jnp.ones_like(mixture), mixture)),
    )
    return entropies / (-(1 - w) * jnp.log1p(-w)) + complement


@stated(bounded=True, symmetric=False, of_log_odds=jensen_shannon_of_log_odds)
def jensen_shannon(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    weight: ArrayLike = 0.5,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Weighted Jensen-Shannon divergence between label and prediction: from cross-entropy to absolute error.

    $$\ell = \frac{w\,\mathrm{KL}(y \,\|\, m) + (1 - w)\,\mathrm{KL}(p \,\|\, m)}{-(1 - w)\log(1 - w)},
      \qquad m = w\,y + (1 - w)\,p$$

    where $y$ is the one-hot label and $p$ are all softmax probabilities. It depends on the label's
    probability alone. Its slope is $\log\!\big(1 + \tfrac{w}{(1 - w)\,p}\big) / \log(1 - w)$, which is -1
    at $p = 1$.
    $w \to 0$ gives cross-entropy. $w \to 1$ gives mean absolute error, but converges slowly.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      weight: w in (0, 1), the weight of the label.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses between 0 and $1 + \frac{w \log w}{(1 - w)\log(1 - w)}$, float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or weight is out of range.

    References:
      Englesson, Azizpour, Generalized Jensen-Shannon Divergence Loss for Learning with Noisy Labels,
      NeurIPS 2021, arXiv 2105.04522.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.jensen_shannon(jnp.array([[-jnp.inf, 0.0], [0.0, 0.0]]), jnp.array([0, 0])).round(3)
    Array([2.   , 0.623], dtype=float32)
    """
    check_range("weight", weight, above=0.0, below=1.0)
    return _label.of_label(jensen_shannon_of_log_odds, logits, labels, axis=axis, where=where, weight=weight)
