"""Robust losses: `(logits, labels) -> one value per example`. Losses with a state are a `RobustLoss`.

`weighted_sum` combines losses. To weight classes or examples, multiply the values:
`class_weights[labels] * loss(logits, labels)`. A label out of range still gives NaN.
"""

from noisy_optax.losses._asymmetric import (
    asymmetric_exponential,
    asymmetric_generalized_cross_entropy,
    asymmetric_norm,
    asymmetric_unhinged,
)
from noisy_optax.losses._bi_tempered import bi_tempered
from noisy_optax.losses._bounded import bounded_cross_entropy
from noisy_optax.losses._clipped import clip_slope, phuber_cross_entropy, phuber_generalized_cross_entropy
from noisy_optax.losses._combined import nce_agce, nce_nnce, nce_rce, symmetric_cross_entropy, weighted_sum
from noisy_optax.losses._cross_entropy import cross_entropy
from noisy_optax.losses._dynamics_aware import dal, dynamics_aware
from noisy_optax.losses._eps_softmax import eps_softmax_cross_entropy
from noisy_optax.losses._focal import focal
from noisy_optax.losses._generalized_cross_entropy import generalized_cross_entropy, mean_absolute_error
from noisy_optax.losses._jensen_shannon import jensen_shannon
from noisy_optax.losses._label import label_log_odds, label_log_probability
from noisy_optax.losses._linear import reverse_cross_entropy, unhinged
from noisy_optax.losses._logit_bias import (
    BOUNDED_CROSS_ENTROPY_TARGET,
    MEAN_ABSOLUTE_ERROR_TARGET,
    logit_bias,
    with_logit_bias,
)
from noisy_optax.losses._logit_norm import (
    cross_entropy_with_sparse_regularization,
    logit_clip_cross_entropy,
    max_logit_norm,
    sparsity,
    with_logit_clip,
)
from noisy_optax.losses._normalized import (
    normalized_cross_entropy,
    normalized_focal,
    normalized_negative_cross_entropy,
    normalized_negative_focal,
)
from noisy_optax.losses._of_probability import of_probability
from noisy_optax.losses._properties import Properties, properties
from noisy_optax.losses._relative_generalized_cross_entropy import relative_generalized_cross_entropy
from noisy_optax.losses._squared_error import mean_squared_error
from noisy_optax.losses._taylor_cross_entropy import taylor_cross_entropy

__all__ = [
    "BOUNDED_CROSS_ENTROPY_TARGET",
    "MEAN_ABSOLUTE_ERROR_TARGET",
    "Properties",
    "asymmetric_exponential",
    "asymmetric_generalized_cross_entropy",
    "asymmetric_norm",
    "asymmetric_unhinged",
    "bi_tempered",
    "bounded_cross_entropy",
    "clip_slope",
    "cross_entropy",
    "cross_entropy_with_sparse_regularization",
    "dal",
    "dynamics_aware",
    "eps_softmax_cross_entropy",
    "focal",
    "generalized_cross_entropy",
    "jensen_shannon",
    "label_log_odds",
    "label_log_probability",
    "logit_bias",
    "logit_clip_cross_entropy",
    "max_logit_norm",
    "mean_absolute_error",
    "mean_squared_error",
    "nce_agce",
    "nce_nnce",
    "nce_rce",
    "normalized_cross_entropy",
    "normalized_focal",
    "normalized_negative_cross_entropy",
    "normalized_negative_focal",
    "of_probability",
    "phuber_cross_entropy",
    "phuber_generalized_cross_entropy",
    "properties",
    "relative_generalized_cross_entropy",
    "reverse_cross_entropy",
    "sparsity",
    "symmetric_cross_entropy",
    "taylor_cross_entropy",
    "unhinged",
    "weighted_sum",
    "with_logit_bias",
    "with_logit_clip",
]
