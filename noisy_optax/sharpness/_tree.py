"""Norms and products over whole pytrees, in float32 or wider and without overflow."""

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float


def wide_dtype(dtype: DTypeLike) -> jnp.dtype:
    """`dtype`, or float32 if it has less precision."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def widen(tree: optax.Params) -> optax.Params:
    """`tree` as arrays in float32 or wider; raises TypeError for a leaf that is not a real number."""

    def wide(path, leaf):
        x = jnp.asarray(leaf)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(
                f"expected floating parameters, got {x.dtype} at {jax.tree_util.keystr(path) or 'the root'}; "
                f"keep counters out of what is trained, and complex numbers as real and imaginary parts"
            )
        return x.astype(wide_dtype(x.dtype))

    return jax.tree.map_with_path(wide, tree)


def add(first: optax.Params, second: optax.Params) -> optax.Params:
    """Sum of two trees of the same types."""
    return jax.tree.map(jnp.add, first, second)


def scale(factor: ArrayLike, tree: optax.Params) -> optax.Params:
    """`tree` times a number."""
    return jax.tree.map(lambda x: jnp.asarray(factor, x.dtype) * x, tree)


def dot(first: optax.Params, second: optax.Params) -> Float[Array, ""]:
    """Inner product of two trees, in the widest of their types."""
    dtype = _common_dtype(first)
    products = jax.tree.map(lambda a, b: jnp.sum(a * b).astype(dtype), first, second)
    return sum(jax.tree.leaves(products), start=jnp.zeros([], dtype))


def to_unit_range(tree: optax.Params) -> tuple[optax.Params, Float[Array, ""]]:
    """`tree` divided by a power of two so that its largest absolute value is in [1, 2), and that power.

    Squares then neither overflow nor vanish, and the division loses no digit. A tree without an entry
    above the smallest normal number becomes all zeros.
    """
    dtype = _common_dtype(tree)
    peaks = [jnp.max(jnp.abs(x), initial=0).astype(dtype) for x in jax.tree.leaves(tree)]
    peak = jnp.max(jnp.stack(peaks)) if peaks else jnp.zeros([], dtype)
    _, exponent = jnp.frexp(peak)
    power = jnp.ldexp(jnp.ones_like(peak), exponent - 1)
    # Written so that NaN is not treated as zero.
    vanishes = peak < jnp.finfo(dtype).tiny

    def divide(x):
        return jnp.where(vanishes, jnp.zeros_like(x), (x.astype(dtype) / power).astype(x.dtype))

    return jax.tree.map(divide, tree), jnp.where(vanishes, jnp.zeros_like(power), power)


def with_norm(norm: ArrayLike, tree: optax.Params) -> optax.Params:
    """`tree` stretched to a Euclidean norm; zero stays zero."""
    unit_range, _ = to_unit_range(tree)
    length = jnp.sqrt(dot(unit_range, unit_range))
    # At least 1 unless all is zero.
    factor = jnp.asarray(norm, length.dtype) / jnp.where(length == 0, jnp.ones_like(length), length)
    return scale(factor, unit_range)


def _common_dtype(tree: optax.Params) -> jnp.dtype:
    """The widest type of a tree with leaves in float32 or wider."""
    dtypes = [x.dtype for x in jax.tree.leaves(tree)]
    return max(dtypes, key=lambda dtype: jnp.finfo(dtype).bits, default=jnp.dtype(jnp.float32))
