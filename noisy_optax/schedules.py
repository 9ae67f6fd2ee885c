"""Schedules that the papers define, as functions of the 0-based step."""

import jax.numpy as jnp
import optax

from noisy_optax._checks import check_range


def saner_scale(target: float = 0.5, epochs: int = 50, *, steps_per_epoch: int) -> optax.Schedule:
    r"""SANER's scale of Group B: falls from 1 to `target`, a step down at the start of each epoch.

    $$\alpha(e) = 1 - (1 - \text{target}) \min(e, k) / k$$

    with $e$ the 1-based epoch and $k$ the number of epochs; so the first epoch is already below 1.

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
