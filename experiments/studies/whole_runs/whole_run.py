"""A whole run as one compiled loop, for a device that should never wait for Python.

It trains and measures as `train` does, to rounding, and keeps nothing but the numbers of each epoch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Num

from experiments.config import Experiment
from experiments.training import epoch_loops, evaluation, metrics, steps
from experiments.training.epoch_loops import Batches
from experiments.training.steps import Inputs, StepParts, TrainState


class Pictures(NamedTuple):
    """What a run is trained and tested on, on the device; vectors are pictures too.

    Attributes:
      given: the labels that are trained on, of each seed.
      clean: the true ones, to measure how many wrong ones are memorised; never trained on.
    """

    train_images: Num[Array | np.ndarray, "n ..."]
    given: Int[Array | np.ndarray, "seeds n"]
    clean: Int[Array | np.ndarray, "n"]
    test_images: Num[Array | np.ndarray, "m ..."]
    test_labels: Int[Array | np.ndarray, "m"]


_AXES: tuple[Any, ...] = (None, 0, None, None, None)
# What of it differs between seeds.
SEED_AXES = Pictures(*_AXES)


class Epoch(NamedTuple):
    """What is measured of an epoch, by the names and rules of `metrics.train_metrics`: floating scalars."""

    train_loss: Any
    train_accuracy: Any
    train_clean_accuracy: Any
    memorised: Any
    test_accuracy: Any


class CompiledRun(NamedTuple):
    """A run that can be carried out at once.

    Attributes:
      run: `run(state, inputs, pictures, order_keys, augment_keys) -> (state, Epoch)`. The state and the keys
        have a leading axis over seeds, as in `train`; so have the fields of the `Epoch`, whose second axis is
        over epochs. The state that is passed in must not be used again.
      bytes: of memory that it needs on the device, its arguments included; None if XLA does not say.
    """

    run: Callable[..., tuple[TrainState, Epoch]]
    bytes: int | None


def compile_run(
    parts: StepParts, experiment: Experiment, *arguments: Any, step_by_step: bool = False
) -> CompiledRun:
    """A run for arguments of the same shapes and types as these.

    `step_by_step`, it is a loop of Python's, compiled on first use: for convolutions on a CPU, which XLA runs
    ten times as slowly inside of a loop as outside of one.
    """
    if step_by_step:
        return CompiledRun(loop_of_steps(parts, experiment), None)
    compiled = one_loop(parts, experiment).lower(*arguments).compile()
    return CompiledRun(compiled, needed_bytes(compiled))


def needed_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Memory that a program needs on the device, its arguments included; None if XLA does not say."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    twice = memory.alias_size_in_bytes
    return memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes - twice


def loop_of_steps(parts: StepParts, experiment: Experiment) -> Callable[..., tuple[TrainState, Epoch]]:
    """The run as a loop of Python's."""
    run_epoch, evaluate = epoch_loops.compile_loops(parts, experiment)

    def run(state, inputs, pictures, order_keys, augment_keys):
        measured = []
        for number in range(experiment.optimization.epochs):
            keys = (
                jax.vmap(jax.random.fold_in, (0, None))(key, number) for key in (order_keys, augment_keys)
            )
            state, batches = run_epoch(state, inputs, pictures.train_images, pictures.given, *keys)
            logits = evaluate(state.params, state.statistics, inputs, pictures.test_images)
            measured.append(_on_host(batches, np.argmax(logits, axis=-1), pictures))
        return state, Epoch(*(np.stack(values, axis=1) for values in zip(*measured, strict=True)))

    return run


def _on_host(batches: Batches, predicted: np.ndarray, pictures: Pictures) -> Epoch:
    predictions, indices = (np.asarray(x).reshape(len(x), -1) for x in (batches.predictions, batches.indices))
    given = np.take_along_axis(np.asarray(pictures.given), indices, axis=1)
    clean = np.asarray(pictures.clean)[indices]
    of_training = metrics.train_metrics(np.asarray(batches.loss), predictions, given, clean)
    return Epoch(**of_training, test_accuracy=metrics.accuracy(predicted, np.asarray(pictures.test_labels)))


def one_loop(parts: StepParts, experiment: Experiment) -> jax.stages.Wrapped:
    """The run as one loop for XLA, to be compiled on first use."""
    optimization = experiment.optimization

    def run(state, inputs, pictures, order_key, augment_key):
        def epoch(state, number):
            keys = (jax.random.fold_in(key, number) for key in (order_key, augment_key))
            images, given = pictures.train_images, pictures.given
            state, batches = epoch_loops.train_epoch(
                parts, optimization.batch_size, state, inputs, images, given, *keys
            )
            return state, measure(parts, state, inputs, pictures, batches)

        return jax.lax.scan(epoch, state, np.arange(optimization.epochs))

    axes = steps.seed_axes(parts)
    over = steps.over_seeds(run, experiment.seeds, (axes, None, SEED_AXES, 0, 0), (axes, 0))
    return jax.jit(over, donate_argnums=0)


def measure(
    parts: StepParts, state: TrainState, inputs: Inputs, pictures: Pictures, batches: Batches
) -> Epoch:
    """The numbers of an epoch of one seed, whose batches were predicted before their own updates."""
    predictions, given, clean = (
        batches.predictions,
        pictures.given[batches.indices],
        pictures.clean[batches.indices],
    )
    wrong = given != clean
    memorised = jnp.sum((predictions == given) & wrong) / jnp.maximum(jnp.sum(wrong), 1)
    tested = predict_in_chunks(parts, state, inputs, jnp.asarray(pictures.test_images))
    return Epoch(
        jnp.mean(batches.loss),
        jnp.mean(predictions == given),
        jnp.mean(predictions == clean),
        memorised,
        jnp.mean(tested == pictures.test_labels),
    )


def predict_in_chunks(parts: StepParts, state: TrainState, inputs: Inputs, images: Array) -> Int[Array, "m"]:
    """The predicted classes of all images, a chunk after the other."""
    chunk = min(evaluation.CHUNK, len(images))
    missing = -len(images) % chunk
    padded = jnp.pad(images, [(0, missing), *[(0, 0)] * (images.ndim - 1)])

    def predict(images):
        prepared = steps.prepare(inputs, images)
        logits = evaluation.predicted_logits(parts, state.params, state.statistics, prepared)
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    chunks = padded.reshape(-1, chunk, *images.shape[1:])
    return jax.lax.map(predict, chunks).reshape(-1)[: len(images)]
