"""The three groups that SANER divides the components of a gradient into."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class GroupMasks(NamedTuple):
    """Which components of an array are in which group, by the ratio r of second to first gradient.

    Attributes:
      a: boolean, r > 1.
      b: boolean, 0 < r < 1.
      c: boolean, r < 0.
    """

    a: Bool[Array, "..."]
    b: Bool[Array, "..."]
    c: Bool[Array, "..."]


def group_masks(first: Float[Array, "..."], second: Float[Array, "..."]) -> GroupMasks:
    """Compares signs and sizes: a quotient or a product would underflow for small components."""
    size = jnp.abs(first)
    along = jnp.where(first < 0, -second, second)
    return GroupMasks(
        a=(size > 0) & (along > size),
        b=(along > 0) & (along < size),
        c=(size > 0) & (along < 0),
    )
