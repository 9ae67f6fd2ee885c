"""The published runs: their network, batches and parts, and a run of ours over them."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisy_optax import schedules, sharpness

with np.load(Path(__file__).parents[1] / "golden" / "saner.npz") as file:
    GOLDEN = {key: file[key] for key in file.files}

NAMES = ("w0", "b0", "w1", "b1")
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4

# Most of the time would go into optimizing code that runs once.
COMPILE_FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Run(NamedTuple):
    perturbation: sharpness.Perturbation
    combination: sharpness.Combination


def alpha():
    return schedules.saner_scale(target=0.5, epochs=5, steps_per_epoch=4)


def runs():
    """Made when asked for: some hold numbers of the precision in force."""
    sam, asam = sharpness.sam_perturbation(0.1), sharpness.asam_perturbation(0.5)
    friendly, vasso = (
        sharpness.friendly_sam_perturbation(0.1, 1.0, 0.9),
        sharpness.vasso_perturbation(0.1, 0.2),
    )
    second, gsam = sharpness.sam_combination(), sharpness.gsam_combination(0.01)
    masked = sharpness.saner_combination(alpha())
    return {
        "sam": Run(sam, second),
        "asam": Run(asam, second),
        "saner": Run(sam, masked),
        "saner_adaptive": Run(asam, masked),
        "fsam": Run(friendly, second),
        "fsaner": Run(friendly, masked),
        "vasso": Run(vasso, second),
        "vassosaner": Run(vasso, masked),
        "gsam": Run(sam, gsam),
        "gsaner": Run(sam, sharpness.saner_combination(alpha(), of=gsam)),
    }


RUNS = ["sam", "asam", "saner", "saner_adaptive", "fsam", "fsaner", "vasso", "vassosaner", "gsam", "gsaner"]


def optimizer(run):
    """The whole recipe of the published runs."""
    return optax.chain(
        sharpness.sharpness_aware(*run) if run else optax.identity(),
        optax.add_decayed_weights(WEIGHT_DECAY),
        optax.sgd(LEARNING_RATE, MOMENTUM),
    )


def initial_params(dtype=float):
    return {name: jnp.asarray(GOLDEN[f"init/{name}"], dtype) for name in NAMES}


def loss(params, x, y):
    hidden = jnp.tanh(jnp.einsum("bi,ij->bj", x, params["w0"]) + params["b0"][None])
    logits = jnp.einsum("bi,ij->bj", hidden, params["w1"]) + params["b1"][None]
    return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(logits, y))


def flat(params):
    return jnp.concatenate([params[name].ravel() for name in NAMES])


def batches(dtype=float):
    return jnp.asarray(GOLDEN["x"], dtype), jnp.asarray(GOLDEN["y"])


def trajectory(transformation):
    """Parameters after each step and the loss before it, as one compiled scan."""

    def step(carry, batch):
        params, state = carry

        def grad_fn(params):
            return jax.grad(loss)(params, *batch)

        value, gradient = jax.value_and_grad(loss)(params, *batch)
        updates, state = transformation.update(gradient, state, params, grad_fn=grad_fn)
        params = optax.apply_updates(params, updates)
        return (params, state), (flat(params), value)

    def run(params):
        return jax.lax.scan(step, (params, transformation.init(params)), batches())[1]

    found = jax.jit(run, compiler_options=COMPILE_FAST)(initial_params())
    return jax.tree.map(np.asarray, found)


def deviation(run, name):
    """Largest relative deviation of a run's parameters from the published ones."""
    params, _ = trajectory(optimizer(run))
    expected = GOLDEN[f"{name}/params"]
    return np.max(np.abs(params[3::4] - expected) / np.maximum(np.abs(expected), 1e-3))
