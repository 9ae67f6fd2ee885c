"""Training on scikit-learn's digits with wrong labels, an epoch at a time, in memory."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from experiments import config
from experiments.config import Experiment, Placement
from experiments.methods import Method
from experiments.terminal import QUIET
from experiments.training import epoch_loops, metrics
from experiments.training.measurement import measure_training
from experiments.training.setup import Setup, initial_state, set_up
from experiments.training.steps import TrainState
from noisy_optax import RobustLoss


def experiment(noise_rate: float, seeds: int, **optimization: Any) -> Experiment:
    """Symmetric noise; what is not given is as in `train`."""
    return Experiment(
        data=config.Data(noise="symmetric", noise_rate=noise_rate),
        optimization=config.Optimization(**optimization),
        seeds=seeds,
    )


def prepare(method: str, experiment: Experiment, loss: RobustLoss | None = None) -> Setup:
    """For a method as `train` names it, or with a loss that has no name there in place of the method's."""
    setup = set_up(method, experiment, Placement(), QUIET, None)
    if loss is None:
        return setup
    own = Method(loss, sharpness=setup.parts.method.sharpness)
    return setup._replace(parts=setup.parts._replace(method=own))


def epochs(setup: Setup) -> Iterator[tuple[TrainState, dict[str, Any]]]:
    """After each epoch the state, whose memory the next one reuses, and the metrics, of the seeds each."""
    experiment, dataset, split, parts, inputs = (
        setup.experiment,
        setup.dataset,
        setup.split,
        setup.parts,
        setup.inputs,
    )
    run_epoch, evaluate = epoch_loops.compile_loops(parts, experiment)
    images, given = jnp.asarray(split.train_images), jnp.asarray(split.train_given)
    state = initial_state(parts, setup.keys)
    for epoch in range(experiment.optimization.epochs):
        order = jax.vmap(jax.random.fold_in, (0, None))(setup.keys["order"], epoch)
        state, batches = run_epoch(state, inputs, images, given, order)
        measured = measure_training(batches, split)
        predicted = np.argmax(evaluate(state.params, state.statistics, inputs, dataset.test_images), axis=-1)
        measured["test_accuracy"] = metrics.accuracy(predicted, np.asarray(dataset.test_labels))
        yield state, measured


def curves(setup: Setup) -> dict[str, NDArray]:
    """The metrics of a whole run, `[epochs, seeds]` each."""
    return stacked([measured for _, measured in epochs(setup)])


def stacked(history: list[dict[str, Any]]) -> dict[str, NDArray]:
    """The metrics of several epochs by name, epochs first."""
    return {name: np.stack([epoch[name] for epoch in history]) for name in history[0]}


def last_10_mean(curve: NDArray) -> NDArray:
    """Mean over the last ten epochs, of each seed."""
    return curve[-10:].mean(axis=0)
