"""Losses that depend on the logits only through p, the probability of the given label."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.losses import _label, _properties
from noisy_optax.robust_loss import Loss

# A base has to be decreasing and convex for p in [PROBABILITY_MIN, 1 - PROBABILITY_MIN].
PROBABILITY_MIN = 1e-7
LOG_ODDS_MAX = float(np.log1p(-PROBABILITY_MIN) - np.log(PROBABILITY_MIN))


def of_probability(function: Callable[[Array], Array]) -> Loss:
    """A loss from a function of p, the softmax probability of the given label.

    Args:
      function: elementwise function of p, differentiable on (0, 1). p is limited so that floating point never
        rounds it to 0 or 1; beyond the limits the gradient is zero.

    Returns:
      A `Loss`, also usable as the base of `clip_slope`. The library's own losses work from log p and are
      more precise near p = 1.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> brier = nox.losses.of_probability(lambda p: (1 - p) ** 2)
    >>> brier(jnp.array([[0.0, 0.0]]), jnp.array([1]))
    Array([0.25], dtype=float32)
    """

    def loss(logits, labels, *, axis=-1, where=None):
        p = jnp.exp(_label.label_log_probability(logits, labels, axis=axis, where=where))
        limits = jnp.finfo(p.dtype)
        return _label.finish(function(jnp.clip(p, limits.tiny, 1 - limits.epsneg)), where)

    loss.__name__ = f"of_probability({getattr(function, '__name__', repr(function))})"
    return loss


def of_log_odds(base: Loss) -> Callable[[Float[Array, "..."]], Float[Array, "..."]]:
    """`base` as a function of the label's log-odds.

    Most losses of the library are written so. A loss that is not is asked about the two-class problem with
    these log-odds.
    """
    loss, own = _with_hyperparameters(base)
    known = _properties.properties(loss)
    if known is not None and known.of_log_odds is not None:
        return functools.partial(known.of_log_odds, **_properties.defaults(loss) | own)

    def function(log_odds):
        # Split by sign so that neither logit is +inf when the log-odds are infinite.
        logits = jnp.stack([jnp.minimum(log_odds, 0.0), -jnp.maximum(log_odds, 0.0)], axis=-1)
        return base(logits, jnp.zeros(log_odds.shape, jnp.int32))

    return function


def _with_hyperparameters(base: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A loss and the hyper-parameters that a `functools.partial` sets."""
    if isinstance(base, functools.partial):
        return base.func, base.keywords
    if isinstance(base, _Bound):
        return base.function, dict(base.keywords)
    return base, {}


def slope(base: Loss, log_odds: Float[Array, "..."]) -> Float[Array, "..."]:
    """g(p) = -dl/dp of a base, at log-odds of p."""
    log_odds_derivative = jax.grad(lambda m: jnp.sum(of_log_odds(base)(m)))(log_odds)
    # dp/dm = p (1 - p)
    return -log_odds_derivative / jnp.exp(_label.log_probability(log_odds) + _label.log_complement(log_odds))


def clip_weights(base: Loss, log_p: Float[Array, "..."], tau: ArrayLike) -> Float[Array, "..."]:
    """min(1, tau / g(p)), the factors that turn gradients of a base into those of its clipped version."""
    log_odds = jnp.clip(_label.log_odds_of(log_p), -1e4, LOG_ODDS_MAX)
    # Both sides of tau < g are multiplied by p (1 - p). Without this factor, g overflows for small p.
    steepness = -jax.grad(lambda m: jnp.sum(of_log_odds(base)(m)))(log_odds)
    allowed = jnp.exp(_label.log_probability(log_odds) + _label.log_complement(log_odds))
    allowed *= jnp.asarray(tau, allowed.dtype)
    clipped = steepness > allowed
    return jnp.where(clipped, allowed / jnp.where(clipped, steepness, 1.0), 1.0)


