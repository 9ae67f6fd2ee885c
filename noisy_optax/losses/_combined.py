"""Weighted sums of losses, and those of them that papers name."""

import functools

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _asymmetric, _label, _linear, _normalized
from noisy_optax.losses._cross_entropy import cross_entropy_of_log_odds
from noisy_optax.losses._properties import stated
from noisy_optax.robust_loss import Loss


def weighted_sum(*terms: tuple[Loss, ArrayLike]) -> Loss:
    r"""The sum of losses, each times a weight.

    $$\ell = \sum_i w_i\,\ell_i$$

    Under `jax.jit`, computations that the losses share, such as the softmax, are done once. Every loss is
    evaluated, so if one loss is NaN, the sum is NaN, whatever the weight.

    Args:
      *terms: pairs of a loss and its weight, a finite number; set hyper-parameters of the losses with
        `functools.partial`.

    Returns:
      A `Loss`.

    Raises:
      ValueError: there is no term, or a weight is not finite.
      TypeError: a term is not a pair, or a weight is not a number.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nce, mae = nox.losses.normalized_cross_entropy, nox.losses.mean_absolute_error
    >>> active_passive = nox.losses.weighted_sum((nce, 1.0), (mae, 2.0))
    >>> active_passive(jnp.zeros((1, 2)), jnp.array([0]))
    Array([1.5], dtype=float32)
    """
    if not terms:
        raise ValueError("expected at least one pair of a loss and its weight, got none")
    for term in terms:
        if not (isinstance(term, tuple) and len(term) == 2 and callable(term[0])):
            raise TypeError(f"expected pairs of a loss and its weight, got {term!r}")
        check_range("weight", term[1])

    def loss(logits, labels, *, axis=-1, where=None):
        values = [(part(logits, labels, axis=axis, where=where), weight) for part, weight in terms]
        return sum(jnp.asarray(weight, value.dtype) * value for value, weight in values)

    return loss


def symmetric_cross_entropy_of_log_odds(
    log_odds: Float[Array, "..."], *, alpha: ArrayLike, beta: ArrayLike, label_floor: ArrayLike
) -> Float[Array, "..."]:
    """alpha times cross-entropy plus beta times reverse cross-entropy."""
    forward = cross_entropy_of_log_odds(log_odds)
    reverse = _linear.reverse_cross_entropy_of_log_odds(log_odds, label_floor=label_floor)
    return jnp.asarray(alpha, forward.dtype) * forward + jnp.asarray(beta, reverse.dtype) * reverse


@stated(bounded=False, symmetric=False, of_log_odds=symmetric_cross_entropy_of_log_odds)
def symmetric_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: ArrayLike = 0.1,
    beta: ArrayLike = 1.0,
    label_floor: ArrayLike = 1e-4,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Symmetric cross-entropy: cross-entropy plus reverse cross-entropy.

    $$\ell = -\alpha \log p - \beta \log(\epsilon)\,(1 - p), \qquad p = \mathrm{softmax}(z)_y$$

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      alpha: >= 0, the weight of cross-entropy; 0.1 for CIFAR-10, 6 for CIFAR-100.
      beta: >= 0, the weight of reverse cross-entropy; 1 for CIFAR-10, 0.1 for CIFAR-100.
      label_floor: epsilon in (0, 1); see `reverse_cross_entropy`.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in nats, float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or alpha, beta or label_floor is out of range.

    References:
      Wang, Ma, Chen, Luo, Yi, Bailey, Symmetric Cross Entropy for Robust Learning with Noisy Labels,
      ICCV 2019, arXiv 1908.06112, section 3.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.symmetric_cross_entropy(jnp.zeros((1, 2)), jnp.array([0])).round(3)
    Array([4.674...], dtype=float32)
    """
    check_range("alpha", alpha, at_least=0.0)
    check_range("beta", beta, at_least=0.0)
    check_range("label_floor", label_floor, above=0.0, below=1.0)
    return _label.of_label(
        symmetric_cross_entropy_of_log_odds,
        logits,
        labels,
        axis=axis,
        where=where,
        alpha=alpha,
        beta=beta,
        label_floor=label_floor,
    )


@stated(bounded=True, symmetric=True)
def nce_rce(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 1.0,
    label_floor: ArrayLike = 1e-4,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Active passive loss: normalised cross-entropy plus reverse cross-entropy.

    $$\ell = \alpha\,\ell_\mathrm{NCE} + \beta\,\ell_\mathrm{RCE}$$

    Symmetric: it sums to $\alpha - \beta \log(\epsilon)\,(C - 1)$ over all labels.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      alpha: >= 0, the weight of `normalized_cross_entropy`; 1 for CIFAR-10, 10 for CIFAR-100.
      beta: >= 0, the weight of `reverse_cross_entropy`; 1 for CIFAR-10, 0.1 for CIFAR-100.
      label_floor: epsilon in (0, 1); see `reverse_cross_entropy`.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, alpha - beta log label_floor], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or alpha, beta or label_floor is out of range.

    References:
      Ma, Huang, Wang, Romano, Erfani, Bailey, Normalized Loss Functions for Deep Learning with Noisy Labels,
      ICML 2020, arXiv 2006.13554.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.nce_rce(jnp.zeros((1, 2)), jnp.array([0])).round(3) # 0.5 + 4.605
    Array([5.105], dtype=float32)
    """
    check_range("alpha", alpha, at_least=0.0)
    check_range("beta", beta, at_least=0.0)
    reverse = functools.partial(_linear.reverse_cross_entropy, label_floor=label_floor)
    total = weighted_sum((_normalized.normalized_cross_entropy, alpha), (reverse, beta))
    return total(logits, labels, axis=axis, where=where)


