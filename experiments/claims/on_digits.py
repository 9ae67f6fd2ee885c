"""Training on scikit-learn's digits with wrong labels, an epoch at a time, in memory."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from experiments import config, metrics, steps, train
from experiments.config import Experiment
from experiments.data.dataset import Dataset
from experiments.methods import Method
from experiments.progress import Progress
from experiments.steps import Inputs, Parts, TrainState
from noisy_optax import RobustLoss


class Training(NamedTuple):
    """All that a run needs before its first epoch."""

    experiment: Experiment
    dataset: Dataset
    split: train.Split
    parts: Parts
    inputs: Inputs


def experiment(noise_rate: float, seeds: int, **optimization: Any) -> Experiment:
    """Symmetric noise; what is not given is as in `train`."""
    return Experiment(
        data=config.Data(noise="symmetric", noise_rate=noise_rate),
        optimization=config.Optimization(**optimization),
        seeds=seeds,
    )


def prepare(method: str, experiment: Experiment, loss: RobustLoss | None = None) -> Training:
    """For a method as `train` names it, or with a loss that has no name there in place of the method's."""
    keys = train.seed_keys(experiment)
    dataset, _, split = train.load(experiment, keys["noise"], Progress(Console(quiet=True)))
    shape = dataset.train_images.shape[1:]
    parts = train.assemble(method, experiment, shape, dataset.num_classes, len(split.train_images))
    if loss is not None:
        parts = parts._replace(method=Method(loss, sharpness=parts.method.sharpness))
    inputs = train.measure_inputs(split.train_images, experiment.data.standardize)
    return Training(experiment, dataset, split, parts, inputs)


def epochs(training: Training) -> Iterator[tuple[TrainState, dict[str, Any]]]:
    """After each epoch the state, whose memory the next one reuses, and the metrics, of the seeds each."""
    experiment, dataset, split, parts, inputs = training
    order_keys = train.seed_keys(experiment)["order"]
    run_epoch, evaluate = steps.compile_loops(parts, experiment)
    images, given = jnp.asarray(split.train_images), jnp.asarray(split.train_given)
    state = train.initial_state(parts, experiment)
    for epoch in range(experiment.optimization.epochs):
        order = jax.vmap(jax.random.fold_in, (0, None))(order_keys, epoch)
        state, batches = run_epoch(state, inputs, images, given, order)
        measured = train.measure_training(batches, split)
        predicted = np.argmax(evaluate(state.params, state.statistics, inputs, dataset.test_images), axis=-1)
        measured["test_accuracy"] = metrics.accuracy(predicted, np.asarray(dataset.test_labels))
        yield state, measured


def curves(training: Training) -> dict[str, NDArray]:
    """The metrics of a whole run, `[epochs, seeds]` each."""
    return stacked([measured for _, measured in epochs(training)])


def stacked(history: list[dict[str, Any]]) -> dict[str, NDArray]:
    """The metrics of several epochs by name, epochs first."""
    return {name: np.stack([epoch[name] for epoch in history]) for name in history[0]}


def last_10_mean(curve: NDArray) -> NDArray:
    """Mean over the last ten epochs, of each seed."""
    return curve[-10:].mean(axis=0)
