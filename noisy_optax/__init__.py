"""Train classifiers on labels you cannot trust: robust losses and gradient transformations for optax."""

from noisy_optax import diagnostics, losses, noise, ogc, schedules, sharpness
from noisy_optax._recommended import Recommended, recommended
from noisy_optax.losses import RobustLoss, scheduled, stateless
from noisy_optax.per_example import check_examples_independent, per_example_gradients, weighted_gradient
from noisy_optax.sharpness import saner

__version__ = "0.1.0"

__all__ = [
    "Recommended",
    "RobustLoss",
    "check_examples_independent",
    "diagnostics",
    "losses",
    "noise",
    "ogc",
    "per_example_gradients",
    "recommended",
    "saner",
    "scheduled",
    "schedules",
    "sharpness",
    "stateless",
    "weighted_gradient",
]
