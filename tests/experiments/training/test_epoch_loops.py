"""An epoch: what is drawn for it, which label and index go with which image, and that it can be resumed."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

import noisy_optax as nox
from experiments.training import epoch_loops, setup
from experiments.training.checkpoints_within_epochs import Done
from experiments.training.steps import Inputs
from tests.experiments.training import toy

EXAMPLES, BATCH = 11, 2
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.random((EXAMPLES, 4)), jnp.float32)
GIVEN = jnp.asarray(RNG.integers(0, 3, (1, EXAMPLES)), jnp.int32)
INPUTS = Inputs(jnp.zeros(4), jnp.ones(4))
KEYS = jax.random.split(jax.random.key(0), 1)


def noisy(key, images):
    return images + jax.random.normal(key, images.shape)


def start(parts):
    return setup.initial_state(parts, {"init": KEYS})


def test_another_leftover_and_another_order_with_each_key():
    left = set()
    for number in range(12):
        order = epoch_loops.draw_epoch(toy.parts(), BATCH, EXAMPLES, jax.random.key(number), None).indices
        assert order.shape == (5, BATCH)
        (missing,) = set(range(EXAMPLES)) - set(np.ravel(order).tolist())
        left.add(missing)
    assert len(left) > 3


def test_each_step_augments_with_a_key_of_its_own():
    parts = toy.parts(augment=noisy)
    keys = [
        jax.random.key_data(epoch_loops.draw_epoch(parts, BATCH, EXAMPLES, KEYS[0], key).keys)
        for key in jax.random.split(KEYS[0], 2)
    ]
    assert len(np.unique(np.concatenate(keys), axis=0)) == 10


def test_the_audit_records_each_example_under_its_own_index_and_label():
    parts = toy.parts(audited=EXAMPLES, learning_rate=0.0)
    run_epoch = epoch_loops.compile_epoch_loop(parts, BATCH, 1)
    state = start(parts)
    w = np.asarray(state.params["w"][0])
    state, batches = run_epoch(state, INPUTS, IMAGES, GIVEN, KEYS)
    record, expected = jax.jit(nox.audit.record), nox.audit.init(EXAMPLES)
    for rows in np.asarray(batches.indices[0]):
        z = np.asarray(IMAGES)[rows] @ w
        expected = record(expected, rows, z - z.mean(axis=0), np.asarray(GIVEN)[0, rows])
    chex.assert_trees_all_close(
        jax.tree.map(lambda x: x[0], state.training.audit), expected, rtol=1e-4, atol=1e-5
    )


def test_an_epoch_that_is_resumed_after_its_second_step_is_the_whole_epoch():
    parts = toy.parts(augment=noisy)
    run_epoch = epoch_loops.compile_stepwise_epoch(parts, BATCH, 1)
    kept = {}

    def keep(step, state, done):
        kept[step] = jax.tree.map(jnp.copy, state), done()

    arguments = INPUTS, IMAGES, GIVEN, KEYS, KEYS
    whole = run_epoch(start(parts), *arguments, keep=keep)
    assert sorted(kept) == [1, 2, 3, 4]
    state, done = kept[2]
    assert isinstance(done, Done)
    chex.assert_trees_all_equal(run_epoch(state, *arguments, first=2, done=done), whole)
