"""OGC as a loss: the base, clipped at a threshold that is solved for again every few steps."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from noisy_optax._checks import check_range, is_concrete
from noisy_optax.losses import _clipped, _cross_entropy, _label, _of_probability
from noisy_optax.losses._of_probability import PROBABILITY_MIN
from noisy_optax.losses._robust_loss import Loss, RobustLoss
from noisy_optax.ogc import _threshold
from noisy_optax.ogc._mixture import Mixture, fit_mixture, log_joint
from noisy_optax.ogc._threshold import Mode

# A refit needs this share of the queue's slots to hold a valid example.
MIN_VALID_SHARE = 1 / 8


class OGCState(NamedTuple):
    """State of `ogc_loss`. The counters are the same for all replicas: see `replica_axes`.

    Attributes:
      count: int32 scalar, how many times `update` was called.
      filled: int32 scalar, how many of the queue's slots were ever written, at most `queue_size`.
      queue: floating, `[queue_size]`, H = -log p of the latest examples in nats, the oldest first; changes
        in every step.
      valid: boolean, `[queue_size]`, which slots hold an example that was neither masked out nor NaN.
      bound: floating scalar, the bound on the gradient ratio in force for the latest step.
      mixture: fitted to the queue at the latest refit; before the first one two equal normals.
      probability_threshold: floating scalar, the p below which the base is clipped; changes at a refit,
        1e-7 before the first one.
      tau: floating scalar, the slope of the base at the threshold, the largest that is left.
    """

    count: Int[Array, ""]  # type: ignore[assignment]  # optax's name, and tuple's
    filled: Int[Array, ""]
    queue: Float[Array, "queue"]
    valid: Bool[Array, "queue"]
    bound: Float[Array, ""]
    mixture: Mixture
    probability_threshold: Float[Array, ""]
    tau: Float[Array, ""]


def ogc_loss(
    base: Loss = _cross_entropy.cross_entropy,
    *,
    learning_rate: float | optax.Schedule | None = None,
    epsilon: float = 20.0,
    bound: float | optax.Schedule | None = None,
    update_every: int = 32,
    queue_size: int = 4096,
    mode: Mode = "default",
    axis_name: str | None = None,
) -> RobustLoss:
    r"""Optimized gradient clipping: clips the slope of a loss in p where wrong labels would take over.

    $$\ell_\tau(p) = \begin{cases} \ell(p) & p > p_\tau \\
      \ell(p_\tau) + \tau\,(p_\tau - p) & p \le p_\tau \end{cases} \qquad \tau = |\ell'(p_\tau)|$$

    Each `update` puts the batch's $H = -\log p$ (p limited to [1e-7, 1 - 1e-7]) into a queue. Every
    `update_every`-th one, once the queue has been filled, fits a mixture of two normals to it
    (`fit_mixture`) and looks for the smallest $p_\tau$ at which the clipped slopes of the noisy component
    are on average at most $1 + \eta\,\epsilon$ times those of the clean one (`solve_threshold`), $\eta$ being
    the learning rate. The new threshold applies to the same batch. Until then nothing in
    [1e-7, 1] is clipped. Costs what the base costs; a refit runs on the device, in one piece with the step.

    An example that is masked out, or whose logits or label give NaN, takes a slot of the queue without a
    say in the fit. If less than an eighth of the slots have one, the old mixture and threshold stay. Batches
    may have any shape and size, and vary in size: one larger than the queue is thinned out to `queue_size`
    examples spread evenly over it. A queue of equal values clips nothing.

    Args:
      base: a loss that is a decreasing, convex function of p alone, from this library or made by
        `of_probability`; set its hyper-parameters with `functools.partial`.
      learning_rate: the optimizer's, or its schedule, a function of the 0-based step.
      epsilon: > 0; 20 in the paper, for SGD with learning rates that fall from 0.1.
      bound: >= 1, or a function of the 0-based step; replaces `1 + learning_rate * epsilon`, which means
        something else for an optimizer with other learning rates, such as Adam.
      update_every: steps from one refit to the next, > 0.
      queue_size: > 0.
      mode: how the threshold is searched, see `solve_threshold`.
      axis_name: under `shard_map`, the mesh axis the batch is split over; the queue then takes the whole
        batch. Under plain `jit` a sharded batch needs nothing.

    Returns:
      A `RobustLoss` with an `OGCState`.

    Raises:
      ValueError: an option is out of range, not exactly one of learning_rate and bound is given, or base is
        not decreasing, convex or a function of p alone.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> robust = nox.ogc.ogc_loss(learning_rate=0.1, update_every=1, queue_size=4)
    >>> logits = jnp.array([[3.0, 0.0], [2.0, 0.0], [0.0, 3.0], [2.5, 0.0]])
    >>> labels = jnp.array([0, 0, 0, 0]) # the third one looks wrong
    >>> state = jax.jit(robust.update)(robust.init(), logits, labels)
    >>> round(float(state.probability_threshold), 3)
    0.306
    >>> robust.value(state, logits, labels).round(2)
    Array([0.05, 0.13, 2.03, 0.08], dtype=float32)
    """
    _threshold.check_mode(mode)
    _of_probability.check_base(base)
    check_range("update_every", update_every, above=0)
    check_range("queue_size", queue_size, above=0)
    bound_at = _bound_schedule(learning_rate, epsilon, bound)
    slopes = _of_probability.evaluate_now(lambda: _threshold.tabulate(base, mode))

    def init_fn():
        threshold = jnp.asarray(PROBABILITY_MIN, dtype=float)
        return OGCState(
            count=jnp.zeros([], jnp.int32),
            filled=jnp.zeros([], jnp.int32),
            queue=jnp.zeros(queue_size, threshold.dtype),
            valid=jnp.zeros(queue_size, bool),
            bound=bound_at(jnp.zeros([], jnp.int32)),
            mixture=Mixture(*(jnp.full(2, value, threshold.dtype) for value in (0.0, 1.0, 0.5))),
            probability_threshold=threshold,
            tau=slopes.candidates[0],
        )

    def update_fn(state, logits, labels, *, where=None):
        state = _push(state, *_observe(logits, labels, where, queue_size, axis_name))
        state = state._replace(count=optax.safe_increment(state.count), bound=bound_at(state.count))
        # The predicate must not depend on the data: under vmap `cond` would become `select`, and the refit
        # run in every step.
        due = (state.count % update_every == 0) & (state.filled == queue_size)
        mixture, threshold, tau = jax.lax.cond(due, refit, _keep, state)
        return state._replace(mixture=mixture, probability_threshold=threshold, tau=tau)

    def refit(state):
        mixture = fit_mixture(state.queue, state.valid)
        fitted = mixture, *_threshold.search(mixture, slopes, state.bound, mode)
        enough = jnp.sum(state.valid, dtype=jnp.int32) >= math.ceil(MIN_VALID_SHARE * queue_size)
        return jax.tree.map(lambda new, old: jnp.where(enough, new, old), fitted, _keep(state))

    def value_fn(state, logits, labels, *, where=None):
        log_odds = _label.label_log_odds(logits, labels, where=where)
        clipped = _clipped.tangent_below(
            _of_probability.of_log_odds(base),
            log_odds,
            _threshold.log_odds(state.probability_threshold).astype(log_odds.dtype),
            state.tau.astype(log_odds.dtype),
        )
        return _label.finish(clipped, where)

    return RobustLoss(init_fn, update_fn, value_fn)


def clean_probability(state: OGCState, losses: ArrayLike) -> Float[Array, "..."]:
    r"""Probability, under the fitted mixture, that an example's label is right.

    $$\frac{w_c\,N(h;\, \mu_c, \sigma_c^2)}{w_c\,N(h;\, \mu_c, \sigma_c^2) + w_n\,N(h;\, \mu_n, \sigma_n^2)}$$

    with $h$ the loss limited to $[\mu_c, \mu_n]$: where one normal is wider than the other, its tail would
    otherwise claim the examples beyond the other's mean too.

    Args:
      state: of `ogc_loss`, after a refit; before the first one the result is 0.5 everywhere.
      losses: cross-entropies $-\log p$ of the given labels, whatever the base, floating, of any shape.

    Returns:
      Probabilities, of the shape of `losses` and never increasing with them. NaN losses give NaN.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> state = nox.ogc.ogc_loss(learning_rate=0.1).init()
    >>> mixture = nox.ogc.Mixture(jnp.array([0.2, 3.0]), jnp.array([0.1, 1.0]), jnp.array([0.6, 0.4]))
    >>> nox.ogc.clean_probability(state._replace(mixture=mixture), jnp.array([0.0, 1.0, 4.0])).round(2)
    Array([1.  , 0.59, 0.  ], dtype=float32)
    """
    means = state.mixture.means
    losses = jnp.asarray(losses, means.dtype)
    clean, noisy = log_joint(jnp.clip(losses.ravel(), means[0], means[1]), state.mixture)
    return jax.nn.sigmoid(clean - noisy).reshape(losses.shape)


def replica_axes(state: Any) -> Any:
    """Axes for `jax.vmap` over replicas, of a state in which `OGCState` may occur anywhere.

    The counters decide when the mixture is fitted again, and have to stay without a replica axis: batched,
    they turn the refit into something that every step computes and most steps throw away.

    Args:
      state: an `OGCState` or a pytree with some, such as the state of a wrapper; only its structure is read.

    Returns:
      The same structure with None for the counters and 0 for all else, for `in_axes` and `out_axes`.

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
        if not isinstance(node, OGCState):
            return 0
        return jax.tree.map(lambda _: 0, node)._replace(count=None, filled=None)

    return jax.tree.map(axes, state, is_leaf=lambda node: isinstance(node, OGCState))


