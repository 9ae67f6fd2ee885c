"""A step of the application: what its two passes start from and what is kept of them."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

import noisy_optax as nox
from experiments.training import setup, steps
from experiments.training.steps import Inputs, TrainState
from tests.experiments.training import toy

RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.random((6, 4)), jnp.float32)
GIVEN = jnp.arange(6, dtype=jnp.int32) % 3
STATISTICS = {"mean": jnp.array([1.0, -2.0, 0.5])}


def step(parts):
    return jax.jit(functools.partial(steps.train_step, parts))


def before(parts):
    params, _ = toy.init(jax.random.key(0))
    return TrainState(params, STATISTICS, steps.library_step(parts).init(params))


def test_both_passes_start_from_the_statistics_before_the_step():
    parts = toy.parts(sharpness=nox.sharpness.sam(0.3), perturbed_statistics=True)
    state = before(parts)
    after, _ = step(parts)(state, IMAGES, GIVEN)

    def loss(params):
        return jnp.mean(nox.losses.cross_entropy(toy.apply(params, STATISTICS, IMAGES, train=True)[0], GIVEN))

    gradient = jax.grad(loss)(state.params)["w"]
    perturbed = {"w": state.params["w"] + 0.3 * gradient / jnp.linalg.norm(gradient)}
    _, expected = toy.apply(perturbed, STATISTICS, IMAGES, train=True)
    chex.assert_trees_all_close(after.statistics, expected, rtol=1e-4)


def test_the_second_pass_sees_the_loss_as_this_step_left_it():
    """A loss that is scaled by how many batches it has seen: the gradients of both passes have one scale."""
    counting = nox.RobustLoss(
        init=lambda: jnp.zeros([]),
        update=lambda state, logits, labels, **_: state + 1,
        value=lambda state, logits, labels, **_: state * nox.losses.cross_entropy(logits, labels),
    )
    found = []
    for loss in (counting, nox.losses.cross_entropy):
        parts = toy.parts(loss, sharpness=nox.sharpness.sam(0.3))
        after, _ = step(parts)(before(parts), IMAGES, GIVEN)
        found.append(after.params)
    chex.assert_trees_all_close(*found, rtol=1e-5)


def test_raw_images_are_augmented_before_they_are_scaled():
    parts = toy.parts(augment=lambda key, images: images + jax.random.uniform(key))
    inputs, key = Inputs(jnp.full(4, 0.25), jnp.full(4, 10.0)), jax.random.key(3)
    images, given = steps.training_batch(parts, inputs, IMAGES, GIVEN, key)
    np.testing.assert_allclose(images, (IMAGES + jax.random.uniform(key) - 0.25) * 10, rtol=1e-5)
    np.testing.assert_array_equal(given, GIVEN)


def test_seeds_apart_are_the_seeds_that_were_side_by_side():
    """What they count in common stays as it is."""
    parts = toy.parts(nox.ogc.ogc_loss(learning_rate=0.1, queue_size=4))
    together = setup.draw_state(parts, jax.random.split(jax.random.key(0), 3))
    apart = steps.split_seeds(parts, together, 3)
    for i, state in enumerate(apart):
        np.testing.assert_array_equal(state.params["w"], together.params["w"][i : i + 1])
        assert state.training.loss.queue.shape == (1, 4)
        assert state.training.loss.count == together.training.loss.count
        alone = steps.first_seed(parts, state)
        np.testing.assert_array_equal(alone.params["w"], together.params["w"][i])
