"""Gradients of single examples, and weighted sums of them, in memory that a chunk size bounds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label

Losses = Callable[..., Any]


def per_example_gradients(
    losses: Losses,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    keep: Callable[[Any], Any] | None = None,
) -> Callable[..., Any]:
    r"""The gradient of each example's loss, $\nabla_\theta \ell_i$, instead of their mean.

    Every example passes through `losses` as a batch of one. If the forward pass mixes the examples of a
    batch, as batch normalisation in training mode does, a single example has no gradient of its own, and the
    result would be that of another model. Use group or layer normalisation, or the running statistics. Call
    `check_examples_independent` once to make sure. Under `shard_map`, each device has its own examples.

    Args:
      losses: `losses(params, *batch) -> [B]`, one value per example; with `has_aux`, a pair of that and any
        pytree with a leading axis of B. `batch` may be any pytrees with that leading axis.
      has_aux: whether `losses` returns a pair.
      chunk_size: how many gradients are computed at the same time, >= 1, by default all. It need
        not divide B.
      keep: a function of each example's gradient, a pytree like `params`; only its result is kept. By default
        the whole gradient is kept. All gradients together take B times the memory of the parameters. With
        `keep=optax.tree.norm`, only the gradients of one chunk exist at a time (cast half precision first,
        because squares underflow).

    Returns:
      `gradients(params, *batch)`, a pytree like `params` with a leading axis of B on every leaf, or what
      `keep` returns for it; with `has_aux`, a pair of that and the auxiliary pytree.

    Raises:
      ValueError: chunk_size is out of range; when called, leading axes differ or the losses are not one per
        example.

    >>> import jax.numpy as jnp, optax, noisy_optax as nox
    >>> def losses(w, x, y):
    ...   return (x @ w - y) ** 2
    >>> x, y = jnp.array([[1.0, 1.0], [1.0, 2.0]]), jnp.array([1.0, 1.0])
    >>> nox.per_example_gradients(losses)(jnp.zeros(2), x, y)
    Array([[-2., -2.],
           [-2., -4.]], dtype=float32)
    >>> norms = nox.per_example_gradients(losses, chunk_size=1, keep=optax.tree.norm)
    >>> norms(jnp.zeros(2), x, y).round(2)
    Array([2.83, 4.47], dtype=float32)
    """
    _check_chunk_size(chunk_size)

    def gradients(params, *batch):
        size, params = batch_size(batch), _as_varying_as(batch, params)

        def one(example):
            def loss(params):
                values, aux = _values(losses, has_aux, params, jax.tree.map(lambda x: x[None], example))
                return values[0], jax.tree.map(lambda x: x[0], aux)

            gradient, aux = jax.grad(loss, has_aux=True)(params)
            return gradient if keep is None else keep(gradient), aux

        if chunk_size is None or chunk_size >= size:
            kept, aux = jax.vmap(one)(batch)
        else:
            kept, aux = jax.lax.map(one, batch, batch_size=chunk_size)
        return (kept, aux) if has_aux else kept

    return gradients


def weighted_gradient(losses: Losses, *, chunk_size: int | None = None) -> Callable[..., Any]:
    r"""The weighted sum of the examples' gradients, $\sum_i w_i \nabla_\theta \ell_i$, in one backward pass.

    The weights are constants: no gradient flows through them. Equal to the same sum over
    `per_example_gradients`, for models that do not mix examples.

    Args:
      losses: `losses(params, *batch) -> [B]`, one value per example.
      chunk_size: how many examples are in memory at a time, >= 1, by default all. It need not divide B.

    Returns:
      `gradient(params, weights, *batch)`, a pytree like `params`; `weights` is floating, `[B]`, 1/B each
      for the mean. A loss that is NaN makes the sum NaN even with weight 0: mask it with the loss's `where`.

    Raises:
      ValueError: chunk_size is out of range; when called, leading axes differ or the losses are not one per
        example.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> def losses(w, x, y):
    ...   return (x @ w - y) ** 2
    >>> x, y = jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([1.0, 1.0])
    >>> nox.weighted_gradient(losses)(jnp.zeros(2), jnp.array([0.5, 0.25]), x, y)
    Array([-1., -1.], dtype=float32)
    """
    _check_chunk_size(chunk_size)

    def of_chunk(params, weights, batch):
        def loss(params):
            values, _ = _values(losses, False, params, batch)
            return jnp.sum(values * weights.astype(values.dtype))

        return jax.grad(loss)(params)

    def gradient(params, weights, *batch):
        size, params = batch_size((weights, *batch)), _as_varying_as(batch, params)
        if chunk_size is None or chunk_size >= size:
            return of_chunk(params, weights, batch)
        whole = size - size % chunk_size

        def add_chunk(total, chunk):
            gradient = of_chunk(params, *chunk)
            return jax.tree.map(lambda t, g: t + g.astype(t.dtype), total, gradient), None

        chunks = jax.tree.map(lambda x: x[:whole].reshape(-1, chunk_size, *x.shape[1:]), (weights, batch))
        # Half precision would stop counting after a few hundred terms.
        zeros = jax.tree.map(lambda x: jnp.zeros_like(_label.at_least_32_bits(jnp.asarray(x))), params)
        total, _ = jax.lax.scan(add_chunk, zeros, chunks)
        if whole < size:
            total, _ = add_chunk(total, jax.tree.map(lambda x: x[whole:], (weights, batch)))
        return jax.tree.map(lambda t, x: t.astype(jnp.asarray(x).dtype), total, params)

    return gradient


def check_examples_independent(losses: Losses, params: Any, *batch: Any) -> None:
    """Raises ValueError if an example's loss depends on the other examples of its batch.

    Evaluates the losses of the batch together and one by one: call it once, outside of `jit`, on a small
    batch of real examples.

    Args:
      losses: `losses(params, *batch) -> [B]`, one value per example.
      params: as `losses` takes them.
      *batch: pytrees with a leading axis of at least 2.

    Raises:
      ValueError: an example's loss alone differs from its loss in the batch by more than 0.1 percent.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> def batch_normalised(w, x):
    ...   return (x - x.mean(0)) @ w
    >>> x = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    >>> nox.check_examples_independent(batch_normalised, jnp.ones(2), x)
    Traceback (most recent call last):
        ...
    ValueError: the loss of example 0 is -0.5 in its batch and 0 alone: the model mixes examples, ...
    """
    if batch_size(batch) < 2:
        raise ValueError("expected a batch of at least 2 examples, got 1, which nothing can mix")
    together, _ = _values(losses, False, params, batch)

    def alone(example):
        return _values(losses, False, params, jax.tree.map(lambda x: x[None], example))[0][0]

    singly = jax.lax.map(alone, batch)
    differing = ~np.isclose(together, singly, rtol=1e-3, atol=1e-5, equal_nan=True)
    if np.any(differing):
        first = int(np.argmax(differing))
        raise ValueError(
            f"the loss of example {first} is {together[first]:.4g} in its batch and {singly[first]:.4g} "
            f"alone: the model mixes examples, as batch normalisation does in training mode, so it has no "
            f"per-example gradients; use group or layer normalisation, or the running statistics"
        )


def _as_varying_as(batch: Any, params: Any) -> Any:
    """`params`, under `shard_map` as each device's own: gradients of shared ones are summed over devices."""
    # `jax.lax.pcast` does the same for given axes; the name under which an array tells its axes differs
    # between the JAX versions that we support.
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return params
    leaves = [leaf for leaf in jax.tree.leaves(batch) if leaf.size]

    def vary(param):
        for leaf in leaves:
            # Never the second one, which is there only because it differs between devices.
            entry = leaf.ravel()[0].astype(param.dtype)
            param = jnp.where(jnp.ones(param.shape, bool), param, jnp.broadcast_to(entry, param.shape))
        return param

    return jax.tree.map(vary, params)


def batch_size(batch: Any) -> int:
    """The leading axis that all leaves share."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(batch)]
    sizes = {shape[0] for shape in shapes if shape}
    if len(sizes) != 1 or not all(shapes):
        raise ValueError(f"expected arrays with one leading axis over the examples, got shapes {shapes}")
    return sizes.pop()


def _check_chunk_size(chunk_size: int | None) -> None:
    if chunk_size is not None:
        check_range("chunk_size", chunk_size, at_least=1)


def _values(losses: Losses, has_aux: bool, params: Any, batch: Any) -> tuple[Float[Array, "B"], Any]:
    values, aux = losses(params, *batch) if has_aux else (losses(params, *batch), None)
    expected = (batch_size(batch),)
    if jnp.shape(values) != expected:
        raise ValueError(
            f"losses must return one value per example, shape {expected}, got {jnp.shape(values)}; "
            f"leave out the mean"
        )
    return values, aux
