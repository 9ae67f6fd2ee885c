"""Train classifiers on labels you cannot trust: robust losses and gradient transformations for optax."""

from noisy_optax import (
    audit,
    diagnostics,
    losses,
    memory,
    noise,
    ogc,
    robust_loss,
    schedules,
    sharpness,
    training,
)
from noisy_optax._recommended import RecommendedState, recommended
from noisy_optax.per_example import check_examples_independent, per_example_gradients, weighted_gradient
from noisy_optax.robust_loss import RobustLoss, scheduled, stateless
from noisy_optax.sharpness import saner
from noisy_optax.training import training_step

__version__ = "0.2.0"

__all__ = [
    "RecommendedState",
    "RobustLoss",
    "audit",
    "check_examples_independent",
    "diagnostics",
    "losses",
    "memory",
    "noise",
    "ogc",
    "per_example_gradients",
    "recommended",
    "robust_loss",
    "saner",
    "scheduled",
    "schedules",
    "sharpness",
    "stateless",
    "training",
    "training_step",
    "weighted_gradient",
]
