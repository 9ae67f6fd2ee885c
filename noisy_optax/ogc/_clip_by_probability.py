"""OGC for per-example gradients: scales down each gradient that `ogc_loss` would clip."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.losses import _cross_entropy, _of_probability
from noisy_optax.ogc import _loss, _per_example, _state, _threshold
from noisy_optax.ogc._state import OGCState
from noisy_optax.ogc._threshold import Mode
from noisy_optax.robust_loss import Loss


def clip_by_probability(
    base: Loss = _cross_entropy.cross_entropy,
    *,
    learning_rate: float | optax.Schedule | None = None,
    epsilon: float = 20.0,
    bound: float | optax.Schedule | None = None,
    update_every: int = 32,
    queue_size: int = 4096,
    mode: Mode = "default",
    axis_name: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Optimized gradient clipping of per-example gradients; returns their weighted mean.

    $$\frac{1}{B} \sum_i w_i \nabla_\theta \ell_i, \qquad w_i = \min\Big(1, \frac{\tau}{g(p_i)}\Big)$$

    With the gradients of the base loss, this is the gradient of `ogc_loss`, which explains how $\tau$ follows
    the training. Use it in loops that have per-example gradients anyway; `ogc_loss` costs one ordinary
    backward pass. `clip_by_gradient_norm` needs no probability.

    Use it as the first link of an `optax.chain`; the next link gets one gradient, not B. `update` takes the
    result of `per_example_gradients`, and these keyword arguments:

    - `log_probabilities`: `[B]`, $\log p$ of the given labels, from `label_log_probability`.
    - `where`: boolean, `[B]`; examples that are False are left out of the mean and of the fit.
    - `weighted_gradient`: a function of weights `[B]` that returns $\sum_i w_i \nabla_\theta \ell_i$, as
      made with `noisy_optax.weighted_gradient`. With it `updates` may be None, so that the B gradients need
      not exist at once.

    Under `optax.inject_hyperparams` it needs `static_args=("base", "update_every", "queue_size")`.
    `optax.experimental.aggregating.process` takes it as aggregator, but cannot pass a function such as
    `grad_fn` of sharpness-aware minimization to the next transformation: use `optax.chain` for that.

    Args:
      base: the loss of the incoming gradients, a decreasing, convex function of p alone.
      learning_rate: the optimizer's, or its schedule, a function of the 0-based step.
      epsilon: > 0; 20 in the paper, for SGD with learning rates that fall from 0.1.
      bound: >= 1, or a function of the 0-based step; replaces `1 + learning_rate * epsilon`.
      update_every: steps from one refit to the next, > 0.
      queue_size: > 0.
      mode: how the threshold is searched, see `solve_threshold`.
      axis_name: under `shard_map`, the mesh axis the batch is split over; the queue then takes the whole
        batch. The returned mean is over the device's own examples: average it with `jax.lax.pmean`.

    Returns:
      An `optax.GradientTransformationExtraArgs` with an `OGCState`.

    Raises:
      ValueError: an option is out of range, or not exactly one of learning_rate and bound is given; from
        `init`, base is not decreasing, convex or a function of p alone; from `update`, an argument is
        missing or its leading axis is not that of the gradients.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> def losses(w, x, y):
    ...   logits = x @ w
    ...   return nox.losses.cross_entropy(logits, y), nox.losses.label_log_probability(logits, y)
    >>> gradients = nox.per_example_gradients(losses, has_aux=True)
    >>> clipping = nox.ogc.clip_by_probability(learning_rate=0.1)
    >>> optimizer = optax.chain(clipping, optax.sgd(0.1, momentum=0.9))
    >>> w, x, y = jnp.zeros((4, 3)), jnp.ones((8, 4)), jnp.zeros(8, int)
    >>> state = optimizer.init(w)
    >>> g, log_p = gradients(w, x, y)
    >>> updates, state = optimizer.update(g, state, w, log_probabilities=log_p)
    >>> updates.shape
    (4, 3)
    """
    _threshold.check_mode(mode)
    _state.check_schedule(update_every, queue_size)
    bound_at = _state.bound_schedule(learning_rate, epsilon, bound)
    slopes = _loss.tabulated(base, mode)
    rule = _per_example.Rule(
        init=lambda: _loss.initial_state(queue_size, bound_at, slopes()),
        statistic=_log_probabilities,
        observe=_loss.negative_log_likelihood,
        refit=lambda state: _loss.refit(state, slopes(), mode),
        weights=lambda state, log_p: _of_probability.clip_weights(base, log_p, state.tau),
    )
    return _per_example.weighted_mean(rule, bound_at, update_every, axis_name)


def _log_probabilities(updates: Any, extra_args: dict[str, Any]) -> Float[Array, "B"]:
    del updates
    return _per_example.required(
        extra_args,
        "log_probabilities",
        "log p of the given labels, label_log_probability(logits, labels)",
    )


def clipped_grad_fn(
    transformation: optax.GradientTransformationExtraArgs,
    state: OGCState,
    base: Loss,
    logits_fn: Callable[[Any], Float[Array, "B classes"]],
    labels: ArrayLike,
    *,
    log_probabilities: ArrayLike,
    where: ArrayLike | None = None,
) -> Callable[[Any], Any]:
    """The second gradient of sharpness-aware minimization, clipped at this step's threshold.

    Use it for `optax.chain(clip_by_probability(...), saner(...), ...)`. There, `grad_fn` has to clip like the
    first link in the same step, including a refit. With `ogc_loss`, evaluate `value` again instead.

    Args:
      transformation: what `clip_by_probability` returned.
      state: its state before the step; in the state of a chain, this is the first entry.
      base: the base that `clip_by_probability` was given.
      logits_fn: `logits_fn(params) -> [B, C]`, on the batch of the step.
      labels: integer, `[B]`.
      log_probabilities: `[B]`, as given to `update`.
      where: boolean, `[B]`, as given to `update`.

    Returns:
      `grad_fn(params)`, the gradient of the mean clipped loss.

    >>> import jax.numpy as jnp, optax, noisy_optax as nox
    >>> x, y, w = jnp.ones((8, 4)), jnp.zeros(8, int), jnp.zeros((4, 3))
    >>> clipping = nox.ogc.clip_by_probability(learning_rate=0.1)
    >>> log_p = nox.losses.label_log_probability(x @ w, y)
    >>> grad_fn = nox.ogc.clipped_grad_fn(
    ...   clipping, clipping.init(w), nox.losses.cross_entropy, lambda w: x @ w, y, log_probabilities=log_p
    ... )
    >>> grad_fn(w).shape
    (4, 3)
    """
    if not isinstance(state, OGCState):
        raise ValueError(f"expected the OGCState of clip_by_probability, got {type(state).__name__}")
    # Only the state is needed here, so no gradients are passed.
    _, state = transformation.update(
        None, state, log_probabilities=log_probabilities, where=where, weighted_gradient=lambda weights: None
    )
    loss = _loss.clipped_loss(base, state)

    def mean_loss(params):
        losses = loss(logits_fn(params), labels, where=where)
        kept = losses.size if where is None else jnp.maximum(jnp.sum(where, dtype=losses.dtype), 1.0)
        return jnp.sum(losses) / kept

    return jax.grad(mean_loss)
