"""fit_mixture against the published fits, a second implementation, brute force, and degenerate input."""

from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from noisy_optax import ogc
from tests import compiling

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ogc_fit.npz")


def fit_in_float64(x, max_rounds=10, tolerance=1e-3, variance_floor=1e-3):
    """The same fit as plain loops over float64: returns means, variances, weights."""
    x = np.sort(np.asarray(x, np.float64))

    def within(k):
        return sum(np.sum((part - part.mean()) ** 2) for part in (x[:k], x[k:]))

    cut = min(range(1, x.size), key=within)
    shares = np.array([np.arange(x.size) < cut, np.arange(x.size) >= cut], np.float64)
    likelihoods = [-np.inf]
    for rounds in range(max_rounds + 1):
        size = shares.sum(axis=1)
        means = shares @ x / size
        variances = np.array([share @ (x - mean) ** 2 for share, mean in zip(shares, means, strict=True)])
        variances = variances / size + variance_floor
        weights = size / x.size
        if rounds == max_rounds or (rounds and abs(likelihoods[-1] - likelihoods[-2]) < tolerance):
            break
        density = weights[:, None] * np.exp(-((x - means[:, None]) ** 2) / (2 * variances[:, None]))
        density /= np.sqrt(2 * np.pi * variances[:, None])
        likelihoods.append(np.mean(np.log(density.sum(axis=0))))
        shares = density / density.sum(axis=0)
    return means, variances, weights


def assert_mixture(mixture, means, variances, weights, atol=1e-6):
    np.testing.assert_allclose(mixture.means, means, atol=atol)
    np.testing.assert_allclose(mixture.variances, variances, atol=atol)
    np.testing.assert_allclose(mixture.weights, weights, atol=atol)


