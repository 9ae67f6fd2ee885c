"""Dynamics-aware loss: generalized cross-entropy with a q that grows in training, plus bootstrapping."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax import schedules
from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._generalized_cross_entropy import generalized_cross_entropy
from noisy_optax.losses._properties import stated
from noisy_optax.robust_loss import RobustLoss, scheduled


@stated(bounded=True, symmetric=False)
def dynamics_aware(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: ArrayLike = 0.6,
    bootstrap_weight: ArrayLike = 0.0,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Generalized cross-entropy with any q > 0, plus the entropy of the prediction.

    $$\ell = \frac{1 - p_y^q}{q} + \lambda\,\frac{-\sum_k p_k \log p_k}{q \log C},
      \qquad p = \mathrm{softmax}(z)$$

    With q above 1, an example has more weight if it fits better, and almost none if it does not fit. The
    entropy term, at most lambda/q, makes the model more confident in its own predictions. `dal` gives q and
    lambda their schedules.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      q: > 0; from 0.6 to 1.5 in the paper.
      bootstrap_weight: lambda, >= 0; from 0 to 1 in the paper.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, (1 + lambda) / q], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or q or bootstrap_weight is out of range.

    References:
      Li, Xia, Zhu, Liu, Zhang, Liu, Dynamics-Aware Loss for Learning with Label Noise, arXiv 2303.11562.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels = jnp.zeros((1, 2)), jnp.array([0])
    >>> nox.losses.dynamics_aware(logits, labels, q=2.0, bootstrap_weight=0.5) # (1 - 1/4) / 2 + 0.5 / 2
    Array([0.625], dtype=float32)
    """
    check_range("q", q, above=0.0)
    check_range("bootstrap_weight", bootstrap_weight, at_least=0.0)
    z, _ = _label.prepare(logits, labels, axis=axis, where=where)
    # The range of a JAX array is not checked: here q may exceed 1.
    q = jnp.asarray(q, z.dtype)
    power = generalized_cross_entropy(logits, labels, q=q, axis=axis, where=where)
    share = entropy(z) / jnp.log(jnp.asarray(z.shape[-1], z.dtype))
    return _label.finish(power + jnp.asarray(bootstrap_weight, z.dtype) * share / q, where)


def dal(
    total_epochs: int,
    steps_per_epoch: int,
    *,
    q_start: float = 0.6,
    q_end: float = 1.5,
    curve: schedules.Curve = "linear",
) -> RobustLoss:
    """Dynamics-aware loss: fits all examples early, and mainly the examples that already fit later.

    This is `dynamics_aware` with q from `schedules.dal_q` and bootstrap_weight from
    `schedules.dal_bootstrap`. The state holds their current values, as `state.hyperparameters`.

    Args:
      total_epochs: > 0.
      steps_per_epoch: > 0; calls of `update` in an epoch.
      q_start: > 0; 0.6 in the paper.
      q_end: > q_start; 1.5 in the paper.
      curve: how q grows from epoch to epoch, see `schedules.dal_q`.

    Returns:
      A `RobustLoss` with a `ScheduledState`.

    Raises:
      ValueError: an argument is out of range.

    References:
      Li, Xia, Zhu, Liu, Zhang, Liu, Dynamics-Aware Loss for Learning with Label Noise, arXiv 2303.11562.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> robust = nox.losses.dal(total_epochs=100, steps_per_epoch=500)
    >>> state = robust.update(robust.init(), jnp.zeros((1, 2)), jnp.array([0]))
    >>> float(state.hyperparameters["q"]), float(state.hyperparameters["bootstrap_weight"])
    (0.6..., 0.0)
    """
    arguments = (total_epochs, steps_per_epoch)
    return scheduled(
        dynamics_aware,
        q=schedules.dal_q(*arguments, q_start=q_start, q_end=q_end, curve=curve),
        bootstrap_weight=schedules.dal_bootstrap(*arguments, q_start=q_start, q_end=q_end, curve=curve),
    )


@jax.custom_jvp
def entropy(logits: Float[Array, "... classes"]) -> Float[Array, "..."]:
    """Entropy of the softmax over the last axis in nats, to full relative precision near 0 too."""
    return _entropy_and_gradient(logits)[0]


@entropy.defjvp
def _entropy_jvp(primals, tangents):
    value, gradient = _entropy_and_gradient(*primals)
    return value, jnp.sum(gradient * tangents[0], axis=-1)


def _entropy_and_gradient(logits):
    # d is the distance of a logit to the largest one: entropy = -log p_top + E[d], gradient = p (d - E[d]).
    # For a sure prediction every term is small. In log p, the gradient would subtract numbers near 1.
    lacking = jnp.max(logits, axis=-1, keepdims=True) - logits
    share = jnp.exp(-lacking)
    # The sum of the shares less the 1 of one of the largest, which would round the others away.
    is_top = lacking == 0
    ties = jnp.sum(is_top, axis=-1, keepdims=True, dtype=logits.dtype)
    rest = jnp.sum(jnp.where(is_top, 0.0, share), axis=-1, keepdims=True) + (ties - 1)
    lacking = jnp.where(share == 0, 0.0, lacking)
    mean = jnp.sum(share * lacking, axis=-1, keepdims=True) / (1 + rest)
    return jnp.squeeze(jnp.log1p(rest) + mean, axis=-1), share * ((lacking - mean) / (1 + rest))
