"""Robust losses: `(logits, labels) -> one value per example`, and `RobustLoss` for those with a state."""

from noisy_optax.losses._clipped import clip_slope, phuber_cross_entropy, phuber_generalized_cross_entropy
from noisy_optax.losses._cross_entropy import cross_entropy
from noisy_optax.losses._focal import focal
from noisy_optax.losses._generalized_cross_entropy import generalized_cross_entropy, mean_absolute_error
from noisy_optax.losses._label import label_log_odds, label_log_probability
from noisy_optax.losses._of_probability import of_probability
from noisy_optax.losses._robust_loss import (
    Loss,
    RobustLoss,
    ScheduledState,
    StatelessState,
    scheduled,
    stateless,
)

__all__ = [
    "Loss",
    "RobustLoss",
    "ScheduledState",
    "StatelessState",
    "clip_slope",
    "cross_entropy",
    "focal",
    "generalized_cross_entropy",
    "label_log_odds",
    "label_log_probability",
    "mean_absolute_error",
    "of_probability",
    "phuber_cross_entropy",
    "phuber_generalized_cross_entropy",
    "scheduled",
    "stateless",
]
