"""Group statistics: hand values, a second implementation, masks at the borders, sums."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import diagnostics
from tests.sharpness import problem


def test_every_border():
    nan, inf, tiny = np.nan, np.inf, 2e-38
    first = np.array([1, 1, 1, -1, -1, 0, 1, 0, 1, nan, 1, tiny, tiny, tiny, inf], np.float32)
    second = np.array([2, 0.5, -1, -3, 0.1, 1, 0, 0, 1, 1, nan, 3e-38, 1.2e-38, -tiny, 1], np.float32)
    groups = "ABCACrrrrrrABCB"
    found = diagnostics.group_fractions({"x": first[:2], "y": first[2:]}, {"x": second[:2], "y": second[2:]})
    for fraction, name in zip(found, "ABCr", strict=True):
        np.testing.assert_allclose(fraction, groups.count(name) / len(groups), rtol=1e-6)


@hypothesis.given(hnp.arrays(np.float32, (2, 9), elements=st.floats(-100, 100, width=32)))
def test_fractions_against_numpy_and_sum_to_one(gradients):
    hypothesis.assume(np.all((gradients == 0) | (np.abs(gradients) > 1e-30)))
    first, second = gradients.astype(np.float64)
    ratio = second[first != 0] / first[first != 0]
    expected = [np.sum(ratio > 1), np.sum((ratio > 0) & (ratio < 1)), np.sum(ratio < 0)]
    found = diagnostics.group_fractions(*gradients)
    np.testing.assert_allclose(found[:3], np.array(expected) / 9, rtol=1e-6)
    np.testing.assert_allclose(sum(found), 1.0, rtol=1e-6)


def test_fractions_of_half_precision():
    first = jnp.array([1.0, 1.0], jnp.bfloat16)
    found = diagnostics.group_fractions(first, jnp.array([1.001, 0.999], jnp.float32))
    np.testing.assert_array_equal(found, [0.5, 0.5, 0, 0])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["saner", "gsaner"])
def test_fractions_are_those_of_the_published_runs(name):
    run = problem.runs()[name]
    optimizer = problem.optimizer(run)

    def step(carry, batch):
        params, state = carry

        def grad_fn(params):
            return jax.grad(problem.loss)(params, *batch)

        first = grad_fn(params)
        perturbation, _ = run.perturbation.perturb(first, state[0].perturbation, params, state[0].count)
        # For gsaner too the published code counts before GSAM's change.
        second = grad_fn(jax.tree.map(jnp.add, params, perturbation))
        updates, state = optimizer.update(first, state, params, grad_fn=grad_fn)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), diagnostics.group_fractions(first, second).b

    start = problem.initial_params()
    _, found = jax.jit(lambda carry: jax.lax.scan(step, carry, problem.batches()))(
        (start, optimizer.init(start))
    )
    np.testing.assert_allclose(found, problem.GOLDEN[f"{name}/group_b_fraction"], rtol=1e-6)


FIRST = {"x": np.array([1.0, 1.0, 1.0], np.float32), "y": np.array([[-1.0], [2.0]], np.float32)}
SECOND = {"x": np.array([2.0, 0.5, -1.0], np.float32), "y": np.array([[-0.1], [2.0]], np.float32)}
CLEAN = np.array([True, False, True, False])


def per_example():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(4, *g.shape)).astype(np.float32) for name, g in FIRST.items()}


def test_fitting_ratio_against_loops():
    examples = per_example()
    found = jax.jit(diagnostics.fitting_ratio)(FIRST, SECOND, examples, CLEAN)
    components = {"a": [("x", 0)], "b": [("x", 1), ("y", 0)], "c": [("x", 2)], "rest": [("y", 1)]}
    for group, members in components.items():
        rates = np.zeros(4)
        for name, index in members:
            for i in range(4):
                rates[i] += SECOND[name].ravel()[index] * examples[name][i].ravel()[index]
        expected = rates[~CLEAN].mean() / rates[CLEAN].mean()
        np.testing.assert_allclose(getattr(found, group), expected, rtol=1e-5)


def test_fitting_ratio_limits():
    examples = per_example()
    same = jax.tree.map(lambda g: np.broadcast_to(g[:1], g.shape), examples)
    np.testing.assert_allclose(diagnostics.fitting_ratio(FIRST, SECOND, same, CLEAN), 1.0, rtol=1e-6)
    # Nothing to compare with.
    assert np.all(np.isnan(diagnostics.fitting_ratio(FIRST, SECOND, examples, np.ones(4, bool))))
    assert np.all(np.isnan(diagnostics.fitting_ratio(FIRST, SECOND, examples, np.zeros(4, bool))))
    assert np.isnan(diagnostics.fitting_ratio(FIRST, FIRST, examples, CLEAN).b)
