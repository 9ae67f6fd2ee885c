"""Reading and writing the rows of an array `[num_examples, ...]` by the indices of a batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from noisy_optax.losses import _label

# Up to this many rows of a batch are compared with each other, which is faster than sorting them.
COMPARED_ROWS = 1024


class Batch(NamedTuple):
    """A batch with one axis over its rows.

    Attributes:
      logits: floating, with at least 32 bits.
      is_label: marks the given label's class.
      indices: which example of the data set each row is.
      valid: whether a row may be remembered: `where` keeps it, its logits are finite, its label is a class.
    """

    logits: Float[Array, "n classes"]
    is_label: Bool[Array, "n classes"]
    indices: Int[Array, "n"]
    valid: Bool[Array, "n"]


def batch_of(
    logits: ArrayLike,
    labels: ArrayLike,
    indices: ArrayLike | None,
    where: ArrayLike | None,
    num_classes: int | None = None,
) -> Batch:
    """The rows of a batch, or an error that says what was expected; any number of classes if it is None."""
    z, is_label = _label.prepare(logits, labels, where=where)
    if num_classes is not None and z.shape[-1] != num_classes:
        raise ValueError(f"expected logits [..., {num_classes}], as num_classes says, got shape {z.shape}")
    indices = check_indices(indices, z.shape[:-1])
    z, is_label = z.reshape(-1, z.shape[-1]), is_label.reshape(-1, z.shape[-1])
    valid = jnp.any(is_label, axis=-1) & jnp.all(jnp.isfinite(z), axis=-1)
    if where is not None:
        valid &= jnp.asarray(where).ravel()
    return Batch(z, is_label, indices, valid)


def check_indices(indices: ArrayLike | None, batch_shape: tuple[int, ...]) -> Int[Array, "n"]:
    """The indices in one row, or an error that says what was expected."""
    if indices is None:
        raise ValueError(
            "each example is remembered: expected indices=..., an integer array like the labels that says "
            "which example of the data set each row is, got None"
        )
    indices = jnp.asarray(indices)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"indices must be integers, got {indices.dtype} of shape {indices.shape}")
    if indices.shape != batch_shape:
        raise ValueError(f"expected indices of shape {batch_shape}, like labels, got {indices.shape}")
    return indices.ravel().astype(jnp.int32)


def read(memory: Float[Array, "examples ..."], indices: Int[Array, "n"]) -> Float[Array, "n ..."]:
    """The rows at `indices`. An index without a row gives zeros, like an example that was never seen."""
    # Negative indices would count from the end.
    past_the_end = jnp.where(indices < 0, len(memory), indices)
    return memory.at[past_the_end].get(mode="fill", fill_value=0)


def write_mean(
    memory: Float[Array, "examples ..."],
    indices: Int[Array, "n"],
    rows: Float[Array, "n ..."],
    valid: Bool[Array, "n"],
) -> Float[Array, "examples ..."]:
    """Writes `rows`; rows of the same index write their mean, invalid rows and indices nothing."""
    target = target_rows(len(memory), indices, valid)
    # An invalid row may be NaN, which no factor of 0 would remove.
    kept = jnp.where(_along(valid, rows), rows, 0.0)
    mean_of_rows = mean_by_comparing if len(target) <= COMPARED_ROWS else mean_by_sorting
    target, mean = mean_of_rows(target, kept)
    # All rows of one index write the same.
    return memory.at[target].set(mean.astype(memory.dtype), mode="drop")


def write_largest(
    memory: Int[Array, "examples"],
    indices: Int[Array, "n"],
    values: Int[Array, "n"],
    valid: Bool[Array, "n"],
) -> Int[Array, "examples"]:
    """Writes `values`; those of the same index write their largest, invalid rows and indices nothing."""
    target = target_rows(len(memory), indices, valid)
    cleared = memory.at[target].set(jnp.iinfo(memory.dtype).min, mode="drop")
    return cleared.at[target].max(values.astype(memory.dtype), mode="drop")


def target_rows(examples: int, indices: Int[Array, "n"], valid: Bool[Array, "n"]) -> Int[Array, "n"]:
    """The rows to write; past the end, where nothing is written, if the row or its index is invalid."""
    return jnp.where(valid & in_range(indices, examples), indices, examples)


def in_range(indices: Int[Array, "n"], examples: int) -> Bool[Array, "n"]:
    """Whether each index is one of an example."""
    return (indices >= 0) & (indices < examples)


def mean_by_comparing(
    target: Int[Array, "n"], rows: Float[Array, "n ..."]
) -> tuple[Int[Array, "n"], Float[Array, "n ..."]]:
    """Targets, and for each the mean of the rows that have it: every row is compared with every other."""
    same = (target[:, None] == target[None, :]).astype(rows.dtype)
    total = jnp.tensordot(same, rows, 1, precision=jax.lax.Precision.HIGHEST)
    return target, total / _along(jnp.sum(same, axis=1), rows)


def mean_by_sorting(
    target: Int[Array, "n"], rows: Float[Array, "n ..."]
) -> tuple[Int[Array, "n"], Float[Array, "n ..."]]:
    """The same in another order, in memory that grows with the number of rows and not with its square."""
    order = jnp.argsort(target)
    target, rows = target[order], rows[order]
    is_first = jnp.concatenate([jnp.ones(1, bool), target[1:] != target[:-1]])
    segment = jnp.cumsum(is_first) - 1
    total = jax.ops.segment_sum(rows, segment, num_segments=len(target))
    count = jax.ops.segment_sum(jnp.ones_like(segment), segment, num_segments=len(target))
    mean = total / _along(jnp.maximum(count, 1).astype(rows.dtype), rows)
    return target, mean[segment]


def _along(x: Array, rows: Array) -> Array:
    return x.reshape(-1, *[1] * (rows.ndim - 1))
