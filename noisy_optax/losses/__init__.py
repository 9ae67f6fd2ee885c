"""Robust losses: `(logits, labels) -> one value per example`, and `RobustLoss` for those with a state."""

from noisy_optax.losses._bounded import bounded_cross_entropy
from noisy_optax.losses._clipped import clip_slope, phuber_cross_entropy, phuber_generalized_cross_entropy
from noisy_optax.losses._cross_entropy import cross_entropy
from noisy_optax.losses._dynamics_aware import dal, dynamics_aware
from noisy_optax.losses._focal import focal
from noisy_optax.losses._generalized_cross_entropy import generalized_cross_entropy, mean_absolute_error
from noisy_optax.losses._label import label_log_odds, label_log_probability
from noisy_optax.losses._logit_bias import (
    BOUNDED_CROSS_ENTROPY_TARGET,
    MEAN_ABSOLUTE_ERROR_TARGET,
    logit_bias,
    with_logit_bias,
)
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
    "BOUNDED_CROSS_ENTROPY_TARGET",
    "MEAN_ABSOLUTE_ERROR_TARGET",
    "Loss",
    "RobustLoss",
    "ScheduledState",
    "StatelessState",
    "bounded_cross_entropy",
    "clip_slope",
    "cross_entropy",
    "dal",
    "dynamics_aware",
    "focal",
    "generalized_cross_entropy",
    "label_log_odds",
    "label_log_probability",
    "logit_bias",
    "mean_absolute_error",
    "of_probability",
    "phuber_cross_entropy",
    "phuber_generalized_cross_entropy",
    "scheduled",
    "stateless",
    "with_logit_bias",
]
