"""Optimized gradient clipping: a threshold that follows the training, from a mixture fitted to the losses."""

from noisy_optax.ogc._clip_by_gradient_norm import clip_by_gradient_norm
from noisy_optax.ogc._clip_by_probability import clip_by_probability, clipped_grad_fn
from noisy_optax.ogc._loss import clipped_loss, ogc_loss
from noisy_optax.ogc._mixture import Mixture, fit_mixture
from noisy_optax.ogc._state import GradientNormState, OGCState, clean_probability, replica_axes
from noisy_optax.ogc._threshold import gradient_ratio, solve_norm_threshold, solve_threshold

__all__ = [
    "GradientNormState",
    "Mixture",
    "OGCState",
    "clean_probability",
    "clip_by_gradient_norm",
    "clip_by_probability",
    "clipped_grad_fn",
    "clipped_loss",
    "fit_mixture",
    "gradient_ratio",
    "ogc_loss",
    "replica_axes",
    "solve_norm_threshold",
    "solve_threshold",
]
