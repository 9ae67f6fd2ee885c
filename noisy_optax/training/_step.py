"""`training_step`: two passes at most, one step of the optimizer."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.audit import _dynamics
from noisy_optax.robust_loss import Loss, RobustLoss, as_robust_loss
from noisy_optax.sharpness._transformation import SharpnessAware
from noisy_optax.training import _accumulation, _average
from noisy_optax.training._mean import total_weight, weighted_mean


class StepInfo(NamedTuple):
    """The measurements of one step.

    Attributes:
      loss: floating scalar, the mean loss at the parameters.
      aux: the auxiliary result of `forward` at the parameters, None without `has_aux`. A loop with batch
        statistics keeps these, or those of the perturbed pass.
      perturbed_loss: floating scalar, the mean loss at the perturbed parameters, None without `sharpness`.
      perturbed_aux: the auxiliary result of `forward` at the perturbed parameters, None without `sharpness`.
    """

    loss: Float[Array, ""]
    aux: Any
    perturbed_loss: Float[Array, ""] | None
    perturbed_aux: Any


class StepState(NamedTuple):
    """State of `training_step`. A part that is not used is `optax.EmptyState()`.

    Attributes:
      optimizer: the state of the optimizer.
      loss: the state of the loss.
      sharpness: the state of `sharpness`.
      accumulation: an `Accumulation`, with `accumulate` above 1.
      average: an `Average`, with `average`.
      audit: a `nox.audit.Dynamics`, with `audit`.
    """

    optimizer: optax.OptState
    loss: Any
    sharpness: Any
    accumulation: Any
    average: Any
    audit: Any


class TrainingStep(NamedTuple):
    """What `training_step` returns.

    Attributes:
      init: `init(params, aux=None) -> StepState`. Pass `aux`, with the structure of the auxiliary result of
        `forward`, to average that too.
      update: `update(params, state, inputs, labels, *, where=None, weights=None, indices=None) ->
        (params, state, info)`, with a `StepInfo`. It is pure; compile it with `jax.jit`.
      averaged: `averaged(state)`, the averaged parameters. If `init` was given `aux`, a pair of the averaged
        parameters and the averaged aux.
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
    audit: int | None = None,
) -> TrainingStep:
    r"""A training step for any model, loss and optimizer, to be compiled with `jax.jit`.

    The objective is the weighted mean of the losses,

    $$L(\theta) = \frac{\sum_i w_i \ell_i}{\sum_i w_i}$$

    over the examples that `where` keeps. It is 0 if there are none. The state of the loss advances once per
    call. With `sharpness`, there is a second pass at perturbed parameters, which does not change the state of
    the loss. Then the updates of the optimizer are applied. Parameters and state may be donated, and batches
    may be split over devices.

    With `accumulate` = k, k calls make one step of the optimizer, with the weighted mean of their gradients.
    The `count` of every state, at which schedules are read, advances once per k calls. Queues and memories
    are updated in every call. Sharpness-aware minimization perturbs the parameters for each micro-batch along
    its gradient, which is known as m-sharpness. The optimizer gets the loss of the last of the k calls as
    `value`.

    With `average` = d, the state keeps an average of the parameters after each step of the optimizer. The
    weights fall by the factor d per step and are normalised from the first step on.

    With `audit` = n, every call records how the predictions of the clean pass compare with the labels, in
    `state.audit`. Call `update` with `indices`. After each epoch, call `nox.audit.end_epoch`:
    `state = state._replace(audit=nox.audit.end_epoch(state.audit))`. At the end, `nox.audit.judge` finds the
    labels that are probably wrong.

    Args:
      forward: `forward(params, inputs) -> logits`, floating `[..., C]`, or `(logits, aux)` with `has_aux`.
        `inputs` is any pytree: images, batch statistics, a key for dropout.
      loss: a plain loss or a `RobustLoss`, class axis last.
      optimizer: any optax transformation that needs no second gradient. It gets `value`, the loss.
      sharpness: `nox.saner(...)` or another of `nox.sharpness`.
      has_aux: whether `forward` returns a pair.
      accumulate: k >= 1, calls for one step of the optimizer.
      average: d in [0, 1), e.g. 0.999, or None for no average.
      audit: n > 0, the number of examples in the data set, or None for no audit.

    Returns:
      A `TrainingStep`. In its `update`, `labels` is integer `[...]`. `where` (boolean), `weights` (floating,
      not negative) and `indices` (integer) are shaped like the labels.

    Raises:
      TypeError: optimizer or sharpness is not such a transformation.
      ValueError: accumulate, average or audit is out of range; from `update`, shapes do not match.

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
    if audit is not None:
        check_range("audit", audit, above=0)
    parts = _Parts(
        forward if has_aux else lambda params, inputs: (forward(params, inputs), None),
        as_robust_loss(loss),
        optax.with_extra_args_support(optimizer),
        sharpness,
        accumulate,
        average,
        audit,
    )
    return TrainingStep(
        init=functools.partial(_init, parts),
        update=functools.partial(_update, parts),
        averaged=functools.partial(_averaged, parts),
    )


class _Parts(NamedTuple):
    """The arguments of `training_step`; `forward` returns a pair."""

    forward: Callable[[Any, Any], tuple[Array, Any]]
    loss: RobustLoss
    optimizer: optax.GradientTransformationExtraArgs
    sharpness: SharpnessAware | None
    accumulate: int
    average: float | None
    audit: int | None


def _init(parts: _Parts, params: Any, aux: Any = None) -> StepState:
    unused = optax.EmptyState()
    return StepState(
        parts.optimizer.init(params),
        parts.loss.init(),
        unused if parts.sharpness is None else parts.sharpness.init(params),
        unused if parts.accumulate == 1 else _accumulation.nothing(params),
        unused if parts.average is None else _average.nothing(params, aux),
        unused if parts.audit is None else _dynamics.init(parts.audit),
    )


def _update(
    parts: _Parts,
    params: Any,
    state: StepState,
    inputs: Any,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    indices: ArrayLike | None = None,
) -> tuple[Any, StepState, StepInfo]:
    arguments = params, state, inputs, labels, where, weights, indices
    gradient, loss_state, sharpness_state, recorded, info = _direction(parts, *arguments)
    state = state._replace(audit=recorded)
    if parts.accumulate == 1:
        state = state._replace(loss=loss_state, sharpness=sharpness_state)
        return *_move(parts, gradient, params, state, info), info
    accumulated = _accumulation.add(state.accumulation, gradient, total_weight(labels, weights, where))
    is_last = accumulated.calls == parts.accumulate
    state = state._replace(
        loss=_accumulation.keep_counts(state.loss, loss_state, is_last),
        sharpness=_accumulation.keep_counts(state.sharpness, sharpness_state, is_last),
        accumulation=accumulated,
    )

    def make_step(params, state):
        mean = optax.tree.cast_like(state.accumulation.mean, gradient)
        params, state = _move(parts, mean, params, state, info)
        return params, state._replace(accumulation=optax.tree.zeros_like(state.accumulation))

    params, state = jax.lax.cond(is_last, make_step, lambda *same: same, params, state)
    return params, state, info


def _direction(
    parts: _Parts,
    params: Any,
    state: StepState,
    inputs: Any,
    labels: ArrayLike,
    where: ArrayLike | None,
    weights: ArrayLike | None,
    indices: ArrayLike | None,
) -> tuple[Any, Any, Any, Any, StepInfo]:
    """The direction for the optimizer, and the new states of loss, sharpness and audit."""
    forward, loss, sharpness = parts.forward, parts.loss, parts.sharpness
    batch = {"where": where, "indices": indices}

    def at_params(params):
        logits, aux = forward(params, inputs)
        losses, loss_state = loss.apply(state.loss, logits, labels, **batch)
        recorded = state.audit
        if parts.audit is not None:
            recorded = _dynamics.record(recorded, indices, logits, labels, where=where)
        return weighted_mean(losses, weights, where), (aux, loss_state, recorded)

    (value, (aux, loss_state, recorded)), gradient = jax.value_and_grad(at_params, has_aux=True)(params)
    if sharpness is None:
        return gradient, loss_state, state.sharpness, recorded, StepInfo(value, aux, None, None)

    def at_perturbed(perturbed):
        logits, aux = forward(perturbed, inputs)
        return weighted_mean(loss.value(loss_state, logits, labels, **batch), weights, where), aux

    perturbed, sharpness_state = sharpness.perturb(gradient, state.sharpness, params)
    (second_value, second_aux), second = jax.value_and_grad(at_perturbed, has_aux=True)(perturbed)
    combined, sharpness_state = sharpness.combine(gradient, second, sharpness_state, params)
    info = StepInfo(value, aux, second_value, second_aux)
    return combined, loss_state, sharpness_state, recorded, info


def _move(
    parts: _Parts, gradient: Any, params: Any, state: StepState, info: StepInfo
) -> tuple[Any, StepState]:
    """One step of the optimizer."""
    updates, optimizer_state = parts.optimizer.update(gradient, state.optimizer, params, value=info.loss)
    params = optax.apply_updates(params, updates)
    averages = state.average
    if parts.average is not None:
        averages = _average.add(averages, parts.average, params, info.aux)
    return params, state._replace(optimizer=optimizer_state, average=averages)


def _averaged(parts: _Parts, state: StepState) -> Any:
    if parts.average is None:
        raise ValueError("there is no average: pass average=0.999, for example, to training_step")
    return state.average.params if state.average.aux is None else state.average[1:]


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
