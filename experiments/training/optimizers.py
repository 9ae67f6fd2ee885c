"""Optimizers and learning-rate schedules."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.terminal import UserError, check_range


@dataclasses.dataclass(frozen=True)
class Optimization:
    """The optimizer and its steps."""

    epochs: int = 100
    """Passes over the training examples."""
    batch_size: int = 64
    """Examples per step; a smaller last batch is dropped."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """`sgd` has momentum; `adamw` wants a --learning-rate near 0.001."""
    learning_rate: float = 0.1
    """The rate at the start, or after the warm-up."""
    learning_rate_schedule: Literal["cosine", "step", "constant", "triangle"] = "cosine"
    """From epoch to epoch, `cosine` falls to 0, and `step` multiplies by --learning-rate-factor after the
    epochs --learning-rate-steps. From batch to batch, `triangle` falls to 0 evenly."""
    learning_rate_steps: tuple[int, ...] = ()
    """Epochs after which the step schedule lowers the rate, e.g. 40 80."""
    learning_rate_factor: float = 0.1
    """What the step schedule multiplies by."""
    warmup_epochs: int = 0
    """Epochs in which the rate first rises, from batch to batch."""
    momentum: float = 0.9
    """The momentum of sgd, or adamw's first decay."""
    nesterov: bool = False
    """Nesterov's form of the momentum."""
    weight_decay: float = 5e-4
    """Added to the gradient by sgd, to the step by adamw."""
    weight_decay_on: Literal["all", "kernels"] = "all"
    """`all` parameters, or `kernels`: no biases, no norms."""
    l1_decay: float = 0.0
    """Weight of the parameters' absolute values, whose slope joins the gradient before it is clipped."""
    gradient_norm_clip: float | None = 5.0
    """Largest global norm of a step's gradient; None for no limit."""
    perturbed_statistics: bool = False
    """With a sharpness-aware method and --norm batch, keep the statistics of the perturbed pass, as SANER's
    published code does."""


def check(optimization: Optimization) -> None:
    """Raises UserError for values that no single flag's type can rule out."""
    infinity = float("inf")
    check_range("--epochs", optimization.epochs, 1)
    check_range("--batch-size", optimization.batch_size, 1)
    check_range("--learning-rate", optimization.learning_rate, 0, exclude=(0, infinity))
    _check_schedule(optimization)
    check_range("--momentum", optimization.momentum, 0, 1, exclude=(1,))
    check_range("--weight-decay", optimization.weight_decay, 0, exclude=(infinity,))
    check_range("--l1-decay", optimization.l1_decay, 0, exclude=(infinity,))
    if optimization.gradient_norm_clip is not None:
        check_range("--gradient-norm-clip", optimization.gradient_norm_clip, 0, exclude=(0, infinity))


def _check_schedule(optimization: Optimization) -> None:
    steps, schedule = optimization.learning_rate_steps, optimization.learning_rate_schedule
    if schedule == "step" and not steps:
        raise UserError("--learning-rate-schedule step needs --learning-rate-steps, e.g. 40 80")
    if schedule != "step" and steps:
        raise UserError(
            f"--learning-rate-steps has no effect with --learning-rate-schedule {schedule}; choose step "
            f"or give no steps"
        )
    # Steps after the last epoch never come: a preset, say, may be tried for an epoch or two.
    if list(steps) != sorted({step for step in steps if step > 0}):
        raise UserError(f"--learning-rate-steps must rise and be positive, got {' '.join(map(str, steps))}")
    check_range("--learning-rate-factor", optimization.learning_rate_factor, 0, 1, exclude=(0,))
    check_range("--warmup-epochs", optimization.warmup_epochs, 0, optimization.epochs - 1)


def learning_rate(optimization: Optimization, steps_per_epoch: int) -> optax.Schedule:
    """The learning rate of each step."""
    if optimization.learning_rate_schedule == "triangle":
        return _triangle(optimization, steps_per_epoch)
    by_epoch, warmup = _by_epoch(optimization), optimization.warmup_epochs * steps_per_epoch

    def of_step(step):
        rate = by_epoch(jnp.asarray(step // steps_per_epoch, jnp.float32))
        if not warmup:
            return rate
        rising = optimization.learning_rate * jnp.asarray(step + 1, jnp.float32) / warmup
        return jnp.where(step < warmup, rising, rate)

    return of_step


def _triangle(optimization: Optimization, steps_per_epoch: int) -> optax.Schedule:
    """Rises in equal steps to the largest rate, which it has once, and would be 0 one step after the last."""
    rising, total = (epochs * steps_per_epoch for epochs in (optimization.warmup_epochs, optimization.epochs))

    def of_step(step):
        step = jnp.asarray(step, jnp.float32)
        falling = (total - step) / (total - max(rising - 1, 0))
        return optimization.learning_rate * jnp.minimum((step + 1) / max(rising, 1), falling)

    return of_step


def _by_epoch(optimization: Optimization) -> optax.Schedule:
    rate, warmup = optimization.learning_rate, optimization.warmup_epochs
    match optimization.learning_rate_schedule:
        case "cosine":
            cosine = optax.cosine_decay_schedule(rate, optimization.epochs - warmup)
            return cosine if not warmup else lambda epoch: cosine(epoch - warmup)
        case "step":
            milestones = np.asarray(optimization.learning_rate_steps, np.float32)
            rates = jnp.asarray(rate * optimization.learning_rate_factor ** np.arange(len(milestones) + 1))
            return lambda epoch: rates[jnp.sum(epoch >= milestones)]
    return optax.constant_schedule(rate)


def build(optimization: Optimization, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer with its weight decay."""
    momentum, nesterov = optimization.momentum, optimization.nesterov
    mask = _kernels if optimization.weight_decay_on == "kernels" else None
    if optimization.optimizer == "adamw":
        return optax.adamw(
            learning_rate, b1=momentum, weight_decay=optimization.weight_decay, mask=mask, nesterov=nesterov
        )
    return optax.chain(
        optax.add_decayed_weights(optimization.weight_decay, mask),
        optax.sgd(learning_rate, momentum, nesterov),
    )


def l1_decay(weight: float) -> optax.GradientTransformation:
    """Adds the slope of `weight` times the sum of all parameters' absolute values; 0 has the slope 0."""
    if not weight:
        return optax.identity()

    def add(gradient, params):
        return jax.tree.map(lambda g, w: g + weight * jnp.sign(w), gradient, params)

    return optax.stateless(add)


def _kernels(params):
    # Biases, and the scales of norms, are vectors; nothing else is.
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
