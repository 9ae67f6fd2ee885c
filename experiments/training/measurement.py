"""What is measured after each epoch: accuracies, what the examples were predicted as, SANER's groups."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import noisy_optax as nox
from experiments.data import stream
from experiments.training import devices, group_statistics, metrics
from experiments.training.epoch_loops import Batches
from experiments.training.setup import Run, Selected, Setup
from experiments.training.steps import TrainState, over_seeds
from experiments.training.training_data import Split


def compile_measurement(setup: Setup, evaluate: Callable) -> Callable[..., tuple[Run, dict[str, Any]]]:
    """`measure(epoch, run, state, batches) -> (run, metrics)`, of the state after an epoch.

    Args:
      setup: of the run.
      evaluate: as compiled by `epoch_loops.compile_loops`.
    """
    parts, dataset, split = setup.parts, setup.dataset, setup.split
    end_epoch = compile_end_epoch(setup)
    groups = group_measurement(setup)
    test_images = devices.images_everywhere(parts.mesh, dataset.test_images)
    validation_images = devices.images_everywhere(parts.mesh, split.validation_images)

    def logits_of(state, images):
        return evaluate(state.params, state.statistics, setup.inputs, images)

    def measure(epoch, run, state, batches):
        # The state of the loss is fetched now: the next epoch reuses the memory of the state.
        measured = {
            "epoch": epoch,
            **measure_training(batches, split),
            **jax.device_get(parts.method.measure(state.loss)),
            **jax.device_get(groups(state)),
        }
        held_out = logits_of(state, validation_images) if len(validation_images) else None
        if held_out is not None:
            predicted = np.argmax(held_out, axis=-1)
            measured["validation_accuracy"] = metrics.accuracy(predicted, split.validation_given)
        if test_images is not None and dataset.test_labels is not None:
            predicted = np.argmax(logits_of(state, test_images), axis=-1)
            measured["test_accuracy"] = metrics.accuracy(predicted, dataset.test_labels)
            measured["test_recall"] = metrics.per_class_recall(
                predicted, dataset.test_labels, dataset.num_classes
            )
        ended = state.training._replace(audit=end_epoch(state.training.audit, held_out))
        state = state._replace(training=ended)
        usable = np.isfinite(measured["train_loss"])
        if held_out is not None:
            usable &= np.isfinite(np.asarray(held_out)).all(axis=(1, 2))
        return Run(state, select(run.selected, state, measured, usable), setup.inputs), measured

    return measure


def compile_end_epoch(setup: Setup) -> Callable:
    """`end_epoch(dynamics, logits) -> dynamics`: records the held-out logits and ends the audit's epoch."""
    parts, split = setup.parts, setup.split
    training, validation = len(split.training), len(split.validation)
    held_out, given = devices.everywhere(
        parts.mesh, (np.arange(training, training + validation, dtype=np.int32), split.validation_given)
    )

    def of_one_seed(dynamics, logits, held_out, given):
        if logits is not None:
            dynamics = nox.audit.record(dynamics, held_out, logits, given)
        return nox.audit.end_epoch(dynamics, where=jnp.arange(training + validation) < training)

    over = over_seeds(of_one_seed, setup.experiment.seeds, (0, 0, None, 0))
    compiled = jax.jit(over, out_shardings=devices.replicated(parts.mesh))
    return lambda dynamics, logits: compiled(
        dynamics, devices.everywhere(parts.mesh, logits), held_out, given
    )


def measure_training(batches: Batches, split: Split) -> dict[str, Any]:
    """The epoch's metrics on the training batches, given and clean labels looked up by index."""
    losses, predictions, indices = (
        np.asarray(x).reshape(len(x), -1) for x in (batches.loss, batches.predictions, batches.indices)
    )
    given = np.take_along_axis(split.train_given, indices, axis=1)
    clean = None if split.train_clean is None else split.train_clean[indices]
    return metrics.train_metrics(losses, predictions, given, clean)


def group_measurement(setup: Setup) -> Callable[[TrainState], dict[str, Any]]:
    """What `--group-statistics` adds to an epoch's metrics, on the first training examples."""
    parts, experiment, split, inputs = setup.parts, setup.experiment, setup.split, setup.inputs
    if not experiment.group_statistics:
        return lambda state: {}
    images = next(stream.chunks(split.train_images, group_statistics.EXAMPLES))
    given = split.train_given[:, : group_statistics.EXAMPLES]
    clean = None if split.train_clean is None else given == split.train_clean[: group_statistics.EXAMPLES]
    run = group_statistics.compile_group_statistics(parts, experiment.seeds)
    return lambda state: run(state, inputs, images, given, clean)


def select(
    selected: Selected | None, state: TrainState, measured: dict[str, Any], usable: NDArray[np.bool_]
) -> Selected | None:
    """The better of `selected` and the present parameters by accuracy on the held-out given labels.

    Those of a seed that is not `usable`, which has diverged, are never the better ones: without a number in
    its logits it predicts the first class, which can be right often.
    """
    if selected is None:
        return None
    accuracy = jnp.asarray(measured["validation_accuracy"], jnp.float32)
    better = (accuracy > selected.accuracy) & usable

    def choose(new, old):
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, Selected(state.params, state.statistics, accuracy), selected)


# Epochs after which a network that is no better than a constant is unlikely to become better.
EPOCHS_TO_LEARN = 5


def warn_if_nothing_is_learnt(setup: Setup, history: list[dict[str, Any]]) -> None:
    """Warns once where no seed predicts the given labels better than the most frequent label would."""
    if len(history) != EPOCHS_TO_LEARN or not np.isfinite(history[-1]["train_loss"]).all():
        return
    given = setup.split.train_given
    frequent = max(np.bincount(labels).max() for labels in given) / given.shape[1]
    error = np.sqrt(frequent * (1 - frequent) / given.shape[1])
    best = max(float(np.max(row["train_accuracy"])) for row in history)
    if best <= frequent + 3 * error:
        warnings.warn(
            f"{setup.method}: the network learns nothing. After {EPOCHS_TO_LEARN} epochs it predicts "
            f"{best:.1%} of the training labels; the most frequent label alone would be right for "
            f"{frequent:.1%}. Try another --learning-rate, --scaling standardize or another --method",
            stacklevel=2,
        )


def warn_if_diverged(method: str, measured: dict[str, Any], seeds: range) -> bool:
    """Warns if a loss is no longer a number; the run goes on, since other seeds may be well."""
    lost = [seed for seed, loss in zip(seeds, measured["train_loss"], strict=True) if not np.isfinite(loss)]
    if lost:
        warnings.warn(
            f"{method}: training loss of seed {lost[0]} is not finite in epoch {measured['epoch']}; "
            f"try a smaller --learning-rate, or --scaling standardize if the features are large",
            stacklevel=2,
        )
    return bool(lost)
