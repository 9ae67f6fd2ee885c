"""An epoch of training steps: as one compiled loop, or a step at a time with images from memory or disk."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from experiments.config import Experiment
from experiments.data import stream
from experiments.data.dataset import Images, Stream
from experiments.training import devices
from experiments.training.checkpoints_within_epochs import Done
from experiments.training.evaluation import compile_evaluation
from experiments.training.steps import (
    Inputs,
    StepParts,
    TrainState,
    over_seeds,
    seed_axes,
    train_step,
    training_batch,
)


class Batches(NamedTuple):
    """What a training epoch leaves behind: of each step its loss, of each example what it was before it.

    Attributes:
      indices: which examples they are.
    """

    loss: Float[Array | np.ndarray, "steps"]
    predictions: Int[Array | np.ndarray, "steps batch"]
    indices: Int[Array, "steps batch"]


class Drawn(NamedTuple):
    """What is drawn for an epoch before its first step.

    Attributes:
      indices: the examples of each step.
      keys: what each step augments with, or None where nothing is augmented.
    """

    indices: Int[Array, "steps batch"]
    keys: PRNGKeyArray | None


def compile_loops(parts: StepParts, experiment: Experiment) -> tuple[Callable, Callable]:
    """An epoch of training and an evaluation, over all seeds at once, compiled on first use."""
    # XLA runs a convolution inside of a loop on a CPU ten times as slowly as outside of one.
    slow_in_a_loop = parts.network.convolutional and jax.default_backend() == "cpu"
    stepwise = experiment.data.stream or slow_in_a_loop
    compile_epoch = compile_stepwise_epoch if stepwise else compile_epoch_loop
    run_epoch = compile_epoch(parts, experiment.optimization.batch_size, experiment.seeds)
    return run_epoch, compile_evaluation(parts, experiment.seeds)


def draw_epoch(
    parts: StepParts,
    batch_size: int,
    examples: int,
    order_key: PRNGKeyArray,
    augment_key: PRNGKeyArray | None,
) -> Drawn:
    """A new random order of the examples, without an incomplete last batch, and a key for each step."""
    steps = examples // batch_size
    order = jax.random.permutation(order_key, examples)[: steps * batch_size].reshape(steps, batch_size)
    if parts.augment is None or augment_key is None:
        return Drawn(order, None)
    return Drawn(order, jax.vmap(jax.random.fold_in, (None, 0))(augment_key, jnp.arange(steps)))


def drawn_step(
    parts: StepParts, state: TrainState, inputs: Inputs, images: Array, given: Int[Array, "n"], drawn: Drawn
) -> tuple[TrainState, tuple[Array, Array]]:
    """A step of one seed on the raw images that `drawn` has for it, which are a batch of all examples."""
    taken = training_batch(parts, inputs, images, given[drawn.indices], drawn.keys)
    return train_step(parts, state, *taken, indices=drawn.indices)


def train_epoch(
    parts: StepParts,
    batch_size: int,
    state: TrainState,
    inputs: Inputs,
    images: Array,
    given: Int[Array, "n"],
    order_key: PRNGKeyArray,
    augment_key: PRNGKeyArray | None,
) -> tuple[TrainState, Batches]:
    """An epoch of one seed as a loop over steps, to be compiled."""
    drawn = draw_epoch(parts, batch_size, len(images), order_key, augment_key)

    def step(state, of_step):
        return drawn_step(parts, state, inputs, images[of_step.indices], given, of_step)

    state, (losses, predictions) = jax.lax.scan(step, state, drawn)
    return state, Batches(losses, predictions, drawn.indices)


def compile_epoch_loop(parts: StepParts, batch_size: int, num_seeds: int) -> jax.stages.Wrapped:
    """An epoch as one compiled loop over steps.

    Its signature is `run_epoch(state, inputs, images, given, order_keys, augment_keys) -> (state, Batches)`;
    augment_keys may be left out where nothing is augmented.
    """

    def of_one_seed(*args):
        return train_epoch(parts, batch_size, *args)

    axes = seed_axes(parts)
    over = over_seeds(of_one_seed, num_seeds, (axes, None, None, 0, 0, 0), (axes, 0))

    def run_epoch(state, inputs, images, given, order_keys, augment_keys=None):
        return over(state, inputs, images, given, order_keys, augment_keys)

    return jax.jit(run_epoch, donate_argnums=0, out_shardings=devices.replicated(parts.mesh))


def compile_stepwise_epoch(parts: StepParts, batch_size: int, num_seeds: int) -> Callable:
    """The same as `compile_epoch_loop`, a step at a time; the images may be a `Stream` if there is one seed.

    `run_epoch` can begin after `first` steps, of which `done` tells, and calls `keep(steps, state, done)`
    after each but the last, where `done()` is what they left behind.
    """

    def draw(order_keys, augment_keys, examples):
        of_one_seed = functools.partial(draw_epoch, parts, batch_size, examples)
        return over_seeds(of_one_seed, num_seeds, (0, 0))(order_keys, augment_keys)

    def step(state, inputs, images, given, drawn, i):
        def of_one_seed(state, images, given, drawn):
            of_step = jax.tree.map(lambda x: x[i], drawn)
            return drawn_step(parts, state, inputs, images, given, of_step)

        axes = seed_axes(parts)
        return over_seeds(of_one_seed, num_seeds, (axes, 0, 0, 0), (axes, 0))(state, images, given, drawn)

    draw = jax.jit(draw, static_argnums=2)
    step = jax.jit(step, donate_argnums=0, out_shardings=devices.replicated(parts.mesh))
    return functools.partial(run_stepwise, draw, step)


def run_stepwise(
    draw: Callable,
    step: Callable,
    state: TrainState,
    inputs: Inputs,
    images: Array | Stream,
    given: Int[Array, "seeds n"],
    order_keys: PRNGKeyArray,
    augment_keys: PRNGKeyArray | None = None,
    *,
    first: int = 0,
    done: Done | None = None,
    keep: Callable | None = None,
) -> tuple[TrainState, Batches]:
    """The function that `compile_stepwise_epoch` returns, of what that has compiled."""
    drawn = draw(order_keys, augment_keys, len(images))
    steps = drawn.indices.shape[1]
    outputs: list[tuple[Array | np.ndarray, ...]]
    outputs = [] if done is None else [tuple(x[:, i] for x in done) for i in range(first)]
    with image_batches(images, drawn.indices, first) as batches:
        for i, batch in enumerate(batches, first):
            state, output = step(state, inputs, batch, given, drawn, i)
            outputs.append(output)
            if keep is not None and i + 1 < steps:
                keep(i + 1, state, lambda: _padded(outputs, steps))
    return state, Batches(*_padded(outputs, steps), drawn.indices)


@contextlib.contextmanager
def image_batches(
    images: Array | Stream, indices: Int[Array, "seeds steps batch"], first: int
) -> Iterator[Iterator[Array | Images]]:
    """Within the `with`, the raw images of each step from `first` on, `[seeds, batch, ...]`.

    They are gathered on the device, or read from disk a few steps ahead.
    """
    if isinstance(images, Stream):
        with stream.prefetch(images, np.asarray(indices[0])[first:]) as batches:
            yield (batch[None] for batch in batches)
    else:
        yield (_gather(images, indices, i) for i in range(first, indices.shape[1]))


@jax.jit
def _gather(images: Array, indices: Int[Array, "seeds steps batch"], step: int) -> Array:
    return images[indices[:, step]]


def _padded(outputs: list[tuple[Array | np.ndarray, ...]], length: int) -> Done:
    # On the host: on the device each number of steps would be compiled anew.
    stacked = [np.stack(x, axis=1) for x in zip(*jax.device_get(outputs), strict=True)]
    missing = length - len(outputs)
    return Done(*(np.pad(x, [(0, 0), (0, missing)] + [(0, 0)] * (x.ndim - 2)) for x in stacked))
