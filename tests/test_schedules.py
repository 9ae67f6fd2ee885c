"""Schedules against hand values and the published one."""

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
