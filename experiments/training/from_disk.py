"""The loops of `steps` for images that are read from disk while training goes on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.config import Experiment
from experiments.data import stream
from experiments.training import devices, steps
from experiments.training.checkpoints_within_epochs import Done
from experiments.training.steps import Batches, StepParts


def compile_loops(parts: StepParts, experiment: Experiment) -> tuple[Callable, Callable]:
    """As `steps.compile_loops`, for a `Stream` of images and one seed."""
    _, evaluate = steps.compile_loops(parts, experiment)

    def run_evaluation(params, statistics, inputs, images):
        logits = [evaluate(params, statistics, inputs, chunk) for chunk in stream.chunks(images)]
        return np.concatenate(logits, axis=1)

    return compile_streamed_epoch(parts, experiment.optimization.batch_size), run_evaluation


def compile_streamed_epoch(parts: StepParts, batch_size: int) -> Callable:
    """`steps.compile_stepwise_epoch`, whose batches are read in the same order, a few steps ahead.

    `run_epoch` can begin after `first` steps, of which `done` tells, and calls `keep(steps, state, done)`
    after each but the last, where `done()` is what they left behind.
    """

    def one(state, inputs, images, given, batch, key):
        taken = steps.training_batch(parts, inputs, images, given[batch], key)
        return steps.train_step(parts, state, *taken, indices=batch)

    axes = steps.seed_axes(parts)
    over = steps.over_seeds(one, 1, (axes, None, None, 0, 0, 0), (axes, 0))
    step = jax.jit(over, donate_argnums=0, out_shardings=devices.replicated(parts.mesh))

    def draw(order_key, augment_key, examples):
        indices = steps.epoch_order(order_key, examples, batch_size)
        return indices, steps.step_keys(parts, augment_key, len(indices))

    draw = jax.jit(draw, static_argnums=2)

    def run_epoch(
        state, inputs, images, given, order_keys, augment_keys=None, *, first=0, done=None, keep=None
    ):
        augment_key = None if augment_keys is None else augment_keys[0]
        indices, keys = draw(order_keys[0], augment_key, len(images))
        outputs = [tuple(x[:, i] for x in done) for i in range(first)]
        with stream.prefetch(images, np.asarray(indices)[first:]) as batches:
            for i, batch in enumerate(batches, first):
                key = None if keys is None else keys[None, i]
                state, output = step(state, inputs, batch, given, indices[None, i], key)
                outputs.append(output)
                if keep is not None and i + 1 < len(indices):
                    keep(i + 1, state, lambda: _padded(outputs, len(indices)))
        losses, predictions, margins = map(jnp.asarray, _padded(outputs, len(indices)))
        return state, Batches(losses, predictions, margins, indices[None])

    return run_epoch


def _padded(outputs: list[tuple[Array, ...]], length: int) -> Done:
    # On the host: on the device each number of steps would be compiled anew.
    stacked = [np.stack(x, axis=1) for x in zip(*jax.device_get(outputs), strict=True)]
    missing = length - len(outputs)
    return Done(*(np.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2)) for x in stacked))
