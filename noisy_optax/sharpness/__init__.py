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
from noisy_optax.sharpness._m_sharpness import m_sharpness, split_chunks
from noisy_optax.sharpness._methods import asam, friendly_sam, gsam, sam, saner, vasso
from noisy_optax.sharpness._micro_batches import micro_batch_grad_fn
from noisy_optax.sharpness._transformation import SharpnessAware, SharpnessAwareState, sharpness_aware

__all__ = [
    "Ascent",
    "Descent",
    "RunningMeanState",
    "SharpnessAware",
    "SharpnessAwareState",
    "asam",
    "asam_ascent",
    "friendly_sam",
    "friendly_sam_ascent",
    "gsam",
    "gsam_descent",
    "m_sharpness",
    "micro_batch_grad_fn",
    "sam",
    "sam_ascent",
    "sam_descent",
    "saner",
    "saner_descent",
    "sharpness_aware",
    "split_chunks",
    "vasso",
    "vasso_ascent",
]
