"""The weighted mean of the losses."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.losses import _label


def weighted_mean(
    losses: Float[Array, "..."], weights: ArrayLike | None, where: ArrayLike | None
) -> Float[Array, ""]:
    """The weighted mean of the losses over the examples that `where` keeps; 0 if there are none.

    Args:
      losses: floating, `[...]`, 0 where `where` is False.
      weights: floating, >= 0, shaped like the losses, or None for 1 each.
      where: boolean, shaped like the losses, or None for all.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.training.weighted_mean(jnp.array([1.0, 3.0]), weights=jnp.array([3.0, 1.0]), where=None)
    Array(1.5, dtype=float32)
    """
    if weights is None and where is None:
        return jnp.mean(losses)
    factors = _factors(losses.shape, weights, where, losses.dtype)
    total = jnp.sum(factors)
    # A masked-out loss is 0, but its weight may be anything.
    return jnp.sum(factors * losses) / jnp.where(total == 0, jnp.ones_like(total), total)


def total_weight(labels: ArrayLike, weights: ArrayLike | None, where: ArrayLike | None) -> Float[Array, ""]:
    """The sum of the weights in a mean over these labels."""
    shape = jnp.shape(labels)
    return jnp.sum(_factors(shape, weights, where, jnp.result_type(float)))


def _factors(
    shape: tuple[int, ...], weights: ArrayLike | None, where: ArrayLike | None, dtype: Any
) -> Float[Array, "..."]:
    factors = jnp.ones(shape, dtype)
    if weights is not None:
        weights = jax.lax.stop_gradient(jnp.asarray(weights))
        if not jnp.issubdtype(weights.dtype, jnp.floating):
            raise TypeError(f"weights must be floating, got {weights.dtype} of shape {weights.shape}")
        if weights.shape != shape:
            raise ValueError(
                f"expected weights of shape {shape}, like labels, got {weights.shape}; for weights of "
                f"classes pass class_weights[labels]"
            )
        factors = weights.astype(dtype)
    if where is not None:
        factors = jnp.where(_label.example_mask(where, shape), factors, jnp.zeros_like(factors))
    return factors
