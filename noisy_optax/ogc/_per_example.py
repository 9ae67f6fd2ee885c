"""OGC as a transformation of per-example gradients, each weighted down where the loss form clips."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from noisy_optax import per_example
from noisy_optax.losses import _cross_entropy, _label, _of_probability
from noisy_optax.ogc import _loss, _state, _threshold
from noisy_optax.ogc._mixture import fit_mixture
from noisy_optax.ogc._state import GradientNormState, OGCState
from noisy_optax.ogc._threshold import Mode
from noisy_optax.robust_loss import Loss

# Logarithms of the norms that a refit tells apart, relative to their median.
RELATIVE_RANGE = (math.log(1e-4), math.log(1e12))

Statistic = Literal["log_probability", "gradient_norm"]


class _Rule(NamedTuple):
    """What the two statistics do differently; x is the statistic of each example, `[B]`.

    Attributes:
      init: `init() -> state`.
      observe: `observe(x, where) -> (values, valid)`, what enters the queue.
      refit: `refit(state) -> state`.
      weights: `weights(state, x) -> [B]`, in [0, 1].
    """

    init: Callable[[], Any]
    observe: Callable[..., tuple[Float[Array, "B"], Bool[Array, "B"]]]
    refit: Callable[[Any], Any]
    weights: Callable[[Any, Float[Array, "B"]], Float[Array, "B"]]


def ogc(
    base: Loss = _cross_entropy.cross_entropy,
    *,
    learning_rate: float | optax.Schedule | None = None,
    epsilon: float = 20.0,
    bound: float | optax.Schedule | None = None,
    update_every: int = 32,
    queue_size: int = 4096,
    mode: Mode = "default",
    statistic: Statistic = "log_probability",
    axis_name: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Optimized gradient clipping of per-example gradients; returns their weighted mean.

    $$\frac{1}{B} \sum_i w_i \nabla_\theta \ell_i, \qquad w_i = \min\Big(1, \frac{\tau}{g(p_i)}\Big)$$

    With the gradients of the base loss this is the gradient of `ogc_loss`, whose text says how $\tau$
    follows the training. It is for loops that have per-example gradients anyway; the loss form costs one
    ordinary backward pass.

    With `statistic="gradient_norm"` the mixture is fitted to the square roots of the gradients' norms $n_i$
    and $w_i = \min(1, \tau / n_i)$, with $\tau$ from `solve_norm_threshold`. That needs no probability, and
    works for any loss, of regression too. A gradient of zero has no say in the fit.

    First in an `optax.chain`: what follows sees one gradient, not B. `update` takes what
    `per_example_gradients` returns, and these keyword arguments:

    - `log_probabilities`: `[B]`, $\log p$ of the given labels, `label_log_probability`; not needed for
      gradient norms.
    - `where`: boolean, `[B]`; examples that are False are left out of the mean and of the fit.
    - `weighted_gradient`: a function of weights `[B]` that returns $\sum_i w_i \nabla_\theta \ell_i$, as
      made with `noisy_optax.weighted_gradient`. With it `updates` may be None, so that the B gradients need
      not exist at once; gradient norms then come as `gradient_norms`, `[B]`.

    Under `optax.inject_hyperparams` it needs `static_args=("base", "update_every", "queue_size")`.
    `optax.experimental.aggregating.process` takes it as aggregator, but cannot hand a function such as
    `grad_fn` of sharpness-aware minimization on to what follows: use `optax.chain` for that.

    Args:
      base: the loss whose gradients come in, a decreasing, convex function of p alone; not used for
        gradient norms.
      learning_rate: the optimizer's, or its schedule, a function of the 0-based step.
      epsilon: > 0; 20 in the paper, for SGD with learning rates that fall from 0.1.
      bound: >= 1, or a function of the 0-based step; replaces `1 + learning_rate * epsilon`, epsilon and all.
      update_every: steps from one refit to the next, > 0.
      queue_size: > 0.
      mode: how the threshold is searched, see `solve_threshold`; not used for gradient norms.
      statistic: "log_probability" or "gradient_norm".
      axis_name: under `shard_map`, the mesh axis the batch is split over; the queue then takes the whole
        batch. The mean stays that of the device's own examples: average it with `jax.lax.pmean`.

    Returns:
      An `optax.GradientTransformationExtraArgs` with an `OGCState`, or a `GradientNormState`.

    Raises:
      ValueError: an option is out of range, not exactly one of learning_rate and bound is given, or base is
        not decreasing, convex or a function of p alone; from `update`, an argument is missing or its
        leading axis is not that of the gradients.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> def losses(w, x, y):
    ...   logits = x @ w
    ...   return nox.losses.cross_entropy(logits, y), nox.losses.label_log_probability(logits, y)
    >>> gradients = nox.per_example_gradients(losses, has_aux=True)
    >>> optimizer = optax.chain(nox.ogc.ogc(learning_rate=0.1), optax.sgd(0.1, momentum=0.9))
    >>> w, x, y = jnp.zeros((4, 3)), jnp.ones((8, 4)), jnp.zeros(8, int)
    >>> state = optimizer.init(w)
    >>> g, log_p = gradients(w, x, y)
    >>> updates, state = optimizer.update(g, state, w, log_probabilities=log_p)
    >>> updates.shape
    (4, 3)
    """
    if statistic not in get_args(Statistic):
        raise ValueError(f"statistic must be one of {get_args(Statistic)}, got {statistic!r}")
    _state.check_schedule(update_every, queue_size)
    bound_at = _state.bound_schedule(learning_rate, epsilon, bound)
    if statistic == "gradient_norm":
        rule = _by_gradient_norm(queue_size, bound_at)
    else:
        rule = _by_probability(base, mode, queue_size, bound_at)

    def init_fn(params):
        del params
        return rule.init()

    def update_fn(
        updates,
        state,
        params=None,
        *,
        log_probabilities=None,
        gradient_norms=None,
        where=None,
        weighted_gradient=None,
        **extra_args,
    ):
        del extra_args
        if weighted_gradient is None:
            _check_per_example(updates, params)
        if statistic == "log_probability":
            x = _required("log_probabilities", log_probabilities)
        elif weighted_gradient is None:
            x = example_norms(updates)
        else:
            x = _required("gradient_norms", gradient_norms)
        if weighted_gradient is None:
            _check_batch(updates, x)
        where = None if where is None else _label.example_mask(where, x.shape)
        state = _state.advance(
            state,
            *rule.observe(x, where),
            rule.refit,
            bound=bound_at,
            update_every=update_every,
            axis_name=axis_name,
        )
        weights = _mean_of(rule.weights(state, x), where)
        if weighted_gradient is not None:
            return weighted_gradient(weights), state
        return jax.tree.map(lambda leaf: _weighted_sum(leaf, weights, where), updates), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def clipped_grad_fn(
    transformation: optax.GradientTransformationExtraArgs,
    state: OGCState,
    base: Loss,
    logits_fn: Callable[[Any], Float[Array, "B classes"]],
    labels: ArrayLike,
    *,
    log_probabilities: ArrayLike,
    where: ArrayLike | None = None,
) -> Callable[[Any], Any]:
    """The second gradient of sharpness-aware minimization behind `ogc`, clipped at this step's threshold.

    For `optax.chain(ogc(...), saner(...), ...)`, whose `grad_fn` has to clip as the first link does in the
    same step, refit included. With `ogc_loss` nothing of the kind is needed: evaluate `value` again.

    Args:
      transformation: what `ogc` returned, with the statistic "log_probability".
      state: its state before the step; of a chain's, the first.
      base: the base that `ogc` was given.
      logits_fn: `logits_fn(params) -> [B, C]`, on the batch of the step.
      labels: integer, `[B]`.
      log_probabilities: `[B]`, as given to `update`.
      where: boolean, `[B]`, as given to `update`.

    Returns:
      `grad_fn(params)`, the gradient of the mean clipped loss.

    >>> import jax.numpy as jnp, optax, noisy_optax as nox
    >>> x, y, w = jnp.ones((8, 4)), jnp.zeros(8, int), jnp.zeros((4, 3))
    >>> ogc = nox.ogc.ogc(learning_rate=0.1)
    >>> log_p = nox.losses.label_log_probability(x @ w, y)
    >>> grad_fn = nox.ogc.clipped_grad_fn(
    ...   ogc, ogc.init(w), nox.losses.cross_entropy, lambda w: x @ w, y, log_probabilities=log_p
    ... )
    >>> grad_fn(w).shape
    (4, 3)
    """
    if not isinstance(state, OGCState):
        raise ValueError(
            f"expected the OGCState of the statistic log_probability, got {type(state).__name__}"
        )
    # The weights are not wanted here, so that no gradient is.
    _, state = transformation.update(
        None, state, log_probabilities=log_probabilities, where=where, weighted_gradient=lambda weights: None
    )
    loss = _loss.clipped_loss(base, state)

    def mean_loss(params):
        losses = loss(logits_fn(params), labels, where=where)
        kept = losses.size if where is None else jnp.maximum(jnp.sum(where, dtype=losses.dtype), 1.0)
        return jnp.sum(losses) / kept

    return jax.grad(mean_loss)


