"""A run that is cut off within an epoch goes on at the step, with all that its steps have changed."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.training.checkpoints_within_epochs import Done, WithinEpochs
from experiments.training.setup import Run
from experiments.training.steps import Inputs, TrainState

STEPS, BATCH = 5, 2
INPUTS = Inputs(jnp.zeros(1), jnp.ones(1))


def run_after(number):
    """A run whose arrays say after which step it is; its training state stands for memory and momentum."""
    x = jnp.full((1, 3), float(number))
    return Run(TrainState({"w": x}, {"mean": x + 0.25}, {"memory": x + 0.5}), None, INPUTS)


@pytest.fixture
def folder(tmp_path):
    """A run that was cut off after the fourth step of its second epoch, with a checkpoint at every second."""
    within = WithinEpochs(tmp_path, 2, STEPS, BATCH)
    keep = within.arguments(1, run_after(STEPS))["keep"]
    for step in range(1, 5):
        done = Done(np.full((1, STEPS), step, np.float32), np.full((1, STEPS, BATCH), step, np.int32))
        keep(step, run_after(STEPS + step).state, lambda done=done: done)
    return tmp_path


def test_it_goes_on_after_the_newest_step_that_was_saved(folder):
    within = WithinEpochs(folder, 2, STEPS, BATCH)
    epoch, step, run = within.restore(0, run_after(0))
    # Steps 6 and 8 of the run were saved.
    assert (epoch, step) == (1, 3)
    chex.assert_trees_all_equal(run, run_after(8))
    found = within.arguments(1, run)
    assert (found["first"], found["done"].losses[0, 0]) == (3, 3)
    # The epoch after that begins at its beginning.
    assert within.arguments(2, run)["first"] == 0


def test_a_checkpoint_at_the_end_of_an_epoch_that_is_further_on_wins(folder):
    within = WithinEpochs(folder, 2, STEPS, BATCH)
    epoch, step, run = within.restore(2, run_after(10))
    assert (epoch, step) == (2, 0)
    chex.assert_trees_all_equal(run, run_after(10))
    assert within.arguments(2, run)["first"] == 0
