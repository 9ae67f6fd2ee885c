"""Helpers for training loops: both passes with their auxiliary results, and gradients in micro-batches."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.sharpness import _tree


class Step(NamedTuple):
    """What one training step gives, for `value_and_update`.

    Attributes:
      updates: for `optax.apply_updates`.
      state: of the optimizer.
      value: scalar, the loss at the parameters.
      aux: what the loss returned beside it there.
      perturbed_value: scalar, the loss at the perturbed parameters; None if there was no second pass, or if
        it ran inside a branch (see `value_and_update`).
      perturbed_aux: what the loss returned beside it there, or None in the same cases.
    """

    updates: optax.Updates
    state: optax.OptState
    value: Float[Array, ""]
    aux: Any
    perturbed_value: Float[Array, ""] | None
    perturbed_aux: Any


def value_and_update(
    loss_fn: Callable[..., tuple[Array, Any]],
    optimizer: optax.GradientTransformation | optax.MultiSteps,
    *,
    second_loss_fn: Callable[..., tuple[Array, Any]] | None = None,
) -> Callable[..., Step]:
    """One training step, with auxiliary results of the clean and of the perturbed pass.

    Such as BatchNorm statistics: each pass computes new ones, and the training loop keeps either. `aux`, of
    the clean pass, are those of the parameters that are trained; the published SANER code keeps those of the
    second pass, `perturbed_aux`. With a `RobustLoss`, `loss_fn` calls `update` and `value` and returns the
    new state in its aux, and `second_loss_fn` only calls `value` with it, so that the state advances once.

    Optimizers that need no second gradient work too, and give None for the perturbed pass. So do wrappers
    that call the optimizer inside a branch, `optax.MultiSteps` and `optax.apply_if_finite`: the second pass
    runs, but nothing but the updates can come out of the branch. Under `optax.MultiSteps` the second gradient
    has to cover all micro-batches: pass `grad_fn=micro_batch_grad_fn(...)` to `step`.

    Args:
      loss_fn: `loss_fn(params, *args) -> (loss, aux)`.
      optimizer: any, such as `optax.chain(saner(...), optax.sgd(...))`; `update` is given `grad_fn` and
        `value`, the clean loss. An `optax.MultiSteps` as it is: its `gradient_transformation()` takes no
        such arguments.
      second_loss_fn: `second_loss_fn(params, aux, *args) -> (loss, aux)` for the perturbed pass, where `aux`
        is the clean pass's; `loss_fn` again if None.

    Returns:
      `step(params, state, *args, **extra_args) -> Step`, where `extra_args` go to the optimizer; `grad_fn`
      among them replaces the one made here.

    Raises:
      ValueError: from `step`, if the optimizer is an `optax.MultiSteps` and there is no `grad_fn`.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> def loss_fn(w, x):
    ...   y = x * w
    ...   return jnp.mean(y**2), jnp.mean(y)
    >>> optimizer = optax.chain(nox.sharpness.sam(rho=0.5), optax.sgd(0.1))
    >>> step = jax.jit(nox.sharpness.value_and_update(loss_fn, optimizer))
    >>> params = jnp.array(1.0)
    >>> result = step(params, optimizer.init(params), jnp.array([1.0, 3.0]))
    >>> result.aux, result.perturbed_aux
    (Array(2., dtype=float32), Array(3., dtype=float32))
    >>> result.updates
    Array(-1.5, dtype=float32)
    """
    if isinstance(optimizer, optax.GradientTransformation):
        optimizer = optax.with_extra_args_support(optimizer)

    def step(params, state, *args, **extra_args):
        here = _trace_state()
        (value, aux), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, *args)
        # What grad_fn saw besides the gradient. Kept only if it ran in this very trace, where it is a value
        # like any other; what a branch computes must not leave it this way.
        perturbed = []

        def grad_fn(params):
            if second_loss_fn is None:
                result, gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, *args)
            else:
                result, gradient = jax.value_and_grad(second_loss_fn, has_aux=True)(params, aux, *args)
            if _trace_state() == here:
                perturbed.append(result)
            return gradient

        # A grad_fn of the caller's, for micro-batches, comes before ours.
        extra_args = {"value": value, "grad_fn": grad_fn, **extra_args}
        if isinstance(optimizer, optax.MultiSteps) and extra_args["grad_fn"] is grad_fn:
            raise ValueError(
                "under optax.MultiSteps the second gradient has to cover all micro-batches; call step(..., "
                "grad_fn=micro_batch_grad_fn(...))"
            )
        updates, state = optimizer.update(gradient, state, params, **extra_args)
        perturbed_value, perturbed_aux = perturbed[-1] if perturbed else (None, None)
        return Step(updates, state, value, aux, perturbed_value, perturbed_aux)

    return step


def micro_batch_grad_fn(
    grad_fn: Callable[[optax.Params, Any], optax.Updates], micro_batches: Any, *, when: ArrayLike = True
) -> Callable[[optax.Params], optax.Updates]:
    """A `grad_fn` for a batch too large for one pass: the mean of the micro-batches' gradients.

    The simplest loop needs no more than that: `full = micro_batch_grad_fn(grad_fn, micro_batches)`, then
    `update(full(params), state, params, grad_fn=full)`.

    Under `optax.MultiSteps` the second gradient too has to cover all k micro-batches. MultiSteps calls the
    optimizer in each of its k steps, though it keeps only the last result; `when=state.mini_step == k - 1`
    leaves out the passes that would be thrown away.

    Args:
      grad_fn: `grad_fn(params, micro_batch) -> gradient`.
      micro_batches: a pytree of arrays with a leading axis over micro-batches of the same size.
      when: boolean scalar; zeros are returned, and nothing is computed, where it is False.

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


def _trace_state() -> object:
    """Equal in two places that JAX traces, or runs, at the same level."""
    # Here, since it brings Pallas with it, which takes as long to import as all of this library.
    from jax.extend.core import get_opaque_trace_state

    return get_opaque_trace_state(convention="noisy_optax")
