"""SANER's groups of a model's gradient, against the gradients taken one by one."""

import jax
import jax.numpy as jnp
import numpy as np

import noisy_optax as nox
from experiments.training import group_statistics, steps
from experiments.training.steps import TrainState
from tests.experiments.training import toy

N = 24
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.normal(size=(N, 4)), jnp.float32)
GIVEN = jnp.asarray(RNG.integers(0, 3, N), jnp.int32)
CLEAN = jnp.arange(N) % 4 > 0
STATISTICS = {"mean": jnp.array([1.0, -2.0, 0.5])}


def test_shares_and_ratios_are_those_of_the_examples_own_gradients():
    elr = nox.memory.early_learning_regularization(N, 3)
    parts = toy.parts(elr)
    params, _ = toy.init(jax.random.key(0))
    state = TrainState(params, STATISTICS, steps.library_step(parts).init(params))
    targets = jnp.asarray(RNG.dirichlet(np.ones(3), N) * 0.5, jnp.float32)
    state = state._replace(training=state.training._replace(loss=state.loss._replace(targets=targets)))
    found = jax.jit(lambda: group_statistics.group_statistics(parts, state, IMAGES, GIVEN, CLEAN))()

    def loss(w, i):
        z = IMAGES[i] @ w - STATISTICS["mean"]
        value = elr.value(state.loss, z[None], GIVEN[i][None], indices=i[None])
        return value[0]

    gradients = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))
    of_each = gradients(params["w"], jnp.arange(N))
    first = of_each.mean(axis=0)
    perturbed = params["w"] + 0.1 * first / jnp.linalg.norm(first)
    second = gradients(perturbed, jnp.arange(N)).mean(axis=0)
    ratio = np.asarray(second / first)
    groups = {"a": ratio >= 1, "b": (ratio > 0) & (ratio < 1), "c": ratio <= 0}
    assert groups["b"].sum() > 1
    for name, members in groups.items():
        np.testing.assert_allclose(found[f"group_{name}"], members.mean(), atol=1e-6)
    b = groups["b"]
    rates = np.array([np.sum((np.asarray(g) * np.asarray(second))[b]) for g in of_each])
    expected = rates[~np.asarray(CLEAN)].mean() / rates[np.asarray(CLEAN)].mean()
    np.testing.assert_allclose(found["fitting_ratio_b"], expected, rtol=1e-3)
