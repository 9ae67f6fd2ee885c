"""One training step for any model, loss and optimizer. Most users start here."""

from noisy_optax.training._accumulation import Accumulation
from noisy_optax.training._average import Average
from noisy_optax.training._mean import weighted_mean
from noisy_optax.training._step import StepInfo, StepState, TrainingStep, training_step

__all__ = [
    "Accumulation",
    "Average",
    "StepInfo",
    "StepState",
    "TrainingStep",
    "training_step",
    "weighted_mean",
]
