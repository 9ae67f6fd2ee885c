"""What a training loop makes of the device, and how the cost of a step grows with the problem."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import config
from experiments.studies.bench import timing
from experiments.training import epoch_loops, setup, steps, training_data

EXAMPLES = 4096
STEPS_TIMED = 5
BATCH_SIZES, CLASS_COUNTS, WIDTHS = (32, 128, 512), (10, 100, 1000), (64, 256, 1024)


def measure(blocks: int) -> dict[str, Any]:
    """An epoch of ours over one of a plain loop, and milliseconds a step along three axes."""
    return {
        "what": f"{EXAMPLES} images, cross-entropy; examples per second; ratio: our epoch / the plain loop's",
        "epoch_over_plain_loop": {
            name: against_plain_loop(model, blocks) for name, model in (("mlp", "mlp"), ("small CNN", "cnn"))
        },
        "milliseconds_per_step": {
            "batch size": {str(n): step_time(batch_size=n, blocks=blocks) for n in BATCH_SIZES},
            "classes": {str(n): step_time(classes=n, blocks=blocks) for n in CLASS_COUNTS},
            "width": {str(n): step_time(width=n, blocks=blocks) for n in WIDTHS},
        },
    }


def against_plain_loop(model: str, blocks: int) -> dict[str, Any]:
    """An epoch as `train` runs it, over a loop that hands each batch to the device and reads each loss."""
    experiment, parts, inputs, images, given = _problem(model=model)
    keys = training_data.seed_keys(experiment)
    run_epoch, _ = epoch_loops.compile_loops(parts, experiment)
    device_images, device_given = jnp.asarray(images), jnp.asarray(given)
    state = {"ours": setup.initial_state(parts, keys)}
    state["plain"] = steps.first_seed(parts, setup.initial_state(parts, keys))

    def ours():
        state["ours"], batches = run_epoch(state["ours"], inputs, device_images, device_given, keys["order"])
        return batches

    step = jax.jit(functools.partial(_step, parts), donate_argnums=0)
    rng = np.random.default_rng(0)

    def plain():
        order = rng.permutation(len(images))
        size, losses = experiment.optimization.batch_size, []
        for start in range(0, len(images) - size + 1, size):
            batch = order[start : start + size]
            state["plain"], loss = step(state["plain"], inputs, images[batch], given[0, batch])
            losses.append(float(loss))
        return jnp.asarray(losses)

    compiled = [round(timing.first_call(epoch), 2) for epoch in (ours, plain)]
    timed = timing.in_turn(ours, plain, blocks=blocks, calls=1, interleaved=True)
    return {
        **timed,
        "examples_per_second": [round(len(images) / ms * 1e3) for ms in timed["milliseconds"]],
        "first_call_seconds": compiled,
    }


def step_time(*, batch_size: int = 128, classes: int = 10, width: int = 256, blocks: int) -> float:
    """Median milliseconds of a training step of the small network without convolutions."""
    _, parts, inputs, images, given = _problem(batch_size=batch_size, classes=classes, width=width)
    state = steps.first_seed(parts, setup.initial_state(parts, training_data.seed_keys(config.Experiment())))
    step = jax.jit(functools.partial(_step, parts))
    batch = jnp.asarray(images[:batch_size]), jnp.asarray(given[0, :batch_size])
    return timing.median_milliseconds(lambda: step(state, inputs, *batch), blocks=blocks, calls=STEPS_TIMED)


def _step(parts, state, inputs, images, given):
    state, (loss, *_) = steps.train_step(parts, state, steps.prepare(inputs, images), given)
    return state, loss


def _problem(
    *, model: Any = "mlp", batch_size: int = 128, classes: int = 10, width: int = 256
) -> tuple[config.Experiment, steps.StepParts, steps.Inputs, np.ndarray, np.ndarray]:
    experiment = config.Experiment(
        model=config.Model(model=model, width=width), optimization=config.Optimization(batch_size=batch_size)
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (EXAMPLES, 16, 16, 3), np.uint8)
    given = rng.integers(0, classes, (1, EXAMPLES), np.int32)
    parts = setup.assemble("cross_entropy", experiment, images.shape[1:], classes, EXAMPLES)
    return experiment, parts, training_data.measure_inputs(images, scaling="none"), images, given
