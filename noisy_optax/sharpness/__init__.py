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
from noisy_optax.sharpness._step import Step, micro_batch_grad_fn, value_and_update
from noisy_optax.sharpness._transformation import SharpnessAwareState, sharpness_aware

__all__ = [
    "Ascent",
    "Descent",
    "RunningMeanState",
    "SharpnessAwareState",
    "Step",
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
    "value_and_update",
    "vasso",
    "vasso_ascent",
]
