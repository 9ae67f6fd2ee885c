"""Cross-entropy of the eps-softmax, which makes predictions almost one-hot."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


@stated(bounded=False, symmetric=False)
def eps_softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    m: ArrayLike = 1e5,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Cross-entropy of the eps-softmax: m is added to the largest probability before it is normalised.

    $$\ell = -\log \tilde p_y, \qquad \tilde p_k = \frac{p_k + m\,[k = \arg\max p]}{1 + m},
      \quad p = \mathrm{softmax}(z)$$

    The loss is almost 0 if the label is the predicted class, and at least $\log(1 + m)$ if it is not. With a
    large m, an example is either fitted or ignored. The paper adds a multiple of mean absolute error, see
    `weighted_sum`. A label that shares the largest probability with other classes counts as predicted.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      m: >= 0; 0 is cross-entropy. Published code uses 1e5 for CIFAR-10 with symmetric noise, with weights
        0.01 for this loss and 10 for 1 - p.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in nats, float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or m is out of range.

    References:
      Wang, Zhou, Zhai, Jiang, Ji, Liu, eps-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise,
      NeurIPS 2024, arXiv 2508.02387.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.eps_softmax_cross_entropy(logits, labels, m=9.0).round(3)
    Array([0.012..., 4.43...], dtype=float32)
    """
    check_range("m", m, at_least=0.0)
    z, is_label = _label.prepare(logits, labels, axis=axis, where=where)
    log_odds = _label.log_odds(z, is_label)
    m = jnp.asarray(m, z.dtype)
    predicted = _label.at_label(z, is_label) >= jnp.max(z, axis=-1)
    complement = jnp.exp(_label.log_complement(log_odds))
    # (p + m) / (1 + m) is 1 - (1 - p) / (1 + m), which keeps the difference from 1.
    missing = jnp.where(predicted, complement, jnp.zeros_like(complement)) / (1 + m)
    rejected = jnp.log1p(m) - _label.log_probability(log_odds)
    return _label.finish(jnp.where(predicted, -jnp.log1p(-missing), rejected), where)