def _bound_schedule(
    learning_rate: float | optax.Schedule | None, epsilon: float, bound: float | optax.Schedule | None
) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
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


def _observe(
    logits: ArrayLike, labels: ArrayLike, where: ArrayLike | None, queue_size: int, axis_name: str | None
) -> tuple[Float[Array, "n"], Bool[Array, "n"]]:
    """H of a batch and whether it is valid, flat and at most `queue_size` long."""
    logits = jax.lax.stop_gradient(logits)
    h = -_label.label_log_probability(logits, labels, where=where)
    valid = ~jnp.isnan(h) if where is None else ~jnp.isnan(h) & jnp.asarray(where)
    h = jnp.where(valid, jnp.clip(h, _threshold.H_MIN, _threshold.H_MAX), 0.0)
    h, valid = _replicated(h).ravel(), _replicated(valid).ravel()
    if axis_name is not None:
        # `invarying`: every device holds the same queue, and may return it as replicated.
        h, valid = jax.lax.all_gather((h, valid), axis_name, tiled=True, to="invarying")
    if h.size > queue_size:
        chosen = _spread_indices(h.size, queue_size)
        h, valid = h[chosen], valid[chosen]
    return h, valid


def _replicated(x: Array) -> Array:
    """Undoes an explicit sharding, under which a split batch cannot be joined to the queue."""
    sharding = jax.typeof(x).sharding
    if all(axis is None for axis in sharding.spec):
        return x
    return jax.sharding.reshard(x, sharding.update(spec=jax.P(*[None] * x.ndim)))


def _spread_indices(n: int, size: int) -> Int[np.ndarray, "size"]:
    """`size` of `n` indices by one stride, spread evenly over the rows and columns of a batch alike.

    A stride that divides the sequence length would pick the same positions of every sequence. The golden
    section has no such resonance.
    """
    stride = round(n * (math.sqrt(5) - 1) / 2)
    while math.gcd(stride, n) > 1:
        stride += 1
    return (np.arange(size) * stride) % n


def _keep(state: OGCState) -> tuple[Mixture, Float[Array, ""], Float[Array, ""]]:
    return state.mixture, state.probability_threshold, state.tau


def _push(state: OGCState, h: Float[Array, "n"], valid: Bool[Array, "n"]) -> OGCState:
    """Appends to the queue and drops as many of the oldest slots."""
    queue_size = state.queue.size
    return state._replace(
        queue=jnp.concatenate([state.queue[h.size :], h.astype(state.queue.dtype)]),
        valid=jnp.concatenate([state.valid[h.size :], valid]),
        filled=jnp.minimum(state.filled + h.size, queue_size),
    )
