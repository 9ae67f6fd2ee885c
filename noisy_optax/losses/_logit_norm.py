"""Losses that change the length of the vector of logits, and the sparse regularisation used with them."""

import math
from typing import NamedTuple, overload

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _cross_entropy, _label
from noisy_optax.losses._properties import stated
from noisy_optax.losses._transformed_logits import with_transformed_logits
from noisy_optax.robust_loss import Loss, RobustLoss


def sparsity(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: ArrayLike = 0.01,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Sparse regularisation: the q-norm of the softmax probabilities, to the power of q.

    $$\ell = \sum_k p_k^q, \qquad p = \mathrm{softmax}(z)$$

    The loss is 1 for a prediction that is certain of one class, and $C^{1 - q}$ for a uniform prediction. The
    label is checked, as in every loss, but not used; see `cross_entropy_with_sparse_regularization`.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      q: in (0, 1].
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [1, C^(1 - q)], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or q is out of range.

    References:
      Zhou, Liu, Wang, Zhai, Jiang, Ji, Learning with Noisy Labels via Sparse Regularization, ICCV 2021,
      arXiv 2108.00192.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.sparsity(jnp.zeros((1, 4)), jnp.array([0]), q=0.5)
    Array([2.], dtype=float32)
    """
    check_range("q", q, above=0.0, at_most=1.0)
    z, is_label = _label.prepare(logits, labels, axis=axis, where=where)
    return _label.finish(_power_sum(_label.against_others(z, is_label), q), where)


@stated(bounded=True, symmetric=False)
def cross_entropy_with_sparse_regularization(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    weight: ArrayLike = 8.0,
    temperature: ArrayLike = 0.5,
    q: ArrayLike = 0.01,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Cross-entropy of normalised logits, plus a penalty on predictions that are not sparse.

    $$\ell = -\log p_y + \lambda \sum_k p_k^q, \qquad
      p = \mathrm{softmax}\Big(\frac{z}{\tau \max(\|z\|_2, 10^{-12})}\Big)$$

    The norm is over logits that are not `-inf`. The loss changes if a constant is added to all logits. Its
    gradient grows like the inverse of the norm of the logits, so do not initialise the last layer with zeros;
    use small random values.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      weight: lambda >= 0; published code raises it while training.
      temperature: tau > 0.
      q: in (0, 1].
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses >= weight, float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or weight, temperature or q is out of range.

    References:
      Zhou, Liu, Wang, Zhai, Jiang, Ji, Learning with Noisy Labels via Sparse Regularization, ICCV 2021,
      arXiv 2108.00192.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.losses.cross_entropy_with_sparse_regularization
    >>> logits, labels = jnp.array([[3.0, 4.0], [30.0, 40.0]]), jnp.array([0, 0])
    >>> loss(logits, labels, weight=1.0, temperature=0.2, q=0.5).round(3)
    Array([2.687, 2.687], dtype=float32)
    """
    check_range("weight", weight, at_least=0.0)
    check_range("temperature", temperature, above=0.0)
    check_range("q", q, above=0.0, at_most=1.0)
    z, is_label, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
    least = 1e-12
    scaled = _by_size(z, least)
    squared_norm = _squared_norm(scaled.z)
    length = jax.lax.rsqrt(jnp.where(scaled.size > least, squared_norm, jnp.maximum(squared_norm, 1.0)))
    z = _rescale(scaled.z, length / jnp.asarray(temperature, z.dtype))
    against_others = _label.against_others(z, is_label)
    penalty = jnp.asarray(weight, z.dtype) * _power_sum(against_others, q)
    cross_entropy = -_label.log_probability(against_others.log_odds)
    return _label.finish(cross_entropy + penalty + undefined, where)


@overload
def with_logit_clip(loss: Loss, max_norm: ArrayLike) -> Loss: ...
@overload
def with_logit_clip(loss: RobustLoss, max_norm: ArrayLike) -> RobustLoss: ...


def with_logit_clip(loss: Loss | RobustLoss, max_norm: ArrayLike) -> Loss | RobustLoss:
    r"""Clips the norm of the logits before the loss sees them.

    $$\ell_b(z, y) = \ell\big(z \min(1, b / \|z\|_2), y\big)$$

    The clip limits how certain a prediction can be, so every loss that is finite for finite logits becomes
    bounded. The norm is over logits that are not `-inf`. The result changes if a constant is added to all
    logits. (Published code rescales to a second parameter, so its loss jumps where the clipping starts.)

    Args:
      loss: plain or a `RobustLoss`, which gets the clipped logits in `update` and in `value`.
      max_norm: b > 0; `max_logit_norm` finds it from the largest probability that is allowed.

    Returns:
      A loss of the same kind as `loss`.

    Raises:
      ValueError: max_norm is out of range.

    References:
      Wei, Zhuang, Xie, Feng, Niu, An, Li, Mitigating Memorization of Noisy Labels by Clipping the Model
      Prediction, ICML 2023, arXiv 2212.04055.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.losses.with_logit_clip(nox.losses.mean_absolute_error, max_norm=1.0)
    >>> loss(jnp.array([[3.0, 4.0], [0.6, 0.8]]), jnp.array([0, 0])).round(3)
    Array([0.55, 0.55], dtype=float32)
    """
    check_range("max_norm", max_norm, above=0.0)

    def with_logit_clip(logits, labels, *, axis=-1, where=None):
        z, _, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
        return _clip_norm(z, max_norm) + undefined[..., None]

    return with_transformed_logits(loss, with_logit_clip)


def max_logit_norm(num_classes: int, *, max_probability: float = 0.88) -> float:
    r"""The norm of the logits at which no class can have more than a given probability.

    $$b = \Big(\log\frac{a}{1 - a} + \log(C - 1)\Big) \sqrt{\frac{C - 1}{C}}$$

    The most probable class reaches a if all others have the same logit and the logits sum to 0.

    Args:
      num_classes: C, at least 2.
      max_probability: a, in (1/C, 1).

    Returns:
      b > 0, about 4 for ten classes and a probability of 0.88.

    Raises:
      ValueError: an argument is out of range.

    >>> import noisy_optax as nox
    >>> round(nox.losses.max_logit_norm(10), 3)
    3.975
    """
    check_range("num_classes", num_classes, at_least=2)
    check_range("max_probability", max_probability, above=1 / num_classes, below=1.0)
    log_odds = math.log(max_probability) - math.log1p(-max_probability)
    return (log_odds + math.log(num_classes - 1)) * math.sqrt((num_classes - 1) / num_classes)


@stated(bounded=True, symmetric=False)
def logit_clip_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    max_norm: ArrayLike = 1.0,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Cross-entropy of logits with a clipped norm, see `with_logit_clip`.

    $$\ell = -\log \mathrm{softmax}\big(z \min(1, b / \|z\|_2)\big)_y$$

    The loss is at most $\log(1 + (C - 1)\,e^{b \sqrt{C / (C - 1)}})$, and its minimum is above 0.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      max_norm: b > 0, the largest norm; the paper's tau.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in nats, float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or max_norm is out of range.

    References:
      Wei, Zhuang, Xie, Feng, Niu, An, Li, Mitigating Memorization of Noisy Labels by Clipping the Model
      Prediction, ICML 2023, arXiv 2212.04055.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.array([[3.0, 4.0], [0.6, 0.8]]), jnp.array([0, 0])
    >>> nox.losses.logit_clip_cross_entropy(logits, labels, max_norm=1.0).round(3)
    Array([0.798..., 0.798...], dtype=float32)
    """
    clipped = with_logit_clip(_cross_entropy.cross_entropy, max_norm)
    return clipped(logits, labels, axis=axis, where=where)


def _clip_norm(z: Float[Array, "... classes"], limit: ArrayLike) -> Float[Array, "... classes"]:
    """Logits scaled down to a norm of at most `limit`."""
    limit, scaled = jnp.asarray(limit, z.dtype), _by_size(z, float(jnp.finfo(z.dtype).tiny))
    squared_norm = _squared_norm(scaled.z)
    clipped = jnp.sqrt(squared_norm) > limit / scaled.size
    shrink = limit * jax.lax.rsqrt(jnp.where(clipped, squared_norm, jnp.ones_like(squared_norm)))
    return jnp.where(clipped, _rescale(scaled.z, shrink), z)


class _Scaled(NamedTuple):
    """z / size."""

    z: Float[Array, "... classes"]
    size: Float[Array, "... 1"]


def _by_size(z: Float[Array, "... classes"], smallest: float) -> _Scaled:
    """Logits divided by the largest of their sizes, which is held fixed, so that their squares are finite.

    What depends on the direction of z alone has the right gradient all the same.
    """
    size = jnp.max(jnp.abs(z), axis=-1, keepdims=True, initial=smallest, where=z > -jnp.inf)
    # Compilers divide by multiplying, so 1 / size has to be a normal number.
    size = jax.lax.stop_gradient(jnp.minimum(size, float(0.25 / jnp.finfo(z.dtype).tiny)))
    return _Scaled(_rescale(z, 1 / size), size)


def _power_sum(against_others: _label.AgainstOthers, q: ArrayLike) -> Float[Array, "..."]:
    log_p = _label.log_probability(against_others.log_odds)
    return jnp.exp(jnp.asarray(q, log_p.dtype) * log_p) + against_others.power_sum(q)


def _squared_norm(z: Float[Array, "... classes"]) -> Float[Array, "... 1"]:
    return jnp.sum(jnp.square(jnp.where(z == -jnp.inf, jnp.zeros_like(z), z)), axis=-1, keepdims=True)


def _rescale(z: Float[Array, "... classes"], factor: Float[Array, "... 1"]) -> Float[Array, "... classes"]:
    """z times factor, a class at -inf staying there without a gradient."""
    impossible = z == -jnp.inf
    return jnp.where(impossible, -jnp.inf, jnp.where(impossible, jnp.zeros_like(z), z) * factor)
