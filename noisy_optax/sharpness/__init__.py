"""Sharpness-aware minimization and SANER: an ascent, a second gradient, a descent, freely combined."""

from noisy_optax.sharpness._ascent import (
    Ascent,
    RunningMeanState,
    asam_ascent,
    friendly_sam_ascent,
    sam_ascent,
    vasso_ascent,
)
from noisy_optax.sharpness._descent import Descent, gsam_descent, sam_descent, saner_descent
from noisy_optax.sharpness._methods import asam, friendly_sam, gsam, sam, saner, vasso
from noisy_optax.sharpness._transformation import SharpnessAwareState, sharpness_aware

__all__ = [
    "Ascent",
    "Descent",
    "RunningMeanState",
    "SharpnessAwareState",
    "asam",
    "asam_ascent",
    "friendly_sam",
    "friendly_sam_ascent",
    "gsam",
    "gsam_descent",
    "sam",
    "sam_ascent",
    "sam_descent",
    "saner",
    "saner_descent",
    "sharpness_aware",
    "vasso",
    "vasso_ascent",
]
