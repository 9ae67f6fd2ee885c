"""The state of optimized gradient clipping, and how a step changes it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from noisy_optax._checks import check_range, is_concrete
from noisy_optax.ogc._mixture import Mixture, log_joint

# A refit needs this share of the queue's slots to hold a valid example.
MIN_VALID_SHARE = 1 / 8


class OGCState(NamedTuple):
    """State of `ogc_loss` and `clip_by_probability`. Replicas share the counters, see `replica_axes`.

    Attributes:
      count: int32 scalar, how many times `update` was called.
      filled: int32 scalar, how many of the queue's slots were ever written, at most `queue_size`.
      queue: floating, `[queue_size]`, H = -log p of the latest examples in nats, the oldest first; changes
        in every step.
      valid: boolean, `[queue_size]`, which slots hold an example that was neither masked out nor NaN.
      bound: floating scalar, the bound on the gradient ratio in the latest step.
      mixture: fitted to the queue at the latest refit; two equal normals before the first refit.
      probability_threshold: floating scalar, the p below which the base is clipped; changes at a refit,
        1e-7 before the first one.
      tau: floating scalar, the slope of the base at the threshold, which is the largest slope after clipping.
    """

    count: Int[Array, ""]  # type: ignore[assignment]  # optax's name, and tuple's
    filled: Int[Array, ""]
    queue: Float[Array, "queue"]
    valid: Bool[Array, "queue"]
    bound: Float[Array, ""]
    mixture: Mixture
    probability_threshold: Float[Array, ""]
    tau: Float[Array, ""]


class GradientNormState(NamedTuple):
    """State of `clip_by_gradient_norm`; see `replica_axes` too.

    Attributes:
      count: int32 scalar, how many times `update` was called.
      filled: int32 scalar, how many of the queue's slots were ever written, at most `queue_size`.
      queue: floating, `[queue_size]`, log of the gradient norms of the latest examples, the oldest first.
      valid: boolean, `[queue_size]`, which slots hold a finite norm above 0 that was not masked out.
      bound: floating scalar, the bound on the gradient ratio in the latest step.
      mixture: of square roots of norms, fitted to the queue's at the latest refit; before the first one two
        equal normals.
      max_norm: floating scalar, the largest norm of an example's gradient after clipping; changes at a refit,
        and is the largest finite number before the first one.
    """

    count: Int[Array, ""]  # type: ignore[assignment]
    filled: Int[Array, ""]
    queue: Float[Array, "queue"]
    valid: Bool[Array, "queue"]
    bound: Float[Array, ""]
    mixture: Mixture
    max_norm: Float[Array, ""]


_UNFITTED = ("count", "filled", "queue", "valid", "bound")

State = TypeVar("State", OGCState, GradientNormState)


def empty_queue(queue_size: int, bound: Float[Array, ""]) -> dict[str, Any]:
    """The fields that both states begin with."""
    dtype = bound.dtype
    return {
        "count": jnp.zeros([], jnp.int32),
        "filled": jnp.zeros([], jnp.int32),
        "queue": jnp.zeros(queue_size, dtype),
        "valid": jnp.zeros(queue_size, bool),
        "bound": bound,
        "mixture": Mixture(*(jnp.full(2, value, dtype) for value in (0.0, 1.0, 0.5))),
    }


def advance(
    state: State,
    x: Float[Array, "..."],
    valid: Bool[Array, "..."],
    refit: Callable[[State], State],
    *,
    bound: optax.Schedule,
    update_every: int,
    axis_name: str | None,
) -> State:
    """One step: a batch enters the queue, and `refit` runs if it is due and enough examples are valid."""
    queue_size = state.queue.size
    state = _push(state, *_at_most(queue_size, x, valid, axis_name))
    state = state._replace(count=optax.safe_increment(state.count), bound=bound(state.count))

    def refit_if_enough(state):
        enough = jnp.sum(state.valid, dtype=jnp.int32) >= math.ceil(MIN_VALID_SHARE * queue_size)
        return jax.tree.map(
            lambda new, old: jnp.where(enough, new, old), _fitted(refit(state)), _fitted(state)
        )

    # The predicate must not depend on the data: under vmap `cond` would become `select`, and the refit
    # run in every step.
    due = (state.count % update_every == 0) & (state.filled == queue_size)
    return state._replace(**jax.lax.cond(due, refit_if_enough, _fitted, state))


def _fitted(state: State) -> dict[str, Any]:
    """The fields that a refit changes."""
    return {name: value for name, value in state._asdict().items() if name not in _UNFITTED}


def check_schedule(update_every: int, queue_size: int) -> None:
    """Raises ValueError for impossible sizes."""
    check_range("update_every", update_every, above=0)
    check_range("queue_size", queue_size, above=0)


def bound_schedule(
    learning_rate: float | optax.Schedule | None, epsilon: float, bound: float | optax.Schedule | None
) -> optax.Schedule:
    """The bound on the gradient ratio as a function of the 0-based step."""
    if (learning_rate is None) == (bound is None):
        given = "neither" if bound is None else "both"
        raise ValueError(f"expected either learning_rate or bound, got {given}")
    check_range("epsilon", epsilon, above=0.0)
    if is_concrete(learning_rate):
        check_range("learning_rate", learning_rate, at_least=0.0)
    if is_concrete(bound):
        check_range("bound", bound, at_least=1.0)

    def at(schedule, count):
        return jnp.asarray(schedule(count) if callable(schedule) else schedule, dtype=float)

    if bound is not None:
        return lambda count: at(bound, count)
    return lambda count: 1.0 + epsilon * at(learning_rate, count)


def clean_probability(mixture: Mixture, losses: ArrayLike) -> Float[Array, "..."]:
    r"""Probability, under a fitted mixture, that an example's label is right.

    $$\frac{w_c\,N(h;\, \mu_c, \sigma_c^2)}{w_c\,N(h;\, \mu_c, \sigma_c^2) + w_n\,N(h;\, \mu_n, \sigma_n^2)}$$

    where $h$ is the loss limited to $[\mu_c, \mu_n]$. Without this limit, the tail of the wider normal would
    also claim the examples beyond the mean of the other normal.

    Args:
      mixture: from `fit_mixture`, or `state.mixture` of `ogc_loss` or `clip_by_probability` after a refit;
        before the first refit the result is 0.5 everywhere.
      losses: floating, of any shape, the quantity that the mixture was fitted to: cross-entropies $-\log p$
        of the given labels, for every base; square roots of gradient norms for a `GradientNormState`.

    Returns:
      Probabilities, of the shape of `losses` and never increasing with them. NaN losses give NaN.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> mixture = nox.ogc.Mixture(jnp.array([0.2, 3.0]), jnp.array([0.1, 1.0]), jnp.array([0.6, 0.4]))
    >>> nox.ogc.clean_probability(mixture, jnp.array([0.0, 1.0, 4.0])).round(2)
    Array([1.  , 0.59, 0.  ], dtype=float32)
    """
    means = jnp.asarray(mixture.means)
    if means.shape != (2,):
        raise ValueError(
            f"expected the mixture of one replica, got means of shape {means.shape}; use jax.vmap over the "
            f"mixture"
        )
    losses = jnp.asarray(losses, means.dtype)
    clean, noisy = log_joint(jnp.clip(losses.ravel(), means[0], means[1]), mixture)
    return jax.nn.sigmoid(clean - noisy).reshape(losses.shape)


def replica_axes(state: Any) -> Any:
    """Axes for `jax.vmap` over replicas, for any state that contains a state of OGC.

    The counters decide when the mixture is fitted again, so they must not have a replica axis. If they were
    batched, every step would compute a refit, and most steps would discard it.

    Args:
      state: an `OGCState`, a `GradientNormState` or a pytree with some, such as the state of a wrapper or of
        `optax.chain`; only its structure is read.

    Returns:
      The same structure with None for the counters and 0 for all other leaves, for `in_axes` and `out_axes`.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> robust = nox.ogc.ogc_loss(learning_rate=0.1)
    >>> axes = nox.ogc.replica_axes(robust.init())
    >>> states = jax.vmap(robust.init, out_axes=axes, axis_size=3)()
    >>> update = jax.vmap(robust.update, in_axes=(axes, 0, None), out_axes=axes)
    >>> states = jax.jit(update)(states, jnp.zeros((3, 8, 2)), jnp.zeros(8, int))
    >>> states.count.shape, states.queue.shape
    ((), (3, 4096))
    """

    def axes(node):
        if not _is_state(node):
            return 0
        return jax.tree.map(lambda _: 0, node)._replace(count=None, filled=None)

    return jax.tree.map(axes, state, is_leaf=_is_state)


def _is_state(node: Any) -> bool:
    return isinstance(node, OGCState | GradientNormState)


def _at_most(
    queue_size: int, x: Float[Array, "..."], valid: Bool[Array, "..."], axis_name: str | None
) -> tuple[Float[Array, "n"], Bool[Array, "n"]]:
    """A batch of any shape, flat and at most `queue_size` long."""
    x, valid = _replicated(x).ravel(), _replicated(valid).ravel()
    if axis_name is not None:
        # `invarying`: every device holds the same queue, and may return it as replicated.
        x, valid = jax.lax.all_gather((x, valid), axis_name, tiled=True, to="invarying")
    if x.size > queue_size:
        chosen = spread_indices(x.size, queue_size)
        x, valid = x[chosen], valid[chosen]
    return x, valid


def _replicated(x: Array) -> Array:
    """Undoes an explicit sharding, under which a split batch cannot be joined to the queue."""
    sharding = jax.typeof(x).sharding
    if all(axis is None for axis in sharding.spec):
        return x
    return jax.sharding.reshard(x, sharding.update(spec=jax.P(*[None] * x.ndim)))


def spread_indices(n: int, size: int) -> Int[np.ndarray, "size"]:
    """`size` of `n` indices by one stride, spread evenly over the rows and the columns of a batch.

    A stride that divides the sequence length would pick the same positions in every sequence. The golden
    section avoids this.
    """
    stride = round(n * (math.sqrt(5) - 1) / 2)
    while math.gcd(stride, n) > 1:
        stride += 1
    return (np.arange(size) * stride) % n


def _push(state: State, x: Float[Array, "n"], valid: Bool[Array, "n"]) -> State:
    """Appends to the queue and drops as many of the oldest slots."""
    return state._replace(
        queue=jnp.concatenate([state.queue[x.size :], x.astype(state.queue.dtype)]),
        valid=jnp.concatenate([state.valid[x.size :], valid]),
        filled=jnp.minimum(state.filled + x.size, state.queue.size),
    )
