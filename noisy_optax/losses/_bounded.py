"""Bounded cross-entropy: cross-entropy with a lower limit on the probability of the label."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


def bounded_cross_entropy_of_log_odds(
    log_odds: Float[Array, "..."], *, beta: ArrayLike
) -> Float[Array, "..."]:
    """-log(beta + (1 - beta) p)."""
    beta = jnp.asarray(beta, log_odds.dtype)
    likely = log_odds > 0
    # 1 - p is what is exact where the label is likely, log p where it is not.
    complement = jnp.exp(_label.log_complement(jnp.where(likely, log_odds, 0.0)))
    near_one = jnp.log1p(-(1 - beta) * complement)
    log_p = _label.log_probability(jnp.where(likely, 0.0, log_odds))
    near_zero = jnp.logaddexp(jnp.log(beta), jnp.log1p(-beta) + log_p)
    return -jnp.where(likely, near_one, near_zero)


@stated(bounded=True, symmetric=False, of_log_odds=bounded_cross_entropy_of_log_odds)
def bounded_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    beta: ArrayLike = 0.1,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Bounded cross-entropy: the cross-entropy of a mixture of p and 1.

    $$\ell = -\log(\beta + (1 - \beta)\,p), \qquad p = \mathrm{softmax}(z)_y$$

    The loss is bounded by $-\log\beta$. Its slope in $p$ is at most $(1 - \beta)/\beta$, so the gradient
    vanishes for small $p$. This definition is ours: the paper names a bounded cross-entropy with these
    properties, and does not give its formula.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      beta: in [0, 1); 0 is cross-entropy. As beta approaches 1, the loss divided by `1 - beta` approaches
        mean absolute error.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, -log beta], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or beta is out of range.

    References:
      Staats, Thamm, Rosenow, Enhancing Noise-Robust Losses for Large-Scale Noisy Data Learning,
      arXiv 2306.05497.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [-jnp.inf, 0.0]]), jnp.array([0, 0])
    >>> nox.losses.bounded_cross_entropy(logits, labels, beta=0.1).round(2)
    Array([0.11, 2.3 ], dtype=float32)
    """
    check_range("beta", beta, at_least=0.0, below=1.0)
    return _label.of_label(
        bounded_cross_entropy_of_log_odds, logits, labels, axis=axis, where=where, beta=beta
    )
