"""Timing two things in turn, on a machine that others use too."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray


def first_call(function: Callable[[], Any]) -> float:
    """Seconds of the first call, which compiles."""
    started = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - started


def in_turn(
    first: Callable[[], Any],
    second: Callable[[], Any],
    *,
    blocks: int,
    calls: int,
    interleaved: bool = False,
) -> dict[str, Any]:
    """Time of `first` over time of `second`; neither may compile any more.

    A block has `calls` of each: all of one and then all of the other, who begins changing from block to
    block; or, interleaved, one by one, which a drifting load disturbs less, but leaves caches to the other.

    Returns:
      The median ratio over the blocks with its quartiles, and both median times per call in milliseconds.
    """
    pair = first, second
    times = np.zeros((blocks, 2))
    for block in range(blocks):
        in_order = (0, 1) if block % 2 == 0 else (1, 0)
        for which in in_order * calls if interleaved else np.repeat(in_order, calls):
            times[block, which] += _seconds(pair[which]) / calls
    return {**ratio(times), "calls_per_block": calls}


def ratio(times: NDArray) -> dict[str, Any]:
    """The median ratio over the blocks of `times` [blocks, 2], in seconds, with its quartiles."""
    ratios = times[:, 0] / times[:, 1]
    return {
        "ratio": round(float(np.median(ratios)), 4),
        "quartiles": _rounded(np.percentile(ratios, [25, 75])),
        "milliseconds": _rounded(1e3 * np.median(times, axis=0)),
        "blocks": len(times),
    }


def median_milliseconds(function: Callable[[], Any], *, blocks: int, calls: int) -> float:
    """Median time of a call over blocks of calls, the first call, which compiles, left out."""
    first_call(function)
    times = [sum(_seconds(function) for _ in range(calls)) / calls for _ in range(blocks)]
    return _rounded([1e3 * float(np.median(times))])[0]


def _seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - started


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
