"""Losses as values: the plain kind, and the kind with memory or a schedule."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from noisy_optax._checks import is_concrete


@runtime_checkable
class Loss(Protocol):
    """A pure function `(logits, labels) -> losses`, one value per example."""

    def __call__(
        self, logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
    ) -> Float[Array, "..."]:
        """Returns the losses, one per example."""


@runtime_checkable
class UpdateFn(Protocol):
    """Advances the state by one step from that step's logits."""

    def __call__(
        self,
        state: Any,
        logits: ArrayLike,
        labels: ArrayLike,
        *,
        where: ArrayLike | None = None,
        indices: ArrayLike | None = None,
    ) -> Any:
        """Returns the new state."""


@runtime_checkable
class ValueFn(Protocol):
    """Evaluates the loss; reads the state and does not change it."""

    def __call__(
        self,
        state: Any,
        logits: ArrayLike,
        labels: ArrayLike,
        *,
        where: ArrayLike | None = None,
        indices: ArrayLike | None = None,
    ) -> Float[Array, "..."]:
        """Returns the losses, one per example."""


class RobustLoss(NamedTuple):
    """A loss with a state: it follows a schedule, adapts to the training, or remembers each example.

    A training loop calls `apply` once a step, inside `jax.grad(..., has_aux=True)`. `apply` is `update`
    followed by `value`. A second pass in the same step, as in sharpness-aware minimization, calls only
    `value`, with the new state. `update` has no gradient. `value` only reads the state and is valid on
    `init()`. The class axis is the last one.

    A field of the state with the name `count` is the 0-based step at which schedules are read. Gradient
    accumulation in `training_step` does not change it until the optimizer has made its step.

    Attributes:
      init: `init() -> state`, a pytree of arrays.
      update: `update(state, logits, labels, *, where=None, indices=None) -> state`.
      value: `value(state, logits, labels, *, where=None, indices=None) -> losses`. `indices` is an integer
        array like the labels: which example of the data set each row is. Only losses that remember each
        example need it; others ignore it.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> q = optax.linear_schedule(0.5, 1.0, transition_steps=5)
    >>> robust = nox.scheduled(nox.losses.generalized_cross_entropy, q=q)
    >>> logits, labels = jnp.array([[2.0, 0.0, 0.0]]), jnp.array([1])
    >>> losses, state = robust.apply(robust.init(), logits, labels)
    >>> losses, state = jax.jit(robust.apply)(state, logits, labels)
    >>> float(state.hyperparameters["q"]) # the second step ran with q(1)
    0.6...
    """

    init: Callable[[], Any]
    update: UpdateFn
    value: ValueFn

    def apply(
        self,
        state: Any,
        logits: ArrayLike,
        labels: ArrayLike,
        *,
        where: ArrayLike | None = None,
        indices: ArrayLike | None = None,
    ) -> tuple[Float[Array, "..."], Any]:
        """Advances the state by one step; returns this step's losses, one per example, and the new state."""
        logits = jnp.asarray(logits)
        state = self.update(state, jax.lax.stop_gradient(logits), labels, where=where, indices=indices)
        return self.value(state, logits, labels, where=where, indices=indices), state


class StatelessState(NamedTuple):
    """The state of a plain loss: nothing."""


class ScheduledState(NamedTuple):
    """State of `scheduled`.

    Attributes:
      count: int32 scalar, how many times `update` was called.
      hyperparameters: name -> floating scalar, the values in the step of the latest `update`.
    """

    count: Int[Array, ""]  # type: ignore[assignment]  # optax's name, and tuple's
    hyperparameters: dict[str, Float[Array, ""]]


def as_robust_loss(loss: Loss | RobustLoss) -> RobustLoss:
    """Returns a `RobustLoss` unchanged, and makes one of a plain loss with `stateless`.

    >>> import noisy_optax as nox
    >>> type(nox.robust_loss.as_robust_loss(nox.losses.cross_entropy)).__name__
    'RobustLoss'
    """
    return loss if isinstance(loss, RobustLoss) else stateless(loss)


def stateless(loss: Loss) -> RobustLoss:
    """Makes a `RobustLoss` with an empty state from a plain loss.

    Args:
      loss: `(logits, labels, *, axis, where) -> losses`. A function of your own need not take `where`: it is
        then given zeros for the logits and labels of masked-out examples, and their losses are 0.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> robust = nox.stateless(nox.losses.cross_entropy)
    >>> robust.value(robust.init(), jnp.zeros((1, 2)), jnp.array([0]))
    Array([0.6931472], dtype=float32)
    """
    parameters = inspect.signature(loss).parameters
    takes_where = "where" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def update_fn(state, logits, labels, *, where=None, indices=None):
        del logits, labels, where, indices
        return state

    def value_fn(state, logits, labels, *, where=None, indices=None):
        del state, indices
        if where is None:
            return loss(logits, labels)
        if takes_where:
            return loss(logits, labels, where=where)
        where = jnp.asarray(where)
        # The mask also makes gradients zero: those of NaN logits would pass a mask on the losses alone.
        logits = jnp.where(where[..., None], logits, jnp.zeros_like(logits))
        losses = loss(logits, jnp.where(where, labels, jnp.zeros_like(labels)))
        return jnp.where(where, losses, jnp.zeros_like(losses))

    return RobustLoss(StatelessState, update_fn, value_fn)


def scheduled(loss: Callable[..., Array], **schedules: float | optax.Schedule) -> RobustLoss:
    """Makes a `RobustLoss` with hyper-parameters that follow schedules from a plain loss.

    The n-th call of `update` (counted from 0) stores `schedule(n)`, and `value` uses the stored values.
    Constants are checked against the ranges of the loss. The values of schedules are not checked.

    Args:
      loss: `(logits, labels, *, <hyper-parameters>, axis, where) -> losses`.
      **schedules: a number, or a function of the 0-based step, for each hyper-parameter to set.

    Raises:
      TypeError: `loss` has no hyper-parameter of that name.
      ValueError: a constant lies outside of the range that the loss accepts.

    >>> import optax, noisy_optax as nox
    >>> q = optax.linear_schedule(0.6, 1.0, transition_steps=100)
    >>> robust = nox.scheduled(nox.losses.generalized_cross_entropy, q=q)
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
    _check_names(loss, schedules)
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

    if constants:
        jax.eval_shape(
            probe, jax.ShapeDtypeStruct((1, 2), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32)
        )

    def init_fn():
        return ScheduledState(jnp.zeros([], jnp.int32), evaluate(jnp.zeros([], jnp.int32)))

    def update_fn(state, logits, labels, *, where=None, indices=None):
        del logits, labels, where, indices
        return ScheduledState(optax.safe_increment(state.count), evaluate(state.count))

    def value_fn(state, logits, labels, *, where=None, indices=None):
        del indices
        return loss(logits, labels, where=where, **state.hyperparameters)

    return RobustLoss(init_fn, update_fn, value_fn)


def _check_names(loss: Callable[..., Array], names: Iterable[str]) -> None:
    """Raises TypeError for a hyper-parameter that `loss` does not have."""
    parameters = inspect.signature(loss).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for name in names:
        if name not in known:
            own = ", ".join(set(known) - {"axis", "where"}) or "none"
            raise TypeError(f"the loss has no hyper-parameter {name!r}; it has {own}")
