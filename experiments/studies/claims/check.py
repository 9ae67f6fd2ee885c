"""Whether a claim held, part by part."""

from collections.abc import Sequence
from typing import NamedTuple

from numpy.typing import NDArray

from experiments.training import metrics


class Check(NamedTuple):
    """One part of a claim.

    Attributes:
      statement: what should be so, with its limit.
      measured: the numbers that decide.
      held: whether they are as stated.
    """

    statement: str
    measured: str
    held: bool


def verdict(checks: Sequence[Check]) -> str:
    """The verdict on the claim as a whole.

    >>> verdict([Check("more than 1", "2", True), Check("less than 1", "2", False)])
    'held in part'
    """
    if all(check.held for check in checks):
        return "held"
    return "held in part" if any(check.held for check in checks) else "not held"


def exceeds(statement: str, first: NDArray, second: NDArray, unit: str = "points") -> Check:
    """Whether `first` is above `second`, seed by seed: the 95 % interval of the difference is above 0."""
    difference, half = metrics.paired_difference(first, second)
    return Check(statement, f"{difference:+.2f} ± {half:.2f} {unit}".rstrip(), difference - half > 0)
