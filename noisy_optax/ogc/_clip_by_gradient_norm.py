"""OGC for any loss: clips the norms of per-example gradients at a threshold that follows the training."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from noisy_optax.losses import _label
from noisy_optax.ogc import _per_example, _state, _threshold
from noisy_optax.ogc._mixture import fit_mixture
from noisy_optax.ogc._state import GradientNormState

# Logarithms of the norms that a refit tells apart, relative to their median.
RELATIVE_RANGE = (math.log(1e-4), math.log(1e12))


def clip_by_gradient_norm(
    bound: float | optax.Schedule,
    *,
    update_every: int = 32,
    queue_size: int = 4096,
    axis_name: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Clips the norms of per-example gradients, as OGC clips slopes, and returns the gradients' mean.

    $$\frac{1}{B} \sum_i w_i \nabla_\theta \ell_i, \qquad w_i = \min\Big(1, \frac{b}{n_i}\Big),
      \quad n_i = \|\nabla_\theta \ell_i\|_2$$

    The mixture of OGC is fitted to the square roots of the norms, and `solve_norm_threshold` gives the limit
    b on the norms. No probability is needed, so the loss may be any loss, also of regression. Gradients of
    zero are ignored in the fit. This form is our own and not in the paper.

    Use it as the first link of an `optax.chain`; the next link gets one gradient, not B. `update` takes the
    result of `per_example_gradients`, and these keyword arguments:

    - `where`: boolean, `[B]`; examples that are False are left out of the mean and of the fit.
    - `weighted_gradient`: a function of weights `[B]` that returns $\sum_i w_i \nabla_\theta \ell_i$, as
      made with `noisy_optax.weighted_gradient`. With it `updates` may be None, so that the B gradients need
      not exist at once; the norms then come as `gradient_norms`, `[B]`.

    Under `optax.inject_hyperparams` it needs `static_args=("update_every", "queue_size")`.

    Args:
      bound: >= 1, or a function of the 0-based step: the largest allowed ratio of the mean clipped norm of
        the noisy component to that of the clean one.
      update_every: steps from one refit to the next, > 0.
      queue_size: > 0.
      axis_name: under `shard_map`, the mesh axis the batch is split over; the queue then takes the whole
        batch. The returned mean is over the device's own examples: average it with `jax.lax.pmean`.

    Returns:
      An `optax.GradientTransformationExtraArgs` with a `GradientNormState`.

    Raises:
      ValueError: an option is out of range; from `update`, an argument is missing or its leading axis is
        not that of the gradients.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941, for the principle.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> gradients = nox.per_example_gradients(lambda w, x, y: (x @ w - y) ** 2)
    >>> optimizer = optax.chain(nox.ogc.clip_by_gradient_norm(bound=1.1), optax.sgd(0.1))
    >>> w, x, y = jnp.zeros(4), jnp.ones((8, 4)), jnp.ones(8)
    >>> state = optimizer.init(w)
    >>> updates, state = optimizer.update(gradients(w, x, y), state, w)
    >>> updates.shape
    (4,)
    """
    _state.check_schedule(update_every, queue_size)
    bound_at = _state.bound_schedule(None, 1.0, bound)

    def init():
        queue = _state.empty_queue(queue_size, bound_at(jnp.zeros([], jnp.int32)))
        return GradientNormState(**queue, max_norm=jnp.asarray(jnp.finfo(queue["queue"].dtype).max))

    rule = _per_example.Rule(init, _gradient_norms, _observe, _refit, _weights)
    return _per_example.weighted_mean(rule, bound_at, update_every, axis_name)


def _gradient_norms(updates: Any, extra_args: dict[str, Any]) -> Float[Array, "B"]:
    if updates is not None:
        return example_norms(updates)
    return _per_example.required(
        extra_args, "gradient_norms", "the norms of the per-example gradients, beside weighted_gradient"
    )


def _observe(norms, where):
    valid = (norms > 0) & (norms < jnp.inf)
    valid = valid if where is None else valid & where
    return jnp.log(jnp.where(valid, norms, 1.0)), valid


def _refit(state):
    median = jnp.nanmedian(jnp.where(state.valid, state.queue, jnp.nan))
    # In units of the median, so that the mixture does not depend on the loss's own.
    relative = jnp.clip(jnp.where(state.valid, state.queue - median, 0.0), *RELATIVE_RANGE)
    mixture = fit_mixture(jnp.exp(0.5 * relative), state.valid)
    norms = jnp.exp(relative)
    low = jnp.min(jnp.where(state.valid, norms, jnp.inf))
    high = jnp.max(jnp.where(state.valid, norms, 0.0))
    max_norm = _threshold.solve_norm_threshold(mixture, (low, high), state.bound)
    unit = jnp.exp(median)
    mixture = mixture._replace(means=mixture.means * jnp.sqrt(unit), variances=mixture.variances * unit)
    return state._replace(mixture=mixture, max_norm=max_norm * unit)


def _weights(state, norms):
    max_norm = state.max_norm.astype(norms.dtype)
    return jnp.where(norms > max_norm, max_norm / jnp.where(norms > max_norm, norms, 1.0), 1.0)


def example_norms(gradients: Any) -> Float[Array, "B"]:
    """Euclidean norm of each example's gradient, safe where its squares would under- or overflow."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(gradients) if leaf.size]
    leaves = [_label.at_least_32_bits(leaf.reshape(leaf.shape[0], -1)) for leaf in leaves]
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), axis=1) for leaf in leaves]), axis=0)
    unit = jnp.where((largest > 0) & (largest < jnp.inf), largest, 1.0)
    squares = [jnp.sum(jnp.square(leaf / unit[:, None]), axis=1) for leaf in leaves]
    return unit * jnp.sqrt(sum(squares[1:], squares[0]))
