"""Hyper-parameters that are numbers or functions of the step."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from noisy_optax._checks import check_range


def check(name: str, value: float | optax.Schedule, **limits: float) -> None:
    """`check_range` for a number. A schedule returns traced values, which cannot be checked."""
    if callable(value):
        return
    check_range(name, value, **limits)
    if jnp.ndim(value) != 0:
        raise ValueError(f"{name} must be a scalar, got shape {jnp.shape(value)}")


def at(value: float | optax.Schedule, count: Int[Array, ""] | int) -> Float[Array, ""]:
    """The hyper-parameter at the 0-based step `count`."""
    return jnp.asarray(value(count) if callable(value) else value)
