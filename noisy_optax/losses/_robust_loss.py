"""Losses as values: the plain kind, and the kind with memory or a schedule."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from noisy_optax._checks import is_concrete


class Loss(Protocol):
    """A pure function `(logits, labels) -> losses`, one value per example."""

    def __call__(
        self, logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
    ) -> Float[Array, "..."]: ...


class UpdateFn(Protocol):
    """Advances the state by one step from that step's logits."""

    def __call__(
        self, state: Any, logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None
    ) -> Any: ...


class ValueFn(Protocol):
    """Evaluates the loss; reads the state and leaves it alone."""

    def __call__(
        self, state: Any, logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None
    ) -> Float[Array, "..."]: ...


class RobustLoss(NamedTuple):
    """A loss whose shape may change while training: `init`, `update` and `value`.

    Per step call `update` once with the step's logits, then `value` as often as the step needs (twice
    under sharpness-aware minimization). `update` carries no gradient; `value` only reads the state and is
    valid on `init()`. The class axis is the last one.

    Attributes:
      init: `init() -> state`, a pytree of arrays.
      update: `update(state, logits, labels, *, where=None) -> state`.
      value: `value(state, logits, labels, *, where=None) -> losses`.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> q = optax.linear_schedule(0.5, 1.0, transition_steps=5)
    >>> robust = nox.losses.scheduled(nox.losses.generalized_cross_entropy, q=q)
    >>> logits, labels = jnp.array([[2.0, 0.0, 0.0]]), jnp.array([1])
    >>> @jax.jit
    ... def step(state):
    ...   state = robust.update(state, logits, labels)
    ...   return state, robust.value(state, logits, labels)
    >>> state, first = step(robust.init())
    >>> state, second = step(state)
    >>> float(state.hyperparameters["q"]) # the second step ran with q(1)
    0.6...
    """

    init: Callable[[], Any]
    update: UpdateFn
    value: ValueFn


class StatelessState(NamedTuple):
    """The state of a loss without memory: nothing."""


class ScheduledState(NamedTuple):
    """State of `scheduled`.

    Attributes:
      count: int32 scalar, how many times `update` was called.
      hyperparameters: name -> floating scalar, in force for the step that `update` was last called with.
    """

    count: Int[Array, ""]  # type: ignore[assignment]  # optax's name, and tuple's
    hyperparameters: dict[str, Float[Array, ""]]


def stateless(loss: Loss) -> RobustLoss:
    """Lifts a plain loss to a `RobustLoss` with an empty state.

    Args:
      loss: `(logits, labels, *, axis, where) -> losses`.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> robust = nox.losses.stateless(nox.losses.cross_entropy)
    >>> robust.value(robust.init(), jnp.zeros((1, 2)), jnp.array([0]))
    Array([0.6931472], dtype=float32)
    """

    def update_fn(state, logits, labels, *, where=None):
        del logits, labels, where
        return state

    def value_fn(state, logits, labels, *, where=None):
        del state
        return loss(logits, labels, where=where)

    return RobustLoss(StatelessState, update_fn, value_fn)


def scheduled(loss: Callable[..., Array], **schedules: float | optax.Schedule) -> RobustLoss:
    """Lifts a loss whose hyper-parameters follow schedules to a `RobustLoss`.

    The n-th call of `update` (counted from 0) stores `schedule(n)`, and `value` uses what is stored.
    Constants are checked against the loss's ranges here; what a schedule returns is not.

    Args:
      loss: `(logits, labels, *, <hyper-parameters>, axis, where) -> losses`.
      **schedules: a number, or a function of the 0-based step, for each hyper-parameter to set.

    Raises:
      TypeError: `loss` has no hyper-parameter of that name.
      ValueError: a constant lies outside of the range that the loss accepts.

    >>> import optax, noisy_optax as nox
    >>> q = optax.linear_schedule(0.6, 1.0, transition_steps=100)
    >>> robust = nox.losses.scheduled(nox.losses.generalized_cross_entropy, q=q)
    >>> robust.init().hyperparameters
    {'q': Array(0.6, dtype=float32)}
    """
    for name, value in schedules.items():
        if name in ("axis", "where"):
            raise TypeError(
                f"{name} is not a hyper-parameter; `value` takes where, and the class axis is last"
            )
        if not (is_concrete(value) or callable(value) or isinstance(value, jax.Array)):
            raise TypeError(f"{name} must be a number or a schedule, got {value!r}")
    constants = {name: value for name, value in schedules.items() if is_concrete(value)}
    functions = {
        name: value if callable(value) else lambda _, v=value: v for name, value in schedules.items()
    }

    def evaluate(count):
        return {name: jnp.asarray(fn(count), dtype=float) for name, fn in functions.items()}

    def probe(logits, labels):
        scheduled_now = {
            name: value for name, value in evaluate(jnp.zeros([], jnp.int32)).items() if name not in constants
        }
        return loss(logits, labels, **constants, **scheduled_now)

    jax.eval_shape(probe, jnp.zeros((1, 2)), jnp.zeros(1, int))

    def init_fn():
        return ScheduledState(jnp.zeros([], jnp.int32), evaluate(jnp.zeros([], jnp.int32)))

    def update_fn(state, logits, labels, *, where=None):
        del logits, labels, where
        return ScheduledState(optax.safe_increment(state.count), evaluate(state.count))

    def value_fn(state, logits, labels, *, where=None):
        return loss(logits, labels, where=where, **state.hyperparameters)

    return RobustLoss(init_fn, update_fn, value_fn)
