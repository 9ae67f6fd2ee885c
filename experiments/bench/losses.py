"""What each loss costs, value and gradient, over cross-entropy."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import timing
from noisy_optax import losses

SHAPE, CALLS = (1024, 1000), 5

OF_THE_LABEL = {
    "mean_absolute_error": losses.mean_absolute_error,
    "generalized_cross_entropy": losses.generalized_cross_entropy,
    "phuber_cross_entropy": losses.phuber_cross_entropy,
    "phuber_generalized_cross_entropy": losses.phuber_generalized_cross_entropy,
    "focal": losses.focal,
    "symmetric_cross_entropy": losses.symmetric_cross_entropy,
    "taylor_cross_entropy": losses.taylor_cross_entropy,
    "jensen_shannon": losses.jensen_shannon,
    "asymmetric_generalized_cross_entropy": losses.asymmetric_generalized_cross_entropy,
    "bounded_cross_entropy": losses.bounded_cross_entropy,
    "mean_absolute_error with logit bias": losses.with_logit_bias(losses.mean_absolute_error, 3.0),
    "eps_softmax_cross_entropy": losses.eps_softmax_cross_entropy,
}
OF_ALL_CLASSES = {
    "dynamics_aware": functools.partial(losses.dynamics_aware, bootstrap_weight=0.5),
    "normalized_cross_entropy": losses.normalized_cross_entropy,
    "normalized_focal": losses.normalized_focal,
    "nce_rce": losses.nce_rce,
    "nce_agce": losses.nce_agce,
    "nce_nnce": losses.nce_nnce,
    "mean_squared_error": losses.mean_squared_error,
    "asymmetric_norm": losses.asymmetric_norm,
    "logit_clip_cross_entropy": losses.logit_clip_cross_entropy,
}
REPORTED = {
    "bi_tempered": losses.bi_tempered,
    "cross_entropy_with_sparse_regularization": losses.cross_entropy_with_sparse_regularization,
}


def measure(blocks: int) -> dict[str, Any]:
    """The ratio of every loss, with its target beside: by what it needs of the other classes."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(3 * rng.normal(size=SHAPE), jnp.float32)
    labels = jnp.asarray(rng.integers(0, SHAPE[1], SHAPE[0]), jnp.int32)

    def compiled(loss):
        run = jax.jit(jax.value_and_grad(lambda z: jnp.sum(loss(z, labels))))
        jax.block_until_ready(run(logits))
        return lambda: run(logits)

    baseline = compiled(losses.cross_entropy)
    ratios = {}
    for target, group in ((1.5, OF_THE_LABEL), (2.5, OF_ALL_CLASSES), (None, REPORTED)):
        for name, loss in group.items():
            timed = timing.in_turn(compiled(loss), baseline, blocks=blocks, calls=CALLS, interleaved=True)
            ratios[name] = {"target": target, **timed}
    return {"what": f"value and gradient on logits {list(SHAPE)}, loss / cross-entropy", "losses": ratios}