def losses_of_two_kinds(seed, n=400):
    rng = np.random.default_rng(seed)
    clean = rng.gamma(1.5, 0.2, n - n // 3)
    return np.concatenate([clean, rng.normal(3.0, 1.0, n // 3)]).astype(np.float32)


@pytest.mark.parametrize("stream", ["c10", "c100", "c10_odd"])
def test_inside_the_seed_envelope_of_the_published_fit(stream):
    fits = [ogc.fit_mixture(queue) for queue in GOLDEN[f"{stream}/queues"]]
    found = np.array([np.ravel([fit.means, fit.variances], order="F") for fit in fits])
    assert np.all(found > GOLDEN[f"{stream}/gmm_min"] - 1e-4)
    assert np.all(found < GOLDEN[f"{stream}/gmm_max"] + 1e-4)


@pytest.mark.parametrize("options", [{}, {"max_rounds": 3}, {"tolerance": 0.05}, {"variance_floor": 0.2}])
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_second_implementation(seed, options):
    x = losses_of_two_kinds(seed)
    assert_mixture(ogc.fit_mixture(x, **options), *fit_in_float64(x, **options), atol=2e-5)


def test_tolerance_ends_the_rounds():
    x = losses_of_two_kinds(0)
    one_more = ogc.fit_mixture(x, max_rounds=3, tolerance=0.0)
    assert_mixture(ogc.fit_mixture(x, max_rounds=10, tolerance=1e9), *ogc.fit_mixture(x, max_rounds=2))
    assert np.abs(one_more.means - ogc.fit_mixture(x, max_rounds=2).means).max() > 1e-3


@pytest.mark.parametrize("seed", range(20))
def test_starts_from_the_best_of_all_cuts(seed):
    rng = np.random.default_rng(seed)
    where = np.arange(12) < rng.integers(2, 13)
    # Quarters, with ties: the best cut never separates equal values.
    x = (rng.integers(-8, 9, 12) / 4).astype(np.float32)
    x[0] += 0.125
    assert_mixture(ogc.fit_mixture(x, where, max_rounds=0), *fit_in_float64(x[where], max_rounds=0))


def test_negative_values_are_sorted_too():
    x = losses_of_two_kinds(1)
    right, left = ogc.fit_mixture(x), ogc.fit_mixture(-x)
    assert_mixture(left, -right.means[::-1], right.variances[::-1], right.weights[::-1], atol=1e-5)


def test_a_large_offset_costs_no_more_than_its_rounding():
    x = losses_of_two_kinds(2)
    near, far = ogc.fit_mixture(x), ogc.fit_mixture(x + np.float32(1000))
    assert_mixture(far, near.means + 1000, near.variances, near.weights, atol=1e-3)


@pytest.mark.parametrize("ignored", [np.nan, np.inf, -np.inf, 1e30, 0.0])
def test_ignores_what_is_masked_out(ignored):
    x = losses_of_two_kinds(3)
    where = np.random.default_rng(0).random(x.size) < 0.6
    masked = ogc.fit_mixture(np.where(where, x, np.float32(ignored)), where)
    assert_mixture(masked, *ogc.fit_mixture(x[where]))


HALF = np.repeat([0.35, 3.25], 100)
TOP, BOTTOM = -np.log(1e-7), 1e-7
DEGENERATE = {
    # entries, mask: means, variances, weights
    "all equal": (np.full(64, 2.3026), None, [2.3026, 2.3026], [1e-3, 1e-3], [1, 0]),
    "all at the upper clamp": (np.full(64, TOP), None, [TOP, TOP], [1e-3, 1e-3], [1, 0]),
    "all at the lower clamp": (np.full(64, BOTTOM), None, [BOTTOM, BOTTOM], [1e-3, 1e-3], [1, 0]),
    "a single entry": (np.array([2.0]), None, [2, 2], [1e-3, 1e-3], [1, 0]),
    "a single entry left": (np.array([2.0, 5.0]), [False, True], [5, 5], [1e-3, 1e-3], [1, 0]),
    "no entry left": (np.array([2.0, 5.0]), [False, False], [0, 0], [1e-3, 1e-3], [0, 0]),
    "two values": (HALF, None, [0.35, 3.25], [1e-3, 1e-3], [0.5, 0.5]),
    "both clamps": (np.repeat([BOTTOM, TOP], 50), None, [BOTTOM, TOP], [1e-3, 1e-3], [0.5, 0.5]),
    "one outlier": (np.append(np.full(99, 0.01), TOP), None, [0.01, TOP], [1e-3, 1e-3], [0.99, 0.01]),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_entries(name):
    x, where, *expected = DEGENERATE[name]
    where = None if where is None else np.array(where)
    assert_mixture(ogc.fit_mixture(x.astype(np.float32), where), *expected, atol=1e-5)


@hypothesis.given(
    x=stn.arrays(np.float32, 9, elements=st.floats(-(2.0**60), 2.0**60, width=32)),
    where=stn.arrays(np.bool_, 9),
)
def test_any_finite_entries_give_a_finite_mixture(x, where):
    mixture = ogc.fit_mixture(x, where)
    assert all(np.all(np.isfinite(field)) for field in mixture)
    assert mixture.means[0] <= mixture.means[1]
    assert np.all(mixture.variances >= np.float32(1e-3))
    np.testing.assert_allclose(np.sum(mixture.weights), np.any(where), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_entry_that_counts_shows(bad):
    assert np.all(np.isnan(ogc.fit_mixture(np.array([1.0, bad, 2.0, 3.0], np.float32)).means))


@pytest.mark.parametrize("newer", [True, False] if compiling.HAS_OLDER_FUSIONS else [True])
def test_values_stay_on_their_side_of_the_cut_however_the_compiler_rounds(newer):
    x = np.stack([losses_of_two_kinds(seed) for seed in range(8)])
    options = {"xla_backend_optimization_level": 0, **compiling.newer_fusions(newer)}
    split = jax.jit(jax.vmap(lambda x: ogc.fit_mixture(x, max_rounds=0)), compiler_options=options)(x)
    expected = [fit_in_float64(row, max_rounds=0)[2] for row in x]
    # One value more or less would be 0.0025.
    np.testing.assert_allclose(split.weights, expected, rtol=1e-6)


def test_transformations_and_precisions():
    x = np.stack([losses_of_two_kinds(seed) for seed in range(3)])
    batched = jax.jit(jax.vmap(ogc.fit_mixture))(x)
    for i in range(3):
        assert_mixture(ogc.fit_mixture(x[i]), *jax.tree.map(lambda field, i=i: field[i], batched))
    assert ogc.fit_mixture(jnp.asarray(x[0], jnp.bfloat16)).means.dtype == jnp.float32
    with jax.enable_x64(True):
        wide = ogc.fit_mixture(x[0].astype(np.float64))
        assert wide.means.dtype == jnp.float64
        assert_mixture(wide, *fit_in_float64(x[0]), atol=1e-12)


def test_refuses_bad_arguments():
    x = np.ones(3, np.float32)
    with pytest.raises(TypeError, match="x must be floating"):
        ogc.fit_mixture(np.ones(3, int))
    with pytest.raises(ValueError, match=r"expected x of shape \[n\]"):
        ogc.fit_mixture(x[None])
    with pytest.raises(TypeError, match="where must be boolean"):
        ogc.fit_mixture(x, x)
    with pytest.raises(ValueError, match="expected where of shape"):
        ogc.fit_mixture(x, np.ones(2, bool))
    with pytest.raises(ValueError, match="max_rounds must be in"):
        ogc.fit_mixture(x, max_rounds=-1)
    with pytest.raises(ValueError, match="tolerance must be in"):
        ogc.fit_mixture(x, tolerance=-1.0)
    with pytest.raises(ValueError, match="variance_floor must be in"):
        ogc.fit_mixture(x, variance_floor=0.0)
