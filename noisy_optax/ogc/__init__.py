"""Optimized gradient clipping: a threshold that follows the training, from a mixture fitted to the losses."""

from noisy_optax.ogc._loss import clipped_loss, ogc_loss
from noisy_optax.ogc._mixture import Mixture, fit_mixture
from noisy_optax.ogc._per_example import clipped_grad_fn, ogc
from noisy_optax.ogc._state import GradientNormState, OGCState, clean_probability, replica_axes
from noisy_optax.ogc._threshold import gradient_ratio, solve_norm_threshold, solve_threshold

__all__ = [
    "GradientNormState",
    "Mixture",
    "OGCState",
    "clean_probability",
    "clipped_grad_fn",
    "clipped_loss",
    "fit_mixture",
    "gradient_ratio",
    "ogc",
    "ogc_loss",
    "replica_axes",
    "solve_norm_threshold",
    "solve_threshold",
]
