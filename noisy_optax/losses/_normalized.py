"""Normalised losses: a loss of the given label over the sum of that loss over all labels."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label


def normalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Normalised cross-entropy: the share of the given label in the cross-entropies of all labels.

    $$\ell = \frac{-\log p_y}{\sum_k -\log p_k}, \qquad p = \mathrm{softmax}(z)$$

    Symmetric: it sums to 1 over all labels. A wrong class at `-inf` makes the sum infinite and the loss 0.

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
      Ma, Huang, Wang, Romano, Erfani, Bailey, Normalized Loss Functions for Deep Learning with Noisy Labels,
      ICML 2020, arXiv 2006.13554.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.normalized_cross_entropy(logits, labels).round(3) # 0.127 and 2.127 over 2.254
    Array([0.056..., 0.944...], dtype=float32)
    """
    z, is_label, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
    log_p, _ = _label.class_log_probabilities(z)
    return _label.finish(_share_of_label(-log_p, is_label) + undefined, where)


def normalized_focal(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: ArrayLike = 0.5,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Normalised focal loss: the share of the given label in the focal losses of all labels.

    $$\ell = \frac{f(p_y)}{\sum_k f(p_k)}, \qquad f(p) = -(1 - p)^\gamma \log p,
      \quad p = \mathrm{softmax}(z)$$

    Symmetric: it sums to 1 over all labels. A wrong class at `-inf` makes the sum infinite and the loss 0.
    The weights $(1 - p)^\gamma$ are differentiated like the rest; the papers' code holds them fixed.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      gamma: >= 0; 0 is normalised cross-entropy.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or gamma is out of range.

    References:
      Ma, Huang, Wang, Romano, Erfani, Bailey, Normalized Loss Functions for Deep Learning with Noisy Labels,
      ICML 2020, arXiv 2006.13554.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.normalized_focal(logits, labels, gamma=1.0).round(3)
    Array([0.008..., 0.992...], dtype=float32)
    """
    check_range("gamma", gamma, at_least=0.0)
    z, is_label, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
    focal = _focal_of_classes(*_label.class_log_probabilities(z), gamma)
    return _label.finish(_share_of_label(focal, is_label) + undefined, where)


def normalized_negative_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    min_probability: ArrayLike = 1e-7,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Normalised negative cross-entropy: pushes the other labels away instead of pulling the given one.

    $$\ell = 1 - \frac{A + \log p_y}{\sum_k (A + \log p_k)}, \qquad A = -\log p_{\min},
      \quad p = \max(\mathrm{softmax}(z), p_{\min})$$

    The passive partner of normalised cross-entropy; see `nce_nnce`. Symmetric: it sums to $C - 1$ over all
    labels. The floor $p_{\min}$ is part of the definition: without it terms would change sign. No gradient
    passes through a class below it.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      min_probability: in (0, 1), and less than 1/C: probabilities below count as this one. 1e-7 in the
        published code.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or min_probability is out of range.

    References:
      Ye, Li, Dai, Chen, Liu, Song, Li, Zhang, Li, Active Negative Loss Functions for Learning with Noisy
      Labels, NeurIPS 2023.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.normalized_negative_cross_entropy(logits, labels).round(3) # 13.991 and 15.991 over 29.982
    Array([0.467..., 0.533...], dtype=float32)
    """
    check_range("min_probability", min_probability, above=0.0, below=1.0)
    z, is_label, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
    log_p, _ = _label.class_log_probabilities(z)
    largest = -jnp.log(jnp.asarray(min_probability, z.dtype))
    return _label.finish(_share_of_others(largest + log_p, is_label) + undefined, where)


def normalized_negative_focal(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: ArrayLike = 0.5,
    min_probability: ArrayLike = 1e-7,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Normalised negative focal loss: as `normalized_negative_cross_entropy`, of the focal loss.

    $$\ell = 1 - \frac{A - f(p_y)}{\sum_k (A - f(p_k))}, \qquad f(p) = -(1 - p)^\gamma \log p,
      \quad A = f(p_{\min}), \quad p = \max(\mathrm{softmax}(z), p_{\min})$$

    The passive partner of `normalized_focal`. Symmetric: it sums to $C - 1$ over all labels. The weights
    $(1 - p)^\gamma$ are differentiated like the rest; the paper's code holds them fixed.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      gamma: >= 0; 0 is normalised negative cross-entropy.
      min_probability: in (0, 1), and less than 1/C: probabilities below count as this one. 1e-7 in the
        published code.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or gamma or min_probability is out of range.

    References:
      Ye, Li, Dai, Chen, Liu, Song, Li, Zhang, Li, Active Negative Loss Functions for Learning with Noisy
      Labels, NeurIPS 2023.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.normalized_negative_focal(logits, labels).round(3)
    Array([0.468..., 0.532...], dtype=float32)
    """
    check_range("gamma", gamma, at_least=0.0)
    check_range("min_probability", min_probability, above=0.0, below=1.0)
    z, is_label, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
    focal = _focal_of_classes(*_label.class_log_probabilities(z), gamma)
    floor = jnp.asarray(min_probability, z.dtype)
    largest = _focal_of_classes(jnp.log(floor), jnp.log1p(-floor), gamma)
    return _label.finish(_share_of_others(largest - focal, is_label) + undefined, where)


def _focal_of_classes(log_p: Array, log_complement: Array, gamma: ArrayLike) -> Array:
    """-(1 - p)^gamma log p, elementwise; inf, with zero gradient, where p is 0."""
    impossible = log_p == -jnp.inf
    log_p = jnp.where(impossible, -jnp.ones_like(log_p), log_p)
    # 1 - p may be 0, and 0 * -inf is NaN.
    log_complement = jnp.where(impossible, -jnp.ones_like(log_p), log_complement)
    log_complement = jnp.maximum(log_complement, jnp.finfo(log_p.dtype).min)
    weight = jnp.exp(jnp.asarray(gamma, log_p.dtype) * log_complement)
    return jnp.where(impossible, jnp.inf, -weight * log_p)


def _share_of_label(
    losses: Float[Array, "... classes"], is_label: Bool[Array, "... classes"]
) -> Float[Array, "..."]:
    """The label's loss over the sum of all; 1, with zero gradient, if it alone is infinite."""
    label, others = _label.at_label(losses, is_label), _label.over_others(losses, is_label)
    outweighs = (label == jnp.inf) & (others < jnp.inf)
    label = jnp.where(outweighs, jnp.ones_like(label), label)
    others = jnp.where(outweighs, jnp.zeros_like(others), others)
    return label / (label + others)


def _share_of_others(
    gains: Float[Array, "... classes"], is_label: Bool[Array, "... classes"]
) -> Float[Array, "..."]:
    """One minus the label's share of the positive gains; 1, with zero gradient, if it has none."""
    gains = jnp.maximum(gains, jnp.zeros_like(gains))
    label, others = _label.at_label(gains, is_label), _label.over_others(gains, is_label)
    none = (label == 0) & (others > 0)
    return jnp.where(none, jnp.ones_like(label), others / (label + others))
