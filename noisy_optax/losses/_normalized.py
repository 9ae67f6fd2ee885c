"""Normalised losses: a loss of the given label over the sum of that loss over all labels."""

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._properties import stated


@stated(bounded=True, symmetric=True)
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
    z, is_label = _label.prepare(logits, labels, axis=axis, where=where)
    log_odds, below_top, log_total = _label.against_others(z, is_label)
    # -log p summed over the others: each is its distance below their top, and something common to all.
    common = (z.shape[-1] - 1) * (log_total - _label.log_complement(log_odds))
    others = common - _label.over_others(below_top, is_label)
    return _label.finish(_share(-_label.log_probability(log_odds), others), where)


@stated(bounded=True, symmetric=True)
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
    The gradient includes that of the weights $(1 - p)^\gamma$; the papers' code holds them fixed.

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
    z, is_label = _label.prepare(logits, labels, axis=axis, where=where)
    against_others = _label.against_others(z, is_label)
    of_label, of_others = (_focal(log_p, gamma) for log_p in _log_probabilities(against_others))
    return _label.finish(_share(of_label, _label.over_others(of_others, is_label)), where)


@stated(bounded=True, symmetric=True)
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
    labels. The floor $p_{\min}$ is part of the definition: without it, terms would change sign. A class below
    the floor has no gradient.

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
      Ye, Li, Dai, Liu, Sun, Tong, Active Negative Loss Functions for Learning with Noisy
      Labels, NeurIPS 2023.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.normalized_negative_cross_entropy(logits, labels).round(3) # 13.991 and 15.991 over 29.982
    Array([0.467..., 0.533...], dtype=float32)
    """
    check_range("min_probability", min_probability, above=0.0, below=1.0)
    z, is_label = _label.prepare(logits, labels, axis=axis, where=where)
    against_others = _label.against_others(z, is_label)
    largest = -jnp.log(jnp.asarray(min_probability, z.dtype))
    of_label, of_others = (_positive(largest + log_p) for log_p in _log_probabilities(against_others))
    return _label.finish(_share_of_others(of_label, jnp.sum(of_others, axis=-1)), where)


@stated(bounded=True, symmetric=True)
def normalized_negative_focal(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: ArrayLike = 0.5,
    min_probability: ArrayLike = 1e-7,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Normalised negative focal loss: `normalized_negative_cross_entropy` with focal loss as the base.

    $$\ell = 1 - \frac{A - f(p_y)}{\sum_k (A - f(p_k))}, \qquad f(p) = -(1 - p)^\gamma \log p,
      \quad A = f(p_{\min}), \quad p = \max(\mathrm{softmax}(z), p_{\min})$$

    The passive partner of `normalized_focal`. Symmetric: it sums to $C - 1$ over all labels. The gradient
    includes that of the weights $(1 - p)^\gamma$; the paper's code holds them fixed.

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
      Ye, Li, Dai, Liu, Sun, Tong, Active Negative Loss Functions for Learning with Noisy
      Labels, NeurIPS 2023.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[2.0, 0.0], [2.0, 0.0]]), jnp.array([0, 1])
    >>> nox.losses.normalized_negative_focal(logits, labels).round(3)
    Array([0.468..., 0.532...], dtype=float32)
    """
    check_range("gamma", gamma, at_least=0.0)
    check_range("min_probability", min_probability, above=0.0, below=1.0)
    z, is_label = _label.prepare(logits, labels, axis=axis, where=where)
    against_others = _label.against_others(z, is_label)
    largest = _focal(jnp.log(jnp.asarray(min_probability, z.dtype)), gamma)
    of_label, of_others = (
        _positive(largest - _focal(log_p, gamma)) for log_p in _log_probabilities(against_others)
    )
    return _label.finish(_share_of_others(of_label, jnp.sum(of_others, axis=-1)), where)


def _log_probabilities(against_others: _label.AgainstOthers) -> tuple[Array, Array]:
    """log p of the label, `[...]`, and of the others, `[..., C]`."""
    return _label.log_probability(against_others.log_odds), against_others.log_probabilities()


def _focal(log_p: Array, gamma: ArrayLike) -> Array:
    """-(1 - p)^gamma log p, elementwise; where p is 0, -log p, which lets NaN through to the logits."""
    impossible, certain = log_p == -jnp.inf, log_p == 0
    ordinary = jnp.where(impossible | certain, -jnp.ones_like(log_p), log_p)
    # log(1 - p) need not be exact where p is small, for its power is 1 to rounding there: log1mexp does more.
    log_complement = jnp.log(-_label.expm1(ordinary))
    weight = jnp.exp(jnp.asarray(gamma, log_p.dtype) * log_complement)
    return jnp.where(impossible, -log_p, jnp.where(certain, jnp.zeros_like(log_p), -weight * ordinary))


def _positive(gains: Array) -> Array:
    return jnp.maximum(gains, jnp.zeros_like(gains))


def _share(label: Float[Array, "..."], others: Float[Array, "..."]) -> Float[Array, "..."]:
    """The label's loss over the sum of all; 1, with zero gradient, if it alone is infinite."""
    outweighs = (label == jnp.inf) & (others < jnp.inf)
    label = jnp.where(outweighs, jnp.ones_like(label), label)
    others = jnp.where(outweighs, jnp.zeros_like(others), others)
    return label / (label + others)


def _share_of_others(label: Float[Array, "..."], others: Float[Array, "..."]) -> Float[Array, "..."]:
    """The others' gains over the sum of all; 1, with zero gradient, if the label has none."""
    none = (label == 0) & (others > 0)
    return jnp.where(none, jnp.ones_like(label), others / (label + others))
