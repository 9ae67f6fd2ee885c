"""Schedules against hand values and the published one."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import schedules
from tests.sharpness.problem import GOLDEN


@pytest.mark.usefixtures("x64")
def test_saner_scale_is_the_published_one():
    scale = schedules.saner_scale(target=0.5, epochs=5, steps_per_epoch=4)
    np.testing.assert_array_equal([scale(jnp.array(step)) for step in range(40)], GOLDEN["alpha"])


def test_saner_scale_by_hand():
    scale = jax.jit(schedules.saner_scale(0.2, 4, steps_per_epoch=3))
    found = [scale(step) for step in range(15)]
    # Constant within an epoch, one step down from the first epoch on, then the target.
    np.testing.assert_allclose(found, np.repeat([0.8, 0.6, 0.4, 0.2, 0.2], 3), rtol=1e-6)
    assert found[0].dtype == jnp.float32
    assert schedules.saner_scale(1.0, steps_per_epoch=1)(7) == 1.0
    np.testing.assert_allclose(schedules.saner_scale(steps_per_epoch=10)(249), 0.75)


with np.load(pathlib.Path(__file__).parent / "golden" / "dal.npz") as file:
    DAL = {key: file[key] for key in file.files if key.startswith("schedule/")}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("epochs", "q_start", "q_end"), [(150, 0.6, 1.5), (150, 0.4, 1.2), (150, 0.8, 2.0), (250, 0.4, 1.5)]
)
def test_dal_schedules_are_the_published_ones(epochs, q_start, q_end):
    published = f"schedule/{epochs}_{q_start}_{q_end}"
    steps = np.repeat(3 * np.arange(epochs), 3) + np.tile([0, 1, 2], epochs)
    for schedule, name in ((schedules.dal_q, "q"), (schedules.dal_bootstrap, "bootstrap_weight")):
        found = jax.jit(jax.vmap(schedule(epochs, 3, q_start=q_start, q_end=q_end)))(steps)
        np.testing.assert_array_equal(found, np.repeat(DAL[f"{published}/{name}"], 3))


def test_dal_cosine_by_hand():
    arguments = {"total_epochs": 3, "steps_per_epoch": 2, "q_start": 0.5, "q_end": 1.5, "curve": "cosine"}
    q, weight = (jax.jit(f(**arguments)) for f in (schedules.dal_q, schedules.dal_bootstrap))
    # (1 - cos(pi t / 3)) / 2 is 0, 1/4, 3/4, and 1 from the end on; q is 1 half way.
    np.testing.assert_allclose(
        [q(step) for step in range(8)], np.repeat([0.5, 0.75, 1.25, 1.5], 2), rtol=1e-6
    )
    np.testing.assert_allclose([weight(step) for step in range(8)], np.repeat([0, 0, 0.5, 1], 2), atol=1e-6)


def test_dal_of_a_q_that_stays_below_one_does_not_bootstrap():
    weight = schedules.dal_bootstrap(10, 1, q_start=0.5, q_end=1.0)
    assert [float(weight(step)) for step in (0, 9, 10, 11)] == [0, 0, 0, 0]


def test_dal_keeps_its_last_values():
    np.testing.assert_allclose(schedules.dal_q(5, 2)(1_000_000), 1.5, rtol=1e-6)
    np.testing.assert_allclose(schedules.dal_bootstrap(5, 2)(10), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": -0.1}, "target must be in"),
        ({"epochs": 0}, "epochs must be in"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be in"),
    ],
)
def test_ranges(arguments, message):
    with pytest.raises(ValueError, match=message):
        schedules.saner_scale(**{"steps_per_epoch": 1, **arguments})


@pytest.mark.parametrize("schedule", [schedules.dal_q, schedules.dal_bootstrap])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_epochs": 0}, "total_epochs must be in"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be in"),
        ({"q_start": 0}, "q_start must be in"),
        ({"q_start": 1.5}, r"q_end must be in \(1.5, inf\), got 1.5"),
        ({"curve": "square"}, "curve must be one of linear, cosine, got 'square'"),
    ],
)
def test_dal_ranges(schedule, arguments, message):
    with pytest.raises(ValueError, match=message):
        schedule(**{"total_epochs": 1, "steps_per_epoch": 1, **arguments})
