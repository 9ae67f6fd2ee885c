"""gradient_ratio and solve_threshold against the published curves and thresholds, and closed forms."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses, ogc
from noisy_optax.ogc import _threshold

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ogc_threshold.npz")
BASES = {
    "cross_entropy": losses.cross_entropy,
    "focal": functools.partial(losses.focal, gamma=0.5),
    "generalized_cross_entropy": functools.partial(losses.generalized_cross_entropy, q=0.7),
}


def golden_mixtures():
    """The mixtures of all stored queues, stacked; weights play no part."""
    clean_mean, clean_variance, noisy_mean, noisy_variance = GOLDEN["gmm"].astype(np.float32).T
    return ogc.Mixture(
        np.stack([clean_mean, noisy_mean], axis=1),
        np.stack([clean_variance, noisy_variance], axis=1),
        np.full((clean_mean.size, 2), 0.5, np.float32),
    )


def solve_all(base, **options):
    """Thresholds of every golden mixture for every golden bound, [mixtures, bounds]."""

    def solve(mixture, bound):
        return ogc.solve_threshold(mixture, BASES[base], bound, **options)

    bounds = GOLDEN["bounds"].astype(np.float32)
    return jax.vmap(jax.vmap(solve, (None, 0)), (0, None))(golden_mixtures(), bounds)


def two_points(clean, noisy):
    """A mixture so narrow that each component sits on one point of the grid; and the two values of H."""
    means = _threshold.GRID[[clean, noisy]]
    return ogc.Mixture(jnp.asarray(means, jnp.float32), jnp.full(2, 1e-6), jnp.full(2, 0.5)), means


@pytest.mark.parametrize("base", BASES)
def test_slopes_on_the_grid(base):
    # float32 resolves the slope of GCE to 1e-2 / p^q of its last digits.
    tolerance = 3e-3 if base == "generalized_cross_entropy" else 2e-6
    np.testing.assert_allclose(
        _threshold.grid_slopes(BASES[base]), GOLDEN[f"grid_slopes/{base}"], rtol=tolerance
    )


@pytest.mark.parametrize("base", BASES)
def test_ratio_curve_is_the_published_one(base):
    curve = jax.vmap(lambda mixture, p: ogc.gradient_ratio(mixture, BASES[base], p), (None, 0))
    found = jax.vmap(curve, (0, None))(golden_mixtures(), GOLDEN["ratio_at"].astype(np.float32))
    np.testing.assert_allclose(found, GOLDEN[f"{base}/ratio"], rtol=3e-5)


@pytest.mark.parametrize("base", BASES)
def test_published_thresholds(base):
    # All of them in the same cell of 1 / 1024.
    np.testing.assert_allclose(solve_all(base, mode="published"), GOLDEN[f"{base}/threshold_10"], atol=1e-6)


@pytest.mark.parametrize("base", BASES)
def test_default_is_the_next_candidate_above_the_exact_threshold(base):
    found, exact = np.asarray(solve_all(base), np.float64), GOLDEN[f"{base}/threshold_60"]
    largest = 972 / 1024
    assert np.all(found > np.minimum(exact, largest) * (1 - 1e-5))
    assert np.all(found < np.minimum(np.maximum(exact * 1.0241, exact + 0.00098), largest) + 1e-6)


@pytest.mark.parametrize("bound", [1.5, 3.0, 20.0])
def test_cross_entropy_of_two_points(bound):
    # Clipped at tau between the two slopes the ratio is tau / exp(clean): equal to the bound at
    # p = exp(-clean) / bound.
    mixture, (clean, noisy) = two_points(60, 700)
    found, exact = ogc.solve_threshold(mixture, losses.cross_entropy, bound), np.exp(-clean) / bound
    assert 0 <= found - exact < max(0.024 * exact, 0.001)
    ratio = ogc.gradient_ratio(mixture, losses.cross_entropy, exact.astype(np.float32))
    np.testing.assert_allclose(ratio, bound, rtol=1e-5)
    unclipped = ogc.gradient_ratio(mixture, losses.cross_entropy, 1e-7)
    np.testing.assert_allclose(unclipped, np.exp(noisy - clean), rtol=1e-5)


@pytest.mark.parametrize("mode", ["default", "published"])
def test_ends_of_the_range(mode):
    mixture, (clean, noisy) = two_points(60, 700)
    solve = functools.partial(ogc.solve_threshold, mixture, mode=mode)
    assert solve(losses.cross_entropy, np.exp(noisy - clean) * 1.01) == np.float32(1e-7)
    # Its ratio is 1 up to the rounding of two sums of a thousand numbers.
    assert solve(losses.mean_absolute_error, 1 + 1e-6) == np.float32(1e-7)
    # Normals that reach everywhere: no clip short of p = 1 makes them equal.
    wide = ogc.Mixture(jnp.array([0.2, 3.0]), jnp.array([1.0, 1.0]), jnp.array([0.5, 0.5]))
    largest = {"default": 1e-7 + 972 / 1024 * (1 - 2e-7), "published": 1 - 1e-7}[mode]
    found = ogc.solve_threshold(wide, losses.cross_entropy, 1.0, mode=mode)
    assert found == np.float32(largest)


def test_refuses_what_has_no_threshold():
    mixture, _ = two_points(60, 700)
    for bound in (0.9, np.nan):
        with pytest.raises(ValueError, match="bound must be in"):
            ogc.solve_threshold(mixture, losses.cross_entropy, bound)
    with pytest.raises(ValueError, match="base must decrease"):
        ogc.solve_threshold(mixture, losses.of_probability(lambda p: p), 2.0)
    for threshold in (0.0, 1.0):
        with pytest.raises(ValueError, match="probability_threshold must be in"):
            ogc.gradient_ratio(mixture, losses.cross_entropy, threshold)


def test_clipping_more_brings_the_ratio_to_one():
    mixture, _ = two_points(60, 700)
    ratio = jax.vmap(functools.partial(ogc.gradient_ratio, mixture, losses.cross_entropy))
    curve = ratio(np.geomspace(1e-7, 1 - 1e-7, 100).astype(np.float32))
    assert np.all(np.diff(curve) <= 1e-6 * curve[:-1])
    np.testing.assert_allclose(curve[-1], 1, rtol=1e-6)


def test_the_published_search_stops_at_its_tolerance(monkeypatch):
    # A bound that 0.26 meets exactly. 0.25 is the second middle, and its ratio is off by 4 percent.
    mixture, (clean, _) = two_points(60, 700)
    bound = np.exp(-clean) / 0.26
    slopes = _threshold.tabulate(losses.cross_entropy, "published")
    search = functools.partial(_threshold.search, mixture, slopes, jnp.float32(bound), "published")
    threshold, tau = search()
    np.testing.assert_allclose(threshold, 267 / 1024, rtol=1e-6)
    np.testing.assert_allclose(tau, 1024 / 267, rtol=1e-6)
    monkeypatch.setattr(_threshold, "TOLERANCE", 0.05 * bound)
    np.testing.assert_allclose(search()[0], 0.25, rtol=1e-6)


@pytest.mark.parametrize("mode", ["default", "published"])
@pytest.mark.parametrize("base", BASES)
def test_equal_components_clip_nothing(base, mode):
    # As fitted to queues that are all equal, at log 10, at the upper clamp, or empty.
    means = jnp.array([2.3026, 16.1181, 0.0])
    mixtures = ogc.Mixture(jnp.stack([means, means], axis=1), jnp.full((3, 2), 1e-3), jnp.zeros((3, 2)))
    solve = functools.partial(ogc.solve_threshold, base=BASES[base], bound=1.2, mode=mode)
    assert np.all(jax.vmap(lambda mixture: solve(mixture))(mixtures) == np.float32(1e-7))


def test_components_off_the_grid_are_finite():
    mixture = ogc.Mixture(jnp.array([-40.0, 90.0]), jnp.array([1e-3, 1e-3]), jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(ogc.gradient_ratio(mixture, losses.cross_entropy, 1e-7), 1e7, rtol=1e-4)
    assert 0 < ogc.solve_threshold(mixture, losses.cross_entropy, 3.0) < 1


def test_refuses_bad_arguments():
    mixture, _ = two_points(60, 700)
    solve = functools.partial(ogc.solve_threshold, mixture, losses.cross_entropy, 3.0)
    with pytest.raises(ValueError, match="mode must be one of"):
        solve(mode="linear")
