"""Train classifiers on labels you cannot trust: robust losses and gradient transformations for optax."""

from noisy_optax import losses, noise, ogc
from noisy_optax.losses import RobustLoss, scheduled, stateless

__version__ = "0.1.0.dev0"

__all__ = [
    "RobustLoss",
    "losses",
    "noise",
    "ogc",
    "scheduled",
    "stateless",
]
