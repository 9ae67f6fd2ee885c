"""Schedules that the papers define, as functions of the 0-based step."""

import operator
from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from noisy_optax._checks import check_range


def saner_scale(target: float = 0.5, epochs: int = 50, *, steps_per_epoch: int) -> optax.Schedule:
    r"""SANER's scale of Group B: falls from 1 to `target`, a step down at the start of each epoch.

    $$\alpha(e) = 1 - (1 - \text{target}) \min(e, k) / k$$

    where $e$ is the 1-based epoch and $k$ the number of epochs. The first epoch is already below 1.

    Args:
      target: >= 0; 0.5 in the paper.
      epochs: > 0; 50 in the paper.
      steps_per_epoch: > 0.

    Raises:
      ValueError: an argument is out of range.

    References:
      Luong, Nguyen, Tran, Tran, Understanding SAM's Robustness to Noisy Labels through Gradient
      Down-weighting, AISTATS 2026, arXiv 2411.17132.

    >>> import noisy_optax as nox
    >>> scale = nox.schedules.saner_scale(target=0.5, epochs=5, steps_per_epoch=100)
    >>> [round(float(scale(step)), 3) for step in (0, 99, 100, 400, 10_000)]
    [0.9, 0.9, 0.8, 0.5, 0.5]
    """
    check_range("target", target, at_least=0.0)
    check_range("epochs", epochs, above=0)
    check_range("steps_per_epoch", steps_per_epoch, above=0)

    def schedule(count):
        epoch = jnp.asarray(jnp.minimum(count // steps_per_epoch + 1, epochs), dtype=float)
        return 1.0 - (1.0 - target) * epoch / epochs

    return schedule


def every(calls: int, schedule: optax.Schedule) -> optax.Schedule:
    """A schedule read at every `calls`-th call, for a loop that accumulates gradients by hand.

    Under `optax.MultiSteps` a loss is updated k times for each step of the optimizer. With `every(k, ...)`
    its schedule counts the optimizer's steps. `training_step(accumulate=k)` does this by itself.

    Args:
      calls: > 0, calls for one step of the optimizer.
      schedule: a function of the 0-based step.

    Raises:
      ValueError: calls is out of range.

    >>> import optax, noisy_optax as nox
    >>> learning_rate = optax.linear_schedule(0.1, 0.0, 10)
    >>> loss = nox.ogc.ogc_loss(learning_rate=nox.schedules.every(4, learning_rate))
    """
    check_range("calls", calls, above=0)
    return lambda count: schedule(count // calls)


Curve = Literal["linear", "cosine"]


def dal_q(
    total_epochs: int,
    steps_per_epoch: int,
    *,
    q_start: float = 0.6,
    q_end: float = 1.5,
    curve: Curve = "linear",
) -> optax.Schedule:
    r"""DAL's exponent q: grows from `q_start` towards `q_end`, a step up at the start of each epoch.

    $$q(t) = q_s + (q_e - q_s)\,t/T$$

    where $t$ is the 0-based epoch and $T$ the number of epochs. The last epoch is still below `q_end`; later
    epochs have `q_end`. The cosine curve has $T\,(1 - \cos(\pi t/T))/2$ in place of $t$ and is slow at both
    ends.

    Args:
      total_epochs: > 0.
      steps_per_epoch: > 0.
      q_start: > 0; 0.6 in the paper.
      q_end: > q_start; 1.5 in the paper.
      curve: linear as in the paper, or cosine.

    Raises:
      ValueError: an argument is out of range.

    References:
      Li, Xia, Zhu, Liu, Zhang, Liu, Dynamics-Aware Loss for Learning with Label Noise, arXiv 2303.11562.

    >>> import noisy_optax as nox
    >>> q = nox.schedules.dal_q(total_epochs=3, steps_per_epoch=100)
    >>> [round(float(q(step)), 3) for step in (0, 99, 100, 200, 10_000)]
    [0.6, 0.6, 0.9, 1.2, 1.5]
    """
    _check_dal(total_epochs, steps_per_epoch, q_start, q_end, curve)

    epochs = _dal_epochs(total_epochs, curve)
    return _by_epoch(q_start + (q_end - q_start) * (epochs / total_epochs), steps_per_epoch)


def dal_bootstrap(
    total_epochs: int,
    steps_per_epoch: int,
    *,
    q_start: float = 0.6,
    q_end: float = 1.5,
    curve: Curve = "linear",
) -> optax.Schedule:
    r"""DAL's weight of the entropy: 0 until q is 1, then grows towards 1, a step up per epoch.

    $$\lambda(t) = \max\left(0, \frac{t - t_0}{T - t_0}\right), \qquad t_0 = \frac{(1 - q_s)\,T}{q_e - q_s}$$

    where $t$ is that of `dal_q`, so $\lambda = (q - 1)/(q_e - 1)$ once q exceeds 1. It is 0 if `q_end` <= 1.

    Args:
      total_epochs: > 0.
      steps_per_epoch: > 0.
      q_start: of `dal_q`.
      q_end: of `dal_q`.
      curve: of `dal_q`.

    Raises:
      ValueError: an argument is out of range.

    References:
      Li, Xia, Zhu, Liu, Zhang, Liu, Dynamics-Aware Loss for Learning with Label Noise, arXiv 2303.11562.

    >>> import noisy_optax as nox
    >>> weight = nox.schedules.dal_bootstrap(total_epochs=3, steps_per_epoch=100)
    >>> [round(float(weight(step)), 3) for step in (0, 100, 200, 10_000)]
    [0.0, 0.0, 0.4, 1.0]
    """
    _check_dal(total_epochs, steps_per_epoch, q_start, q_end, curve)
    epochs = _dal_epochs(total_epochs, curve)
    if q_end <= 1:
        return _by_epoch(np.zeros_like(epochs), steps_per_epoch)
    crossing = (1 - q_start) * total_epochs / (q_end - q_start)
    return _by_epoch(np.maximum(0.0, (epochs - crossing) / (total_epochs - crossing)), steps_per_epoch)


def _check_dal(total_epochs: int, steps_per_epoch: int, q_start: float, q_end: float, curve: Curve) -> None:
    check_range("total_epochs", total_epochs, above=0)
    check_range("steps_per_epoch", steps_per_epoch, above=0)
    check_range("q_start", q_start, above=0.0)
    check_range("q_end", q_end, above=q_start)
    if curve not in get_args(Curve):
        raise ValueError(f"curve must be one of {', '.join(get_args(Curve))}, got {curve!r}")


def _dal_epochs(total_epochs: int, curve: Curve) -> NDArray[np.float64]:
    """The progress along the curve in each epoch and, as the last entry, after all epochs."""
    epochs = np.arange(operator.index(total_epochs) + 1, dtype=np.float64)
    return epochs if curve == "linear" else total_epochs * (1 - np.cos(np.pi * epochs / total_epochs)) / 2


def _by_epoch(values: NDArray[np.float64], steps_per_epoch: int) -> optax.Schedule:
    """`values[epoch]`, and the last value afterwards. A formula would round differently when compiled."""

    def schedule(count):
        epoch = jnp.minimum(jnp.asarray(count) // steps_per_epoch, len(values) - 1)
        return jnp.asarray(values, dtype=float)[epoch]

    return schedule
