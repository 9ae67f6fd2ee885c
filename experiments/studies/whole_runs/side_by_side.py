"""Runs that differ in their labels and seeds only, trained side by side as one compiled program.

On a GPU, a step of a small network ends before Python asks for the next one. Forty such runs take about as
long as one.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments.config import Experiment
from experiments.studies.whole_runs import whole_run
from experiments.studies.whole_runs.whole_run import Epoch, Pictures
from experiments.training import setup, steps, training_data
from experiments.training.steps import Inputs, StepParts, TrainState


class Program(NamedTuple):
    """A compiled program for so many runs at once.

    Attributes:
      experiment: whose number of seeds is the number of runs.
      initial: `initial(keys) -> TrainState`.
      run: see `whole_run.CompiledRun`.
    """

    parts: StepParts
    experiment: Experiment
    inputs: Inputs
    initial: Callable[..., TrainState]
    run: Callable[..., tuple[TrainState, Epoch]]


class Measured(NamedTuple):
    """What is known of a run after its training.

    Attributes:
      test_accuracy: `[epochs]`.
      memorised: the share of the wrong labels that are predicted, `[epochs]`.
      noticed: what the method says of the training, None if it says nothing.
      seconds: of all runs beside it and of itself, compilation apart.
    """

    test_accuracy: NDArray[np.floating]
    memorised: NDArray[np.floating]
    noticed: str | None
    seconds: float


def runs_at_once(experiment: Experiment, runs: int) -> int:
    """How many of the runs are trained side by side: all, where that is faster than one after the other."""
    convolutional = experiment.model.model != "mlp"
    return runs if jax.default_backend() == "gpu" and not convolutional else 1


def compile_program(
    method: str, experiment: Experiment, pictures: Pictures, num_classes: int, runs: int
) -> Program:
    """Traces and compiles so many runs on pictures of these shapes; safe to call from several threads."""
    experiment = dataclasses.replace(experiment, seeds=runs)
    images = np.asarray(pictures.train_images)
    parts = setup.assemble(method, experiment, images.shape[1:], num_classes, len(images))
    inputs = training_data.measure_inputs(images, experiment.data.scaling)
    keys = training_data.seed_keys(experiment)

    def initial(keys):
        return setup.draw_state(parts, keys)

    state = jax.eval_shape(initial, keys["init"])
    pictures = pictures._replace(given=np.zeros((runs, len(images)), np.int32))
    arguments = state, inputs, pictures, keys["order"], keys["augment"]
    # XLA runs convolutions on a CPU ten times as slowly inside of a loop.
    step_by_step = parts.network.convolutional and jax.default_backend() == "cpu"
    compiled = whole_run.compile_run(parts, experiment, *arguments, step_by_step=step_by_step)
    return Program(parts, experiment, inputs, jax.jit(initial).lower(keys["init"]).compile(), compiled.run)


def train(program: Program, pictures: Pictures, seeds: Sequence[int]) -> list[Measured]:
    """Trains each run on its given labels with its seed, from which it draws what `train` draws."""
    parts = program.parts
    each = [
        training_data.seed_keys(dataclasses.replace(program.experiment, seeds=1, first_seed=seed))
        for seed in seeds
    ]
    keys = {name: jnp.concatenate([of_seed[name] for of_seed in each]) for name in each[0]}
    images = np.asarray(pictures.train_images)
    state = setup.fit_network(parts, program.initial(keys["init"]), images, program.inputs)
    on_device = jax.tree.map(jnp.asarray, pictures)
    started = time.perf_counter()
    state, epochs = program.run(state, program.inputs, on_device, keys["order"], keys["augment"])
    epochs = jax.device_get(epochs)
    seconds = time.perf_counter() - started
    said: list[Any] = [None] * len(seeds)
    if parts.method.noticed is not None:
        said = [parts.method.noticed(one.loss) for one in steps.split_seeds(parts, state, len(seeds))]
    return [
        Measured(epochs.test_accuracy[i], epochs.memorised[i], said[i], seconds) for i in range(len(seeds))
    ]
