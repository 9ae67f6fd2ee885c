"""Gradients of several calls make one step of the optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from noisy_optax.sharpness import _tree


class Accumulation(NamedTuple):
    """Accumulated gradients of the calls since the latest step of the optimizer.

    Attributes:
      calls: int32 scalar, the number of accumulated calls of `update`.
      weight: floating scalar, the sum of these calls' weights.
      mean: like the parameters, in float32 or wider, the weighted mean of the directions.
    """

    calls: Int[Array, ""]
    weight: Float[Array, ""]
    mean: Any


def nothing(params: Any) -> Accumulation:
    """The state before the first call."""
    mean = jax.tree.map(jnp.zeros_like, _tree.widen(params))
    return Accumulation(jnp.zeros([], jnp.int32), jnp.zeros([], float), mean)


def add(state: Accumulation, gradient: Any, weight: Float[Array, ""]) -> Accumulation:
    """Takes in the gradient of one call, with the sum of its examples' weights."""
    total = state.weight + weight
    share = weight / jnp.where(total == 0, jnp.ones_like(total), total)

    def further(mean, g):
        return mean + share.astype(mean.dtype) * (g.astype(mean.dtype) - mean)

    return Accumulation(state.calls + 1, total, jax.tree.map(further, state.mean, gradient))


def keep_counts(old: Any, new: Any, moves_on: Bool[Array, ""]) -> Any:
    """`new`, with the counts of `old` unless the optimizer makes its step."""

    def has_count(node):
        return isinstance(node, tuple) and "count" in getattr(node, "_fields", ())

    def choose(old, new):
        if not has_count(new):
            return new
        others = {
            name: keep_counts(getattr(old, name), getattr(new, name), moves_on)
            for name in new._fields
            if name != "count"
        }
        return new._replace(count=jnp.where(moves_on, new.count, old.count), **others)

    return jax.tree.map(choose, old, new, is_leaf=has_count)
