"""OGC as a loss: the base, clipped at a threshold that is solved again every few steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from noisy_optax.losses import _clipped, _cross_entropy, _label, _of_probability
from noisy_optax.losses._of_probability import PROBABILITY_MIN
from noisy_optax.ogc import _state, _threshold
from noisy_optax.ogc._mixture import fit_mixture
from noisy_optax.ogc._state import OGCState
from noisy_optax.ogc._threshold import Mode, Slopes
from noisy_optax.robust_loss import Loss, RobustLoss


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
    r"""Optimized gradient clipping: clips the slope of a loss in p at a threshold that follows the training.

    $$\ell_\tau(p) = \begin{cases} \ell(p) & p > p_\tau \\
      \ell(p_\tau) + \tau\,(p_\tau - p) & p \le p_\tau \end{cases} \qquad \tau = |\ell'(p_\tau)|$$

    Each `update` puts the batch's $H = -\log p$ (p limited to [1e-7, 1 - 1e-7]) into a queue. Once the queue
    is full, every `update_every`-th `update` fits a mixture of two normals to the queue (`fit_mixture`). It
    then finds the smallest $p_\tau$ at which the mean clipped slope of the noisy component is at most
    $1 + \eta\,\epsilon$ times that of the clean one (`solve_threshold`), where $\eta$ is the learning rate.
    The new threshold applies to the same batch. Before the first fit, nothing in [1e-7, 1] is clipped. The
    loss costs as much as the base. A refit runs on the device, within the step.

    An example that is masked out, or has logits or a label that give NaN, takes a slot of the queue, but the
    fit ignores it. If less than an eighth of the slots are valid, the old mixture and threshold stay. Batches
    may have any shape and size, and their size may vary. From a batch larger than the queue, `queue_size`
    evenly spread examples are taken. If all values in the queue are equal, nothing is clipped.

    Args:
      base: a loss that is a decreasing, convex function of p alone, from this library or made by
        `of_probability`; set its hyper-parameters with `functools.partial`.
      learning_rate: the optimizer's, or its schedule, a function of the 0-based step.
      epsilon: > 0; 20 in the paper, for SGD with learning rates that fall from 0.1.
      bound: >= 1, or a function of the 0-based step; replaces `1 + learning_rate * epsilon`. Use it for an
        optimizer with learning rates unlike those of SGD, such as Adam.
      update_every: steps from one refit to the next, > 0.
      queue_size: > 0.
      mode: how the threshold is searched, see `solve_threshold`.
      axis_name: under `shard_map`, the mesh axis the batch is split over; the queue then takes the whole
        batch. Not needed for a sharded batch under plain `jit`.

    Returns:
      A `RobustLoss` with an `OGCState`. `clip_by_probability` is the same for per-example gradients.

    Raises:
      ValueError: an option is out of range, or not exactly one of learning_rate and bound is given; from
        `init`, base is not decreasing, convex or a function of p alone.

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
    _state.check_schedule(update_every, queue_size)
    bound_at = _state.bound_schedule(learning_rate, epsilon, bound)
    slopes = tabulated(base, mode)

    def init_fn():
        return initial_state(queue_size, bound_at, slopes())

    def update_fn(state, logits, labels, *, where=None, indices=None):
        del indices
        log_p = _label.label_log_probability(jax.lax.stop_gradient(logits), labels, where=where)
        return _state.advance(
            state,
            *negative_log_likelihood(log_p, where),
            lambda state: refit(state, slopes(), mode),
            bound=bound_at,
            update_every=update_every,
            axis_name=axis_name,
        )

    def value_fn(state, logits, labels, *, where=None, indices=None):
        del indices
        return clipped_loss(base, state)(logits, labels, where=where)

    return RobustLoss(init_fn, update_fn, value_fn)


def clipped_loss(base: Loss, state: OGCState) -> Loss:
    """The base, clipped at the threshold of a state: what `value` of `ogc_loss` evaluates.

    Args:
      base: the base that the state's threshold was found for.
      state: of `ogc_loss` or `clip_by_probability`.

    Returns:
      A `Loss`.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> state = nox.ogc.ogc_loss(learning_rate=0.1).init()
    >>> state = state._replace(probability_threshold=jnp.array(0.5), tau=jnp.array(2.0))
    >>> nox.ogc.clipped_loss(nox.losses.cross_entropy, state)(jnp.array([[-jnp.inf, 0.0]]), jnp.array([0]))
    Array([1.6931472], dtype=float32)
    """

    def loss(logits, labels, *, axis=-1, where=None):
        log_odds = _label.label_log_odds(logits, labels, axis=axis, where=where)
        clipped = _clipped.tangent_below(
            _of_probability.of_log_odds(base),
            log_odds,
            _threshold.log_odds(state.probability_threshold).astype(log_odds.dtype),
            state.tau.astype(log_odds.dtype),
        )
        return _label.finish(clipped, where)

    return loss


def tabulated(base: Loss, mode: Mode) -> Callable[[], Slopes]:
    """The slopes of a base, checked and evaluated when they are first needed."""

    def evaluate():
        _of_probability.check_base(base)
        return _of_probability.evaluate_now(lambda: _threshold.tabulate(base, mode))

    return _of_probability.once(evaluate)


def initial_state(queue_size: int, bound: optax.Schedule, slopes: Slopes) -> OGCState:
    """The state before the first step: an empty queue, nothing clipped."""
    queue = _state.empty_queue(queue_size, bound(jnp.zeros([], jnp.int32)))
    threshold = jnp.asarray(PROBABILITY_MIN, queue["queue"].dtype)
    return OGCState(**queue, probability_threshold=threshold, tau=jnp.asarray(slopes.candidates[0]))


def refit(state: OGCState, slopes: Slopes, mode: Mode) -> OGCState:
    """Fits the mixture to the queue and solves for the threshold."""
    mixture = fit_mixture(state.queue, state.valid)
    threshold, tau = _threshold.search(mixture, slopes, state.bound, mode)
    return state._replace(mixture=mixture, probability_threshold=threshold, tau=tau)


def negative_log_likelihood(
    log_p: Float[Array, "..."], where: ArrayLike | None
) -> tuple[Float[Array, "..."], Bool[Array, "..."]]:
    """H = -log p within its limits, and a mask of the entries that are valid."""
    valid = ~jnp.isnan(log_p) if where is None else ~jnp.isnan(log_p) & jnp.asarray(where)
    return jnp.where(valid, jnp.clip(-log_p, _threshold.H_MIN, _threshold.H_MAX), 0.0), valid
