"""The properties of a loss are stated once, beside its definition; tables, tests and benchmarks read them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from jaxtyping import Array, Float

LogOddsForm = Callable[..., Float[Array, "..."]]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Properties(NamedTuple):
    """The properties of a loss with its default hyper-parameters.

    Attributes:
      bounded: whether the loss has an upper bound, even if the probability of the label is 0.
      symmetric: whether the losses of all labels sum to the same number for every prediction, which makes a
        loss tolerant to uniform label noise.
      of_log_odds: the loss as a function of the given label's log-odds and of its hyper-parameters; None if
        the loss also depends on how the other classes share the rest of the probability.
    """

    bounded: bool
    symmetric: bool
    of_log_odds: LogOddsForm | None

    @property
    def of_all_classes(self) -> bool:
        """Whether the loss depends on more than the probability of the given label."""
        return self.of_log_odds is None


def stated(
    *, bounded: bool, symmetric: bool, of_log_odds: LogOddsForm | None = None
) -> Callable[[_Function], _Function]:
    """A decorator that states the `Properties` of a loss."""

    def state(loss: _Function) -> _Function:
        # With the function itself, since `functools.wraps` copies attributes to others.
        loss.stated = loss, Properties(bounded, symmetric, of_log_odds)  # type: ignore[attr-defined]
        return loss

    return state


def defaults(loss: Callable[..., Any]) -> dict[str, Any]:
    """The hyper-parameters of a loss with their defaults; `inspect.Parameter.empty` if there is none."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(loss).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("axis", "where")
    }


def properties(loss: Callable[..., Any]) -> Properties | None:
    """The properties of one of the library's losses, with its default hyper-parameters.

    Args:
      loss: a loss, or a `functools.partial` of one.

    Returns:
      Its `Properties`, or None if nothing is stated, for example for a loss of your own.

    >>> import noisy_optax as nox
    >>> known = nox.losses.properties(nox.losses.mean_absolute_error)
    >>> known.bounded, known.symmetric, known.of_all_classes
    (True, True, False)
    """
    if isinstance(loss, functools.partial):
        loss = loss.func
    function, known = getattr(loss, "stated", (None, None))
    return known if function is loss else None
