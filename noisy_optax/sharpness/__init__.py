"""Sharpness-aware minimization and SANER: any perturbation with any combination of the two gradients."""

from noisy_optax.sharpness._combination import (
    Combination,
    gsam_combination,
    sam_combination,
    saner_combination,
)
from noisy_optax.sharpness._m_sharpness import m_sharpness, split_chunks
from noisy_optax.sharpness._methods import asam, friendly_sam, gsam, sam, saner, vasso
from noisy_optax.sharpness._micro_batches import micro_batch_grad_fn
from noisy_optax.sharpness._perturbation import (
    Perturbation,
    RunningMeanState,
    asam_perturbation,
    friendly_sam_perturbation,
    sam_perturbation,
    vasso_perturbation,
)
from noisy_optax.sharpness._transformation import SharpnessAware, SharpnessAwareState, sharpness_aware

__all__ = [
    "Combination",
    "Perturbation",
    "RunningMeanState",
    "SharpnessAware",
    "SharpnessAwareState",
    "asam",
    "asam_perturbation",
    "friendly_sam",
    "friendly_sam_perturbation",
    "gsam",
    "gsam_combination",
    "m_sharpness",
    "micro_batch_grad_fn",
    "sam",
    "sam_combination",
    "sam_perturbation",
    "saner",
    "saner_combination",
    "sharpness_aware",
    "split_chunks",
    "vasso",
    "vasso_perturbation",
]