def _by_probability(base: Loss, mode: Mode, queue_size: int, bound: optax.Schedule) -> _Rule:
    _threshold.check_mode(mode)
    slopes = _loss.tabulated(base, mode)
    return _Rule(
        init=lambda: _loss.initial_state(queue_size, bound, slopes()),
        observe=_loss.surprise,
        refit=lambda state: _loss.refit(state, slopes(), mode),
        weights=lambda state, log_p: _of_probability.clip_weights(base, log_p, state.tau),
    )


def _by_gradient_norm(queue_size: int, bound: optax.Schedule) -> _Rule:
    def init():
        queue = _state.empty_queue(queue_size, bound(jnp.zeros([], jnp.int32)))
        return GradientNormState(**queue, tau=jnp.asarray(jnp.finfo(queue["queue"].dtype).max))

    def observe(norms, where):
        valid = (norms > 0) & (norms < jnp.inf)
        valid = valid if where is None else valid & where
        return jnp.log(jnp.where(valid, norms, 1.0)), valid

    def refit(state):
        median = jnp.nanmedian(jnp.where(state.valid, state.queue, jnp.nan))
        # In units of the median, so that the mixture does not depend on the loss's own.
        relative = jnp.clip(jnp.where(state.valid, state.queue - median, 0.0), *RELATIVE_RANGE)
        mixture = fit_mixture(jnp.exp(0.5 * relative), state.valid)
        norms = jnp.exp(relative)
        low = jnp.min(jnp.where(state.valid, norms, jnp.inf))
        high = jnp.max(jnp.where(state.valid, norms, 0.0))
        tau = _threshold.solve_norm_threshold(mixture, (low, high), state.bound)
        unit = jnp.exp(median)
        mixture = mixture._replace(means=mixture.means * jnp.sqrt(unit), variances=mixture.variances * unit)
        return state._replace(mixture=mixture, tau=tau * unit)

    def weights(state, norms):
        tau = state.tau.astype(norms.dtype)
        return jnp.where(norms > tau, tau / jnp.where(norms > tau, norms, 1.0), 1.0)

    return _Rule(init, observe, refit, weights)


