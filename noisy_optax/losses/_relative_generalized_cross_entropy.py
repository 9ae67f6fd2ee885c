"""Generalized cross-entropy relative to the class that the model prefers."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


@stated(bounded=True, symmetric=False)
def relative_generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: ArrayLike = 0.7,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Generalized cross-entropy that weights an example by its label's probability relative to the largest.

    $$\ell = \frac{1 - p_y^q}{q\,P^q}, \qquad
      \nabla_z \ell = \left(\frac{p_y}{P}\right)^q (p - e_y), \qquad P = \max_k p_k$$

    P is held constant for the gradient. The optimum is that of generalized cross-entropy. But a model that is
    undecided, or has many classes, learns from this loss as fast as from cross-entropy. This loss is our own
    and not published.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      q: >= 0; 0 is cross-entropy.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, C^q / q], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or q is out of range.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.losses.relative_generalized_cross_entropy
    >>> loss(jnp.array([[0.0, 0.0]]), jnp.array([0]), q=1.0) # (1 - 1/2) / (1/2)
    Array([1.], dtype=float32)
    """
    check_range("q", q, at_least=0.0)
    z, is_label, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
    q = jnp.asarray(q, z.dtype)
    log_p = _label.log_probability(_label.log_odds(z, is_label))
    is_zero = q == 0
    # Each branch gets a harmless q where the other is taken.
    some_q = jnp.where(is_zero, jnp.ones_like(q), q)
    power = jnp.where(is_zero, -log_p, -_label.expm1(some_q * log_p) / some_q)
    # The largest logit less the logarithm of the sum would lose digits where both are large.
    log_top = -jax.nn.logsumexp(z - jnp.max(z, axis=-1, keepdims=True), axis=-1)
    power *= jax.lax.stop_gradient(jnp.exp(-q * log_top))
    return _label.finish(power + undefined, where)
