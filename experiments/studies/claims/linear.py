"""Two-class linear models: what the claims on the partially Huberised loss share."""

import functools
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from noisy_optax import losses
from noisy_optax.robust_loss import Loss

# What a reproduction of the paper measured.
PUBLISHED = Path(__file__).parents[2] / "results" / "claims" / "published_phuber.json"


def logits(scores: Float[Array, "n"]) -> Float[Array, "n 2"]:
    """The labels of class 0 and class 1; a positive score means class 1."""
    return jnp.stack([jnp.zeros_like(scores), scores], axis=-1)


def huberised(logits: Float[Array, "n 2"], labels: Int[Array, "n"], *, tau: float) -> Float[Array, "n"]:
    """Logistic loss with its slope in the score, rather than in the probability, clipped at tau: unbounded.

    It is what clipping the gradient of each example minimises, where all inputs have length 1.
    """
    score = losses.label_log_odds(logits, labels)
    # There the logistic loss has the slope -tau.
    start = float(np.log1p(-tau) - np.log(tau))
    line = np.log1p(np.exp(-start)) - tau * (score - start)
    return jnp.where(score <= start, line, losses.cross_entropy(logits, labels))


def compared(huber_tau: float, phuber_tau: float) -> dict[str, Loss]:
    """The three losses of the paper's figures."""
    return {
        "logistic": losses.cross_entropy,
        "huberised": functools.partial(huberised, tau=huber_tau),
        "partially_huberised": functools.partial(losses.phuber_cross_entropy, tau=phuber_tau),
    }
