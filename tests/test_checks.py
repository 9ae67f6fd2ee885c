"""check_range, on which every hyper-parameter's range rests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax._checks import check_range, is_concrete

NAN, INF = float("nan"), float("inf")
OPEN, CLOSED = {"above": 0.0, "below": 1.0}, {"at_least": 0, "at_most": 1}
HALF_OPEN, ABOVE, ANY = {"above": 0.0, "at_most": 1.0}, {"above": 1.0}, {}


@pytest.mark.parametrize(
    ("value", "limits", "inside"),
    [
        (0.5, OPEN, True),
        (0, OPEN, False),
        (1, OPEN, False),
        (np.nextafter(0, 1), OPEN, True),
        (np.nextafter(1, 0), OPEN, True),
        (0, CLOSED, True),
        (1, CLOSED, True),
        (np.nextafter(0, -1), CLOSED, False),
        (np.nextafter(1, 2), CLOSED, False),
        (0, HALF_OPEN, False),
        (1, HALF_OPEN, True),
        (1, ABOVE, False),
        (1e300, ABOVE, True),
        (-1e300, ANY, True),
        # Not even a range without ends holds these.
        *((value, limits, False) for value in (NAN, INF, -INF) for limits in (OPEN, CLOSED, ABOVE, ANY)),
        # Every kind of number.
        (np.float32(2), HALF_OPEN, False),
        (np.int64(2), HALF_OPEN, False),
        (np.array(2.0), HALF_OPEN, False),
        (np.array([0.5, 2.0]), HALF_OPEN, False),
        (np.array([0.5, NAN]), HALF_OPEN, False),
        (np.array([0.5, 0.1]), HALF_OPEN, True),
    ],
)
def test_range(value, limits, inside):
    if inside:
        check_range("q", value, **limits)
    else:
        with pytest.raises(ValueError, match="q must be in "):
            check_range("q", value, **limits)


@pytest.mark.parametrize(
    ("limits", "interval"),
    [
        ({"above": 0.0, "below": 1.0}, "(0.0, 1.0)"),
        ({"at_least": 0.0, "at_most": 1.0}, "[0.0, 1.0]"),
        ({"above": 1.0}, "(1.0, inf)"),
        ({"at_least": 2}, "[2, inf)"),
        ({"below": 3.0}, "(-inf, 3.0)"),
        ({"at_most": 3.0}, "(-inf, 3.0]"),
        ({}, "(-inf, inf)"),
    ],
)
def test_message(limits, interval):
    with pytest.raises(ValueError) as caught:
        check_range("rho", NAN, **limits)
    assert str(caught.value) == f"rho must be in {interval}, got nan"


@pytest.mark.parametrize("value", ["0.5", None, [0.5], (0.5,), 1j, object(), lambda step: 0.5])
def test_not_a_number(value):
    with pytest.raises(TypeError, match=r"q must be a number, got .* of type "):
        check_range("q", value, **OPEN)
    assert not is_concrete(value)


def test_jax_arrays_pass_unseen():
    check_range("q", jnp.array(2.0), **OPEN)
    jax.jit(lambda q: check_range("q", q, **OPEN))(2.0)
    assert not is_concrete(jnp.array(2.0))
    assert is_concrete(np.array(2.0))
