"""Whole trajectories against the published optimizers' (tests/golden/README.md)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import sharpness
from tests.sharpness import problem
from tests.sharpness.problem import GOLDEN

TOLERANCE = 1e-9

pytestmark = pytest.mark.usefixtures("x64")


def without_ascent(run):
    """What code would do that forgets to perturb."""

    def perturb(gradient, state, params, count):
        perturbation, state = run.perturbation.perturb(gradient, state, params, count)
        return jax.tree.map(jnp.zeros_like, perturbation), state

    return run._replace(perturbation=sharpness.Perturbation(run.perturbation.init, perturb))


def with_inverted_mask(run, of):
    """What code would do that scales everything but Group B; `of` is the combination under the mask."""

    def descend(first, second, count):
        scale = problem.alpha()(count)
        kept, scaled = of(first, second, count), run.combination(first, second, count)
        return jax.tree.map(lambda s, u: jnp.where(s == u, scale * s, s), kept, scaled)

    return run._replace(combination=descend)


def test_plain_sgd_is_the_published_one():
    assert problem.deviation(None, "sgd") < TOLERANCE


@pytest.mark.parametrize("name", problem.RUNS)
def test_trajectory(name):
    run = problem.runs()[name]
    params, losses = problem.trajectory(problem.optimizer(run))
    np.testing.assert_allclose(params[3::4], GOLDEN[f"{name}/params"], rtol=TOLERANCE, atol=TOLERANCE * 1e-3)
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/loss"], rtol=TOLERANCE)


@pytest.mark.parametrize("name", ["sam", "asam", "fsam", "vasso"])
def test_a_dropped_ascent_would_be_noticed(name):
    assert problem.deviation(without_ascent(problem.runs()[name]), name) > 1e3 * TOLERANCE


@pytest.mark.parametrize("name", ["saner", "vassosaner", "gsaner"])
def test_an_inverted_mask_would_be_noticed(name):
    run = problem.runs()[name]
    of = sharpness.gsam_combination(0.01) if name == "gsaner" else sharpness.sam_combination()
    assert problem.deviation(with_inverted_mask(run, of), name) > 1e3 * TOLERANCE
