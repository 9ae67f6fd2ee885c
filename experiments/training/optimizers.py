"""Optimizers and learning-rate schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.config import Optimization


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
