"""Cross-entropy, the reference that every other loss is compared with."""

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


def cross_entropy_of_log_odds(log_odds: Float[Array, "..."]) -> Float[Array, "..."]:
    """-log p."""
    return -_label.log_probability(log_odds)


@stated(bounded=False, symmetric=False, of_log_odds=cross_entropy_of_log_odds)
def cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
) -> Float[Array, "..."]:
    r"""Cross-entropy of the given label.

    $$\ell = -\log p, \qquad p = \mathrm{softmax}(z)_y$$

    Unbounded: its slope in $p$ is $1/p$, which is largest for the labels that the model rejects.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in nats, float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.cross_entropy(jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])).round(3)
    Array([0.127, 2.127], dtype=float32)
    """
    return _label.of_label(cross_entropy_of_log_odds, logits, labels, axis=axis, where=where)