def example_norms(gradients: Any) -> Float[Array, "B"]:
    """Euclidean norm of each example's gradient, safe where its squares would under- or overflow."""
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(gradients) if leaf.size]
    leaves = [_label.at_least_32_bits(leaf) for leaf in leaves]
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf), axis=1) for leaf in leaves]), axis=0)
    unit = jnp.where((largest > 0) & (largest < jnp.inf), largest, 1.0)
    squares = [jnp.sum(jnp.square(leaf / unit[:, None]), axis=1) for leaf in leaves]
    return unit * jnp.sqrt(sum(squares[1:], squares[0]))


def _mean_of(weights: Float[Array, "B"], where: Bool[Array, "B"] | None) -> Float[Array, "B"]:
    """Weights of a sum that make it the mean over the examples that are kept."""
    if where is None:
        return weights / weights.size
    kept = jnp.maximum(jnp.sum(where, dtype=weights.dtype), 1.0)
    return jnp.where(where, weights, 0.0) / kept


def _weighted_sum(
    leaf: Float[Array, "B ..."], weights: Float[Array, "B"], where: Bool[Array, "B"] | None
) -> Float[Array, "..."]:
    def along(x):
        return x.reshape(-1, *[1] * (leaf.ndim - 1))

    wide = _label.at_least_32_bits(leaf)
    if where is not None:
        # Zero weight is not enough: 0 * nan is nan.
        wide = jnp.where(along(where), wide, 0.0)
    return jnp.sum(wide * along(weights).astype(wide.dtype), axis=0).astype(leaf.dtype)


def _required(name: str, value: ArrayLike | None) -> Float[Array, "B"]:
    if value is None:
        meaning = {
            "log_probabilities": "log p of the given labels, label_log_probability(logits, labels)",
            "gradient_norms": "the norms of the per-example gradients, beside weighted_gradient",
        }[name]
        raise ValueError(f"ogc needs update(..., {name}=...), shape [B]: {meaning}")
    value = jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating) or value.ndim != 1:
        raise ValueError(f"expected {name} floating of shape [B], got {value.dtype} of shape {value.shape}")
    return jax.lax.stop_gradient(_label.at_least_32_bits(value))


def _check_per_example(updates: Any, params: Any) -> None:
    """Raises ValueError unless every leaf has the examples on its leading axis."""
    advice = (
        "pass what noisy_optax.per_example_gradients returns; with training_step, use the loss "
        "nox.ogc.ogc_loss instead"
    )
    if not jax.tree.leaves(updates):
        raise ValueError(f"expected per-example gradients, got none; {advice}")
    try:
        size = per_example.batch_size(updates)
    except ValueError as error:
        raise ValueError(f"{error}; {advice}") from None
    if params is None:
        return
    expected: Any = jax.tree.structure(params)
    found: Any = jax.tree.structure(updates)
    if expected != found:
        raise ValueError(
            f"per-example gradients must have the structure of the parameters, {expected}, got {found}"
        )
    for leaf, param in zip(jax.tree.leaves(updates), jax.tree.leaves(params), strict=True):
        if jnp.shape(leaf) != (size, *jnp.shape(param)):
            raise ValueError(
                f"expected per-example gradients of shape {(size, *jnp.shape(param))}, got "
                f"{jnp.shape(leaf)}; {advice}"
            )


def _check_batch(updates: Any, x: Float[Array, "B"]) -> None:
    size = per_example.batch_size(updates)
    if x.size != size:
        raise ValueError(f"expected log_probabilities of shape ({size},), like the gradients, got {x.shape}")