@stated(bounded=True, symmetric=False)
def nce_agce(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: ArrayLike = 1.0,
    beta: ArrayLike = 4.0,
    a: ArrayLike = 6.0,
    q: ArrayLike = 1.5,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Active passive loss: normalised cross-entropy plus asymmetric generalized cross-entropy.

    $$\ell = \alpha\,\ell_\mathrm{NCE} + \beta\,\ell_\mathrm{AGCE}$$

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      alpha: >= 0, the weight of `normalized_cross_entropy`; 1 for CIFAR-10, 10 for CIFAR-100.
      beta: >= 0, the weight of `asymmetric_generalized_cross_entropy`; 4 for CIFAR-10, 0.1 for CIFAR-100.
      a: > 0; 6 for CIFAR-10, 1.8 for CIFAR-100.
      q: > 0; 1.5 for CIFAR-10, 3 for CIFAR-100.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, alpha + beta ((a + 1)^q - a^q) / q], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or alpha, beta, a or q is out of range.

    References:
      Zhou, Liu, Jiang, Gao, Ji, Asymmetric Loss Functions for Learning with Noisy Labels, ICML 2021,
      arXiv 2106.03110.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.nce_agce(jnp.zeros((1, 2)), jnp.array([0]), beta=1.0, a=1.0, q=2.0) # 0.5 + 0.875
    Array([1.375], dtype=float32)
    """
    check_range("alpha", alpha, at_least=0.0)
    check_range("beta", beta, at_least=0.0)
    agce = functools.partial(_asymmetric.asymmetric_generalized_cross_entropy, a=a, q=q)
    total = weighted_sum((_normalized.normalized_cross_entropy, alpha), (agce, beta))
    return total(logits, labels, axis=axis, where=where)


@stated(bounded=True, symmetric=True)
def nce_nnce(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: ArrayLike = 5.0,
    beta: ArrayLike = 5.0,
    min_probability: ArrayLike = 1e-7,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Active negative loss: normalised cross-entropy plus normalised negative cross-entropy.

    $$\ell = \alpha\,\ell_\mathrm{NCE} + \beta\,\ell_\mathrm{NNCE}$$

    Symmetric: it sums to $\alpha + \beta\,(C - 1)$ over all labels. The paper's ANL-CE adds a multiple of the
    L1 norm of all parameters. Add that term to your objective or optimizer if you need it.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      alpha: >= 0, the weight of `normalized_cross_entropy`; 5 for CIFAR-10, 10 for CIFAR-100.
      beta: >= 0, the weight of `normalized_negative_cross_entropy`; 5 for CIFAR-10, 1 for CIFAR-100.
      min_probability: in (0, 1), and less than 1/C; see `normalized_negative_cross_entropy`.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, alpha + beta], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or alpha, beta or min_probability is out of range.

    References:
      Ye, Li, Dai, Liu, Sun, Tong, Active Negative Loss Functions for Learning with Noisy
      Labels, NeurIPS 2023.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.nce_nnce(jnp.zeros((1, 4)), jnp.array([0])) # 5 / 4 + 5 * 3 / 4
    Array([5.], dtype=float32)
    """
    check_range("alpha", alpha, at_least=0.0)
    check_range("beta", beta, at_least=0.0)
    negative = functools.partial(
        _normalized.normalized_negative_cross_entropy, min_probability=min_probability
    )
    total = weighted_sum((_normalized.normalized_cross_entropy, alpha), (negative, beta))
    return total(logits, labels, axis=axis, where=where)
