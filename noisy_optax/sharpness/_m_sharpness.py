"""m-sharpness: the batch in chunks, with one perturbation for each chunk."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from noisy_optax.sharpness import _transformation


def m_sharpness(transformation: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    r"""Perturbs the parameters for each chunk of the batch along its gradient, and averages the updates.

    Let $g_c$ be the gradient of chunk $c$ of $C$. Each chunk has its own perturbation, second gradient and
    mask:

    $$u = \frac{1}{C} \sum_c \text{combination}(g_c,\; \text{grad\_fn}(w + \text{perturbation}(g_c),\, c))$$

    `update` takes per-chunk gradients, with a leading axis over chunks on every leaf, and two keywords:
    `chunks`, a pytree of arrays with that leading axis, such as `split_chunks` makes, and `grad_fn`, a
    function of parameters and one chunk. Chunks of one example give per-example perturbations, m = 1. All
    chunks are computed at once, by `jax.vmap`: memory holds as many gradients as there are chunks.
    `training_step` passes on the gradient of the whole batch, so it cannot use this transformation. Use its
    `accumulate` instead, which perturbs the parameters for each micro-batch along its gradient.

    All chunks share one state. With a running mean, the step of each chunk starts from the mean over the
    previous whole batches. The result is averaged over chunks. Since the rule is linear, it is the running
    mean of the gradients of the whole batches.

    Args:
      transformation: made by `sharpness_aware` or a function that calls it, such as `saner`. Put
        transformations that do not average over chunks, such as momentum, after this one in the chain.

    Raises:
      ValueError: from `update`, if something is missing or the leading axes differ.

    References:
      Foret, Kleiner, Mobahi, Neyshabur, Sharpness-Aware Minimization for Efficiently Improving
      Generalization, ICLR 2021, section 4.1.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> def loss(w, chunk):
    ...   return jnp.mean(0.5 * (w[None] - chunk) ** 2)
    >>> grad_fn = jax.grad(loss)
    >>> optimizer = optax.chain(nox.sharpness.m_sharpness(nox.saner(rho=0.1)), optax.sgd(0.1))
    >>> params, batch = jnp.zeros(1), jnp.array([[1.0], [2.0], [3.0], [-4.0]])
    >>> chunks = nox.sharpness.split_chunks(batch, size=2)
    >>> gradients = jax.vmap(grad_fn, (None, 0))(params, chunks)
    >>> updates, _ = optimizer.update(
    ...   gradients, optimizer.init(params), params, grad_fn=grad_fn, chunks=chunks
    ... )
    >>> updates # the chunks pull by 1.5 and -0.5, perturbed by 1.6 and -0.6
    Array([0.05], dtype=float32)
    """
    inner = optax.with_extra_args_support(transformation)

    def update_fn(updates, state, params=None, *, grad_fn=None, chunks=None, **extra_args):
        _transformation.check_inputs(params, grad_fn)
        _check_chunks(updates, chunks)

        def update_one(gradient, chunk):
            def chunk_grad_fn(perturbed):
                return grad_fn(perturbed, chunk)

            return inner.update(gradient, state, params, grad_fn=chunk_grad_fn, **extra_args)

        updates, states = jax.vmap(update_one)(updates, chunks)
        return jax.tree.map(lambda x: jnp.mean(x, axis=0), updates), jax.tree.map(_merge, states)

    return optax.GradientTransformationExtraArgs(inner.init, update_fn)


def split_chunks(batch: Any, size: int) -> Any:
    """Splits the leading axis of every array into chunks of `size`: `[B, ...]` to `[B / size, size, ...]`.

    Args:
      batch: a pytree of arrays.
      size: > 0, examples in a chunk, the m of m-sharpness.

    Raises:
      ValueError: an array's leading axis is not a multiple of `size`.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> images, labels = nox.sharpness.split_chunks((jnp.zeros((8, 3)), jnp.arange(8)), size=4)
    >>> images.shape, labels.shape
    ((2, 4, 3), (2, 4))
    """

    def split(x):
        if jnp.ndim(x) == 0 or size < 1 or len(x) % size:
            raise ValueError(
                f"expected arrays whose leading axis divides into chunks of {size}, got shape {jnp.shape(x)}"
            )
        return x.reshape(-1, size, *x.shape[1:])

    return jax.tree.map(split, batch)


def _check_chunks(gradients: optax.Updates, chunks: Any) -> None:
    if chunks is None:
        raise ValueError(
            "expected the keyword chunks, got None; call update(gradients, state, params, grad_fn=grad_fn, "
            "chunks=split_chunks(batch, size)) with grad_fn(params, chunk)"
        )
    shapes = [jnp.shape(x) for x in jax.tree.leaves((gradients, chunks))]
    if len({shape[:1] for shape in shapes}) != 1 or () in shapes:
        raise ValueError(
            f"expected gradients and chunks with the same leading axis over chunks, got shapes {shapes}"
        )


def _merge(x: jax.Array) -> jax.Array:
    """One state from those of all chunks: counters agree, running means are averaged."""
    return jnp.mean(x, axis=0) if jnp.issubdtype(x.dtype, jnp.floating) else x[0]
