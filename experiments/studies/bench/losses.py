"""What each loss costs, value and gradient, over cross-entropy."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.methods import LOSSES
from experiments.studies.bench import timing
from noisy_optax import losses
from noisy_optax.robust_loss import Loss

SHAPE, CALLS = (1024, 1000), 5

# Ratios to cross-entropy that a loss of the label's probability alone, and one of all classes, must keep to.
OF_THE_LABEL, OF_ALL_CLASSES = 1.5, 2.5
# An iteration in every step, and a power of every probability: they are reported and have no target.
WITHOUT_TARGET = ("bi_tempered", "cross_entropy_with_sparse_regularization")
# The entropy, which is not computed while its weight is 0.
SETTINGS: dict[str, dict[str, Any]] = {"dynamics_aware": {"bootstrap_weight": 0.5}}


def target(name: str) -> float | None:
    """The ratio that a loss must keep to."""
    if name in WITHOUT_TARGET:
        return None
    known = losses.properties(LOSSES[name])
    return OF_ALL_CLASSES if known and known.of_all_classes else OF_THE_LABEL


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
    measured: dict[str, tuple[float | None, Loss]] = {
        name: (target(name), functools.partial(loss, **SETTINGS.get(name, {})))
        for name, loss in LOSSES.items()
        if name != "cross_entropy"
    }
    biased = losses.with_logit_bias(losses.mean_absolute_error, 3.0)
    measured["mean_absolute_error with logit bias"] = (OF_THE_LABEL, biased)
    ratios = {}
    for name, (limit, loss) in measured.items():
        timed = timing.in_turn(compiled(loss), baseline, blocks=blocks, calls=CALLS, interleaved=True)
        ratios[name] = {"target": limit, **timed}
    return {"what": f"value and gradient on logits {list(SHAPE)}, loss / cross-entropy", "losses": ratios}
