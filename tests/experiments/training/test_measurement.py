"""What is measured after an epoch, and which epoch's parameters are kept."""

from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np

import noisy_optax as nox
from experiments.training import measurement
from experiments.training.epoch_loops import Batches
from experiments.training.setup import Selected
from experiments.training.steps import TrainState
from experiments.training.training_data import Split

RNG = np.random.default_rng(0)


def after_epoch(number):
    """A state of two seeds whose arrays say after which epoch it is."""
    return TrainState({"w": jnp.full((2, 3), number)}, {"mean": jnp.full((2, 3), 10.0 * number)}, None)


def test_the_epoch_with_the_best_held_out_accuracy_is_kept_for_each_seed():
    """The first of several that are equally good, with the statistics of the same epoch."""
    first = after_epoch(0.0)
    selected = Selected(first.params, first.statistics, jnp.full(2, -1.0))
    for epoch, accuracies in enumerate(([0.0, 0.5], [0.25, 0.75], [0.25, 0.5], [0.125, 0.75]), 1):
        measured = {
            "validation_accuracy": np.array(accuracies),
            "train_accuracy": np.full(2, epoch / 4),
            "test_accuracy": np.full(2, epoch / 4),
        }
        selected = measurement.select(selected, after_epoch(float(epoch)), measured, np.ones(2, bool))
    np.testing.assert_array_equal(selected.params["w"][:, 0], [2, 2])
    np.testing.assert_array_equal(selected.statistics["mean"][:, 0], [20, 20])
    np.testing.assert_array_equal(selected.accuracy, [0.25, 0.75])
    better = {"validation_accuracy": np.array([0.0, 1.0])}
    selected = measurement.select(selected, after_epoch(5.0), better, np.ones(2, bool))
    np.testing.assert_array_equal(selected.params["w"][:, 0], [2, 5])
    np.testing.assert_array_equal(selected.statistics["mean"][:, 0], [20, 50])


def split_of(training, validation, given, clean=None):
    return Split(None, given[:, training], clean, None, given[:, validation], training, validation)


def test_each_seed_is_measured_on_its_own_labels_of_the_examples_it_took():
    given = np.array([[0, 1, 2, 0], [1, 1, 0, 2]])
    clean = np.array([0, 1, 2, 2])
    indices = np.array([[[3, 1], [0, 2]], [[2, 3], [1, 0]]])
    predictions = np.array([[[0, 1], [0, 0]], [[0, 2], [0, 0]]])
    batches = Batches(np.array([[1.0, 3.0], [2.0, 2.0]]), predictions, indices)
    found = measurement.measure_training(batches, split_of(np.arange(4), np.arange(0), given, clean))
    np.testing.assert_array_equal(found["train_accuracy"], [3 / 4, 2 / 4])
    np.testing.assert_array_equal(found["train_clean_accuracy"], [2 / 4, 2 / 4])
    # The first seed has one wrong label, which is reproduced; the second has two, and one of them is.
    np.testing.assert_array_equal(found["memorised"], [1, 1 / 2])


def test_held_out_examples_are_recorded_behind_the_others_and_do_not_weigh_the_epoch():
    training, validation = np.array([0, 2, 3, 5, 6]), np.array([1, 4])
    given = RNG.integers(0, 3, (1, 7)).astype(np.int32)
    setup = SimpleNamespace(
        parts=SimpleNamespace(mesh=None),
        split=split_of(training, validation, given),
        experiment=SimpleNamespace(seeds=1),
    )
    logits = RNG.normal(size=(7, 3)).astype(np.float32)
    labels = given[0, np.concatenate([training, validation])]
    record = jax.jit(nox.audit.record)
    trained = record(nox.audit.init(7), jnp.arange(5), logits[:5], labels[:5])
    found = measurement.compile_end_epoch(setup)(jax.tree.map(lambda x: x[None], trained), logits[None, 5:])
    whole = record(trained, jnp.arange(5, 7), logits[5:], labels[5:])
    expected = jax.jit(nox.audit.end_epoch)(whole, where=jnp.arange(7) < 5)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[0], found), expected, rtol=1e-5)
