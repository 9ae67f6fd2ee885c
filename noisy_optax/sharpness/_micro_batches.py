"""Gradients in micro-batches, for chains with sharpness-aware minimization without `training_step`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from noisy_optax.sharpness import _tree


def micro_batch_grad_fn(
    grad_fn: Callable[[optax.Params, Any], optax.Updates], micro_batches: Any, *, when: ArrayLike = True
) -> Callable[[optax.Params], optax.Updates]:
    """A `grad_fn` for a batch too large for one pass: the mean of the micro-batches' gradients.

    The simplest loop needs only this: `full = micro_batch_grad_fn(grad_fn, micro_batches)`, then
    `update(full(params), state, params, grad_fn=full)`.

    Under `optax.MultiSteps`, the second gradient also has to cover all k micro-batches. MultiSteps calls the
    optimizer in each of its k steps, but keeps only the last result. `when=state.mini_step == k - 1` skips
    the passes that would be discarded.

    Args:
      grad_fn: `grad_fn(params, micro_batch) -> gradient`.
      micro_batches: a pytree of arrays with a leading axis over micro-batches of the same size.
      when: boolean scalar; if it is False, nothing is computed and zeros are returned.

    Returns:
      `grad_fn(params) -> gradient`, averaged by `jax.lax.scan` in float32 or wider.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> grad_fn = jax.grad(lambda w, x: jnp.mean((w - x) ** 2))
    >>> optimizer = optax.MultiSteps(optax.chain(nox.sharpness.sam(rho=0.5), optax.sgd(0.1)), 2)
    >>> params, micro_batches = jnp.array(1.0), jnp.array([[2.0, 3.0], [6.0, 5.0]])
    >>> state = optimizer.init(params)
    >>> for micro_batch in micro_batches:
    ...   second = nox.sharpness.micro_batch_grad_fn(grad_fn, micro_batches, when=state.mini_step == 1)
    ...   updates, state = optimizer.update(grad_fn(params, micro_batch), state, params, grad_fn=second)
    >>> updates # 0.1 * 2 * (4 - 0.5)
    Array(0.7, dtype=float32)
    """

    def mean_gradient(params):
        first = jax.tree.map(lambda x: x[0], micro_batches)
        shapes = jax.eval_shape(lambda: _tree.widen(grad_fn(params, first)))
        zeros = optax.tree.zeros_like(shapes)

        def add(mean, batch):
            index, micro_batch = batch
            gradient = _tree.widen(grad_fn(params, micro_batch))
            mean = jax.tree.map(lambda m, g: m + (g - m) / index.astype(m.dtype), mean, gradient)
            return mean, None

        def scan():
            count = len(jax.tree.leaves(micro_batches)[0])
            return jax.lax.scan(add, zeros, (jnp.arange(1, count + 1), micro_batches))[0]

        return jax.lax.cond(jnp.asarray(when), scan, lambda: zeros)

    return mean_gradient