def evaluate_now(function: Callable[..., Any], *args: ArrayLike) -> Any:
    """`function(*args)` as concrete arrays, even if called while something else is being traced.

    Compiled ahead of time: `jax.ensure_compile_time_eval` would run a loop operation by operation.
    """
    # Compiled also under `jax.disable_jit`, which people use to debug.
    with jax.disable_jit(False):
        compiled = jax.jit(function).lower(*args).compile()
        try:
            return compiled(*args)
        except TypeError as error:
            # The function closes over a traced value, which the compiled one then expects as an argument.
            raise TypeError("the hyper-parameters of a base must be numbers, not traced values") from error


def once(function: Callable[[], Any]) -> Callable[[], Any]:
    """`function` evaluated when it is first needed, as NumPy arrays, once for each default precision.

    Factories use it: what they return must cost nothing to build and must not initialise a device.
    """

    @functools.cache
    def at(precision):
        del precision
        return jax.tree.map(np.asarray, function())

    return lambda: at(jnp.result_type(float))


class _Bound(NamedTuple):
    function: Callable[..., Any]
    args: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self.function(*self.args, *args, **dict(self.keywords), **keywords)


def as_static(base: Loss) -> Loss:
    """`base` so that two `functools.partial` of the same function and numbers are the same to `jax.jit`."""
    if not isinstance(base, functools.partial):
        return base
    bound = _Bound(base.func, base.args, tuple(sorted(base.keywords.items())))
    try:
        hash(bound)
    except TypeError:
        return base
    return bound


def check_base(base: Loss) -> None:
    """Raises ValueError unless `base` is a decreasing, convex function of p alone on [1e-7, 1 - 1e-7]."""
    name = getattr(base, "__name__", repr(base))

    def probe():
        log_odds = jnp.linspace(-LOG_ODDS_MAX, LOG_ODDS_MAX, 513)
        labels = jnp.zeros(log_odds.shape, jnp.int32)
        # Three classes with the same p and the rest of the probability split in two ways.
        splits = [
            [jnp.full_like(log_odds, jnp.log(share)) for share in split] for split in ((0.5, 0.5), (0.9, 0.1))
        ]
        values = [base(jnp.stack([log_odds, *split], axis=-1), labels) for split in splits]
        return *values, of_log_odds(base)(log_odds), slope(base, log_odds)

    even, uneven, two_classes, g = (np.asarray(result, np.float64) for result in evaluate_now(probe))
    if not np.all(np.isfinite([even, g])):
        raise ValueError(f"base must have finite values and slopes for p in [1e-7, 1 - 1e-7], unlike {name}")
    if not all(np.allclose(even, other, rtol=1e-3, atol=1e-5) for other in (uneven, two_classes)):
        raise ValueError(f"base must depend on the label's probability alone, which {name} does not")
    rounding = 1e-3 * np.abs(g[:-1]) + 1e-6
    if np.any(g < -1e-6):
        raise ValueError(f"base must decrease with p on [1e-7, 1 - 1e-7], which {name} does not")
    if np.any(np.diff(g) > rounding):
        raise ValueError(f"base must be convex in p on [1e-7, 1 - 1e-7], which {name} is not")


def slope_to_log_odds(base: Loss, tau: ArrayLike) -> Float[Array, ""]:
    """Log-odds of the p where g(p) = tau, by bisection.

    `inf` if every slope reaches tau, so that all of p is clipped; `-inf` if none does.
    """
    limit = jnp.asarray(LOG_ODDS_MAX, dtype=float)
    tau = jnp.asarray(tau, limit.dtype)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        steep = slope(base, middle) > tau
        return jnp.where(steep, middle, low), jnp.where(steep, high, middle)

    # As many halvings as the wider of the two precisions can resolve.
    low, high = jax.lax.fori_loop(0, 64, halve, (-limit, limit))
    steepest, flattest = slope(base, -limit), slope(base, limit)
    root = (low + high) / 2
    return jnp.where(flattest >= tau, jnp.inf, jnp.where(steepest <= tau, -jnp.inf, root))
