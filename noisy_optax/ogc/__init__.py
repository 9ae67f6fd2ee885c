"""Optimized gradient clipping: a threshold that follows the training, from a mixture fitted to the losses."""

from noisy_optax.ogc._loss import OGCState, clean_probability, ogc_loss, replica_axes
from noisy_optax.ogc._mixture import Mixture, fit_mixture
from noisy_optax.ogc._threshold import gradient_ratio, solve_threshold

__all__ = [
    "Mixture",
    "OGCState",
    "clean_probability",
    "fit_mixture",
    "gradient_ratio",
    "ogc_loss",
    "replica_axes",
    "solve_threshold",
]
