"""One training step for any model, loss and optimizer: the way in for most people."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.robust_loss import Loss, RobustLoss, as_robust_loss
from noisy_optax.sharpness import _tree
from noisy_optax.sharpness._transformation import SharpnessAware


class StepInfo(NamedTuple):
    """What a step measured.

    Attributes:
      loss: floating scalar, the mean loss at the parameters.
      aux: what `forward` returned beside the logits there, None without `has_aux`. A loop with batch
        statistics keeps these, or those of the perturbed pass.
      perturbed_loss: floating scalar, the mean loss at the perturbed parameters, None without `sharpness`.
      perturbed_aux: what `forward` returned beside the logits there, None without `sharpness`.
    """

    loss: Float[Array, ""]
    aux: Any
    perturbed_loss: Float[Array, ""] | None
    perturbed_aux: Any


class Accumulation(NamedTuple):
    """Gradients on their way to one step of the optimizer.

    Attributes:
      calls: int32 scalar, how many calls of `update` are in it.
      weight: floating scalar, the sum of these calls' weights.
      mean: like the parameters, in float32 or wider, the mean of the directions by weight.
    """

    calls: Int[Array, ""]
    weight: Float[Array, ""]
    mean: Any


class Average(NamedTuple):
    """Running averages over the optimizer's steps.

    Attributes:
      steps: int32 scalar, how many steps are in it.
      params: like the parameters.
      aux: like what `forward` returns beside the logits, None if that is not averaged.
    """

    steps: Int[Array, ""]
    params: Any
    aux: Any


class StepState(NamedTuple):
    """State of `training_step`; what is not used is `optax.EmptyState()`.

    Attributes:
      optimizer: of the optimizer.
      loss: of the loss.
      sharpness: of `sharpness`.
      accumulation: an `Accumulation`, with `accumulate` above 1.
      average: an `Average`, with `average`.
    """

    optimizer: optax.OptState
    loss: Any
    sharpness: Any
    accumulation: Any
    average: Any


class TrainingStep(NamedTuple):
    """What `training_step` returns.

    Attributes:
      init: `init(params, aux=None) -> StepState`. Pass `aux`, like what `forward` returns beside the logits,
        to average that too.
      update: `update(params, state, inputs, labels, *, where=None, weights=None, indices=None) ->
        (params, state, info)`, with a `StepInfo`. Pure; to be jitted whole.
      averaged: `averaged(state)`, the averaged parameters, or a pair of them and the averaged aux if `init`
        was given one.
    """

    init: Callable[..., StepState]
    update: Callable[..., tuple[Any, StepState, StepInfo]]
    averaged: Callable[[StepState], Any]


def training_step(
    forward: Callable[[Any, Any], Any],
    loss: Loss | RobustLoss,
    optimizer: optax.GradientTransformation,
    *,
    sharpness: SharpnessAware | None = None,
    has_aux: bool = False,
    accumulate: int = 1,
    average: float | None = None,
) -> TrainingStep:
    r"""A training step for any model, loss and optimizer, to be jitted as a whole.

    The objective is the mean of the losses by weight,

    $$L(\theta) = \frac{\sum_i w_i \ell_i}{\sum_i w_i}$$

    over the examples that `where` keeps; 0 if there are none. The loss's state advances once per call. With
    `sharpness` there is a second pass at perturbed parameters, in which the loss keeps its state. Then the
    optimizer's updates are applied. Parameters and state may be donated, and batches split over devices.

    With `accumulate` = k, k calls make one step of the optimizer, by the mean of their gradients, each by
    its weight. The `count` of every state, at which schedules are read, advances once per k calls; queues and
    memories take in every call. Sharpness-aware minimization then perturbs each micro-batch on its own
    gradient, which is known as m-sharpness. The optimizer gets the loss of the last of the k calls as
    `value`.

    With `average` = d the state keeps an average of the parameters after each step of the optimizer, with
    weights that fall by the factor d per step, normalised from the first step on.

    Args:
      forward: `forward(params, inputs) -> logits`, floating `[..., C]`, or `(logits, aux)` with `has_aux`.
        `inputs` is any pytree: images, batch statistics, a key for dropout.
      loss: a plain loss or a `RobustLoss`, class axis last.
      optimizer: any transformation of optax that needs no second gradient. It is given `value`.
      sharpness: `nox.saner(...)` or another of `nox.sharpness`.
      has_aux: whether `forward` returns a pair.
      accumulate: k >= 1, calls for one step of the optimizer.
      average: d in [0, 1), e.g. 0.999, or None for no average.

    Returns:
      A `TrainingStep`. In its `update`, `labels` is integer `[...]`. `where` (boolean), `weights` (floating,
      not negative) and `indices` (integer) are shaped like the labels.

    Raises:
      TypeError: optimizer or sharpness is of another kind.
      ValueError: accumulate or average is out of range; from `update`, shapes do not match.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> def forward(params, inputs):
    ...   return inputs @ params["w"] + params["b"]
    >>> loss = nox.ogc.ogc_loss(learning_rate=0.1, queue_size=64, update_every=4)
    >>> step = nox.training_step(forward, loss, optax.sgd(0.1), sharpness=nox.saner(rho=0.1))
    >>> params = {"w": jnp.zeros((4, 3)), "b": jnp.zeros(3)}
    >>> state, update = step.init(params), jax.jit(step.update, donate_argnums=(0, 1))
    >>> params, state, info = update(params, state, jnp.ones((8, 4)), jnp.zeros(8, int))
    >>> info.loss
    Array(1.0986123, dtype=float32)
    """
    _check(optimizer, sharpness)
    check_range("accumulate", accumulate, at_least=1)
    if average is not None:
        check_range("average", average, at_least=0.0, below=1.0)
    robust, optimizer = as_robust_loss(loss), optax.with_extra_args_support(optimizer)
    unused = optax.EmptyState()

    def run(params, inputs):
        return forward(params, inputs) if has_aux else (forward(params, inputs), None)

    def init_fn(params, aux=None):
        return StepState(
            optimizer.init(params),
            robust.init(),
            unused if sharpness is None else sharpness.init(params),
            unused if accumulate == 1 else _nothing_accumulated(params),
            unused if average is None else _nothing_averaged(params, aux),
        )

    def direction(params, state, inputs, labels, where, weights, indices):
        """What the batch asks the optimizer for, with the new states of loss and sharpness."""
        batch = {"where": where, "indices": indices}

        def at_params(params):
            logits, aux = run(params, inputs)
            losses, loss_state = robust.apply(state.loss, logits, labels, **batch)
            return weighted_mean(losses, weights, where), (aux, loss_state)

        (value, (aux, loss_state)), gradient = jax.value_and_grad(at_params, has_aux=True)(params)
        if sharpness is None:
            return gradient, loss_state, state.sharpness, StepInfo(value, aux, None, None)

        def at_perturbed(perturbed):
            logits, aux = run(perturbed, inputs)
            return weighted_mean(robust.value(loss_state, logits, labels, **batch), weights, where), aux

        perturbed, sharpness_state = sharpness.perturb(gradient, state.sharpness, params)
        (second_value, second_aux), second = jax.value_and_grad(at_perturbed, has_aux=True)(perturbed)
        combined, sharpness_state = sharpness.combine(gradient, second, sharpness_state, params)
        return combined, loss_state, sharpness_state, StepInfo(value, aux, second_value, second_aux)

    def move(gradient, params, state, info):
        """A step of the optimizer."""
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, params, value=info.loss)
        params = optax.apply_updates(params, updates)
        averages = state.average
        if average is not None:
            averages = _averaged_further(averages, average, params, info.aux)
        return params, state._replace(optimizer=optimizer_state, average=averages)

    def update_fn(params, state, inputs, labels, *, where=None, weights=None, indices=None):
        arguments = inputs, labels, where, weights, indices
        gradient, loss_state, sharpness_state, info = direction(params, state, *arguments)
        if accumulate == 1:
            state = state._replace(loss=loss_state, sharpness=sharpness_state)
            return *move(gradient, params, state, info), info
        weight = _total_weight(labels, weights, where)
        gathered = _accumulated_further(state.accumulation, gradient, weight)
        is_last = gathered.calls == accumulate
        state = state._replace(
            loss=_keep_counts(state.loss, loss_state, is_last),
            sharpness=_keep_counts(state.sharpness, sharpness_state, is_last),
            accumulation=gathered,
        )

        def make_step(params, state):
            mean = optax.tree.cast_like(state.accumulation.mean, gradient)
            params, state = move(mean, params, state, info)
            return params, state._replace(accumulation=optax.tree.zeros_like(state.accumulation))

        params, state = jax.lax.cond(is_last, make_step, lambda *same: same, params, state)
        return params, state, info

    def averaged_fn(state):
        if average is None:
            raise ValueError("there is no average: pass average=0.999, for example, to training_step")
        return state.average.params if state.average.aux is None else state.average[1:]

    return TrainingStep(init_fn, update_fn, averaged_fn)


def weighted_mean(
    losses: Float[Array, "..."], weights: ArrayLike | None, where: ArrayLike | None
) -> Float[Array, ""]:
    """The mean of the losses by weight over the examples that `where` keeps; 0 if there are none.

    Args:
      losses: floating, `[...]`, 0 where `where` is False.
      weights: floating, >= 0, shaped like the losses, or None for 1 each.
      where: boolean, shaped like the losses, or None for all.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.training.weighted_mean(jnp.array([1.0, 3.0]), weights=jnp.array([3.0, 1.0]), where=None)
    Array(1.5, dtype=float32)
    """
    if weights is None and where is None:
        return jnp.mean(losses)
    factors = _factors(losses.shape, weights, where, losses.dtype)
    total = jnp.sum(factors)
    # A masked-out loss is 0, but its weight may be anything.
    return jnp.sum(factors * losses) / jnp.where(total == 0, jnp.ones_like(total), total)


def _total_weight(labels: ArrayLike, weights: ArrayLike | None, where: ArrayLike | None) -> Float[Array, ""]:
    shape = jnp.shape(labels)
    return jnp.sum(_factors(shape, weights, where, jnp.result_type(float)))


def _factors(
    shape: tuple[int, ...], weights: ArrayLike | None, where: ArrayLike | None, dtype: Any
) -> Float[Array, "..."]:
    factors = jnp.ones(shape, dtype)
    if weights is not None:
        weights = jax.lax.stop_gradient(jnp.asarray(weights))
        if not jnp.issubdtype(weights.dtype, jnp.floating):
            raise TypeError(f"weights must be floating, got {weights.dtype} of shape {weights.shape}")
        if weights.shape != shape:
            raise ValueError(
                f"expected weights of shape {shape}, like labels, got {weights.shape}; for weights of "
                f"classes pass class_weights[labels]"
            )
        factors = weights.astype(dtype)
    if where is not None:
        factors = jnp.where(_label.example_mask(where, shape), factors, jnp.zeros_like(factors))
    return factors


def _check(optimizer: Any, sharpness: Any) -> None:
    if isinstance(optimizer, optax.MultiSteps):
        raise TypeError(
            "expected an optax.GradientTransformation, got optax.MultiSteps; pass the optimizer inside it "
            "and accumulate=k, which lets the schedules of the loss count the same steps"
        )
    if isinstance(optimizer, SharpnessAware):
        raise TypeError(
            "expected an optimizer, got a sharpness-aware transformation; pass it as sharpness=..., with an "
            "optimizer such as optax.sgd beside it"
        )
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"expected an optax.GradientTransformation as optimizer, got {type(optimizer).__name__}"
        )
    if sharpness is not None and not isinstance(sharpness, SharpnessAware):
        raise TypeError(
            f"expected sharpness made by nox.saner or another of nox.sharpness, got "
            f"{type(sharpness).__name__}; what only changes updates belongs into the optimizer's chain"
        )


def _nothing_accumulated(params: Any) -> Accumulation:
    mean = jax.tree.map(jnp.zeros_like, _tree.widen(params))
    return Accumulation(jnp.zeros([], jnp.int32), jnp.zeros([], float), mean)


def _accumulated_further(state: Accumulation, gradient: Any, weight: Float[Array, ""]) -> Accumulation:
    total = state.weight + weight
    share = weight / jnp.where(total == 0, jnp.ones_like(total), total)

    def add(mean, g):
        return mean + share.astype(mean.dtype) * (g.astype(mean.dtype) - mean)

    return Accumulation(state.calls + 1, total, jax.tree.map(add, state.mean, gradient))


def _nothing_averaged(params: Any, aux: Any) -> Average:
    # Copies: the caller may donate the parameters and the state to the same call.
    zero = jnp.zeros([], jnp.int32)
    return Average(zero, jax.tree.map(jnp.array, params), jax.tree.map(jnp.array, aux))


def _averaged_further(state: Average, decay: float, params: Any, aux: Any) -> Average:
    steps = optax.safe_increment(state.steps)
    # The weights decay^0, decay^1, ... of the steps so far, normalised: the first step counts whole.
    share = (1 - decay) / (1 - jnp.asarray(decay, float) ** steps.astype(float))

    def mix(mean, new):
        new = jnp.asarray(new)
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        wide = mean.astype(_tree.wide_dtype(mean.dtype))
        return (wide + share.astype(wide.dtype) * (new.astype(wide.dtype) - wide)).astype(mean.dtype)

    averaged = None if state.aux is None else jax.tree.map(mix, state.aux, aux)
    return Average(steps, jax.tree.map(mix, state.params, params), averaged)


def _keep_counts(old: Any, new: Any, moves_on: Bool[Array, ""]) -> Any:
    """`new`, with the counts of `old` unless the optimizer makes its step."""

    def has_count(node):
        return isinstance(node, tuple) and "count" in getattr(node, "_fields", ())

    def choose(old, new):
        if not has_count(new):
            return new
        others = {
            name: _keep_counts(getattr(old, name), getattr(new, name), moves_on)
            for name in new._fields
            if name != "count"
        }
        return new._replace(count=jnp.where(moves_on, new.count, old.count), **others)

    return jax.tree.map(choose, old, new, is_leaf=has_count)
