"""Checks of hyper-parameters that are known when a factory is called."""

from numbers import Real

import jax
import numpy as np


def is_concrete(value: object) -> bool:
    """Whether `value` is a Python or NumPy number, so that its range can be checked without a tracer."""
    return isinstance(value, Real | np.ndarray)


def check_range(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Raises ValueError naming `name` and its range if a concrete `value` lies outside of it.

    JAX arrays, traced or not, pass: a hyper-parameter that is optimised, scheduled or batched has no
    value to look at when the function is traced. NaN lies outside every range.

    >>> check_range("q", 1.5, above=0.0, at_most=1.0)
    Traceback (most recent call last):
        ...
    ValueError: q must be in (0.0, 1.0], got 1.5
    """
    if isinstance(value, jax.Array):
        return
    if not is_concrete(value):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    number = np.asarray(value)
    inside = np.all(np.isfinite(number))
    inside &= np.all(number > above) if above is not None else True
    inside &= np.all(number >= at_least) if at_least is not None else True
    inside &= np.all(number < below) if below is not None else True
    inside &= np.all(number <= at_most) if at_most is not None else True
    if not inside:
        lower = f"({above}" if above is not None else f"[{at_least}" if at_least is not None else "(-inf"
        upper = f"{below})" if below is not None else f"{at_most}]" if at_most is not None else "inf)"
        raise ValueError(f"{name} must be in {lower}, {upper}, got {value}")
