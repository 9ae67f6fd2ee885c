import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.config import Experiment, Model, Optimization
from experiments.models.build import build
from experiments.training import optimizers, setup

STEPS_PER_EPOCH = 3


def rates(epochs, **changes):
    """The learning rate of every step, `[epochs, steps]`."""
    optimization = Optimization(epochs=epochs, learning_rate=0.8, **changes)
    schedule = optimizers.learning_rate(optimization, STEPS_PER_EPOCH)
    return np.asarray(jax.vmap(schedule)(jnp.arange(epochs * STEPS_PER_EPOCH))).reshape(epochs, -1)


def constant_within_epochs(values):
    return np.repeat(np.array(values)[:, None], STEPS_PER_EPOCH, axis=1)


def test_cosine_by_hand():
    # 0.4 (1 + cos(pi e / 4)).
    expected = constant_within_epochs([0.8, 0.6828427, 0.4, 0.1171573])
    np.testing.assert_allclose(rates(4), expected, rtol=1e-5)


def test_constant_by_hand():
    found = rates(3, learning_rate_schedule="constant")
    np.testing.assert_allclose(found, constant_within_epochs([0.8, 0.8, 0.8]), rtol=1e-6)


def test_steps_lower_the_rate_after_that_many_epochs():
    found = rates(6, learning_rate_schedule="step", learning_rate_steps=(2, 5), learning_rate_factor=0.5)
    np.testing.assert_allclose(found, constant_within_epochs([0.8, 0.8, 0.4, 0.4, 0.4, 0.2]), rtol=1e-6)


def test_a_warm_up_rises_by_step_and_the_milestones_stay():
    found = rates(
        4, warmup_epochs=2, learning_rate_schedule="step", learning_rate_steps=(3,), learning_rate_factor=0.1
    )
    expected = [[0.8 / 6, 1.6 / 6, 0.4], [3.2 / 6, 4 / 6, 0.8], [0.8] * 3, [0.08] * 3]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_cosine_decays_over_the_epochs_after_the_warm_up():
    found = rates(5, warmup_epochs=1)
    np.testing.assert_allclose(found[0], [0.8 / 3, 1.6 / 3, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found[1:], rates(4), rtol=1e-6)


def test_a_triangle_by_hand():
    found = rates(3, learning_rate_schedule="triangle", warmup_epochs=1).ravel()
    rising = [0.8 / 3, 1.6 / 3, 0.8]
    falling = [0.8 * (9 - step) / 7 for step in range(3, 9)]
    np.testing.assert_allclose(found, rising + falling, rtol=1e-6)
    without = rates(3, learning_rate_schedule="triangle").ravel()
    np.testing.assert_allclose(without, [0.8 * (9 - step) / 9 for step in range(9)], rtol=1e-6)


def update(optimization, params, gradients):
    """The last of as many updates as there are gradients."""
    optimizer = optimizers.build(optimization, optax.constant_schedule(optimization.learning_rate))
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
    return updates


def test_nesterov_by_hand():
    optimization = Optimization(learning_rate=0.1, momentum=0.5, nesterov=True, weight_decay=0.0)
    found = update(optimization, jnp.zeros(1), [jnp.array([1.0]), jnp.array([3.0])])
    # Velocity 1, then 0.5 + 3 = 3.5; the step looks ahead by another 0.5 times 3.5.
    np.testing.assert_allclose(found, [-0.1 * (3 + 0.5 * 3.5)], rtol=1e-6)
    plain = Optimization(learning_rate=0.1, momentum=0.5, weight_decay=0.0)
    np.testing.assert_allclose(
        update(plain, jnp.zeros(1), [jnp.ones(1), 3 * jnp.ones(1)]), [-0.35], rtol=1e-6
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("decayed", ["all", "kernels"])
def test_what_weight_decay_falls_on(optimizer, decayed):
    network = build(Model("cnn", width=8, norm="batch"), (4, 4, 1), 3)
    params, _ = jax.eval_shape(network.init, jax.random.key(0))
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), params)
    nothing = jax.tree.map(jnp.zeros_like, ones)
    optimization = Optimization(
        optimizer=optimizer, learning_rate=0.5, weight_decay=0.1, weight_decay_on=decayed
    )
    # Optax's Adam promotes.
    with jax.numpy_dtype_promotion("standard"):
        updates = update(optimization, ones, [nothing])
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        expected = -0.05 if decayed == "all" or "kernel" in jax.tree_util.keystr(path) else 0.0
        np.testing.assert_allclose(leaf, expected, rtol=1e-6)


def test_l1_decay_adds_a_constant_that_points_to_zero():
    gradient, params = {"w": jnp.array([0.5, 0.5, 0.5])}, {"w": jnp.array([-2.0, 0.0, 3.0])}
    transformation = optimizers.l1_decay(0.1)
    found, _ = transformation.update(gradient, transformation.init(params), params)
    np.testing.assert_allclose(found["w"], [0.4, 0.5, 0.6], rtol=1e-6)
    # The slope of the term that it stands for.
    slope = jax.grad(lambda params: 0.1 * jnp.sum(jnp.abs(params["w"])))({"w": jnp.array([-2.0, 3.0])})
    np.testing.assert_allclose(slope["w"], [-0.1, 0.1], rtol=1e-6)


def test_l1_decay_comes_before_the_clip():
    experiment = Experiment(
        optimization=Optimization(
            l1_decay=3.0, gradient_norm_clip=1.0, learning_rate=1.0, momentum=0.0, weight_decay=0.0
        )
    )
    optimizer = setup.assemble("cross_entropy", experiment, (4,), 2, 64).optimizer
    params = {"w": jnp.array([1.0, -1.0])}
    updates, _ = optimizer.update({"w": jnp.zeros(2)}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], np.array([-1, 1]) / np.sqrt(2), rtol=1e-6)
