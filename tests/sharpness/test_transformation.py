"""sharpness_aware: limits, hand values, a second implementation, odd numbers, and what it refuses."""

import functools
import itertools

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox
from noisy_optax import sharpness
from tests.sharpness import problem
from tests.sharpness.reference import Reference

PERTURBATIONS = {
    "sam": sharpness.sam_perturbation,
    "asam": sharpness.asam_perturbation,
    "friendly": functools.partial(sharpness.friendly_sam_perturbation, sigma=0.7, decay=0.6),
    "vasso": functools.partial(sharpness.vasso_perturbation, theta=0.3),
}
COMBINATIONS = {
    "sam": sharpness.sam_combination,
    "gsam": lambda: sharpness.gsam_combination(0.4),
    "saner": lambda: sharpness.saner_combination(0.25),
    "saner on gsam": lambda: sharpness.saner_combination(0.25, of=sharpness.gsam_combination(0.4)),
}
EVERY = list(itertools.product(PERTURBATIONS, COMBINATIONS))

MATRIX = np.random.default_rng(0).normal(size=(7, 7))
MATRIX = MATRIX @ MATRIX.T / 7 - 0.5 * np.eye(7)
# One target per step, as batches would do.
TARGETS = np.random.default_rng(1).normal(size=(6, 7))


def as_tree(flat):
    return {"a": flat[:4].reshape(2, 2), "b": flat[4:]}


def as_flat(tree):
    return jnp.concatenate([tree["a"].ravel(), tree["b"]])


def quartic_gradient(params, target):
    """The gradient of 1/2 d M d + 1/4 sum d^4, d being the distance from the target."""
    distance = as_flat(params) - target
    return as_tree(jnp.asarray(MATRIX, distance.dtype) @ distance + distance**3)


def start(dtype=jnp.float32):
    return as_tree(jnp.asarray(np.random.default_rng(2).normal(size=7), dtype))


def step(transformation, state, params, target):
    def grad_fn(params):
        return quartic_gradient(params, target)

    return transformation.update(grad_fn(params), state, params, grad_fn=grad_fn)


def descend(transformation, dtype=jnp.float32, steps=6, jit=True):
    """Parameters after each of some steps of plain descent."""
    params, found = start(dtype), []
    state = transformation.init(params)
    one = functools.partial(step, transformation)
    one = jax.jit(one, compiler_options=problem.COMPILE_FAST) if jit else one
    for target in TARGETS[:steps].astype(dtype):
        updates, state = one(state, params, target)
        params = jax.tree.map(lambda w, u: w - jnp.asarray(0.05, u.dtype) * u, params, updates)
        found.append(as_flat(params))
    return np.stack(found)


# What it is.


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("perturbation", "combination"), EVERY)
def test_every_combination_against_numpy(perturbation, combination):
    transformation = sharpness.sharpness_aware(
        PERTURBATIONS[perturbation](rho=0.3), COMBINATIONS[combination]()
    )
    reference = Reference(
        perturbation, combination, rho=0.3, sigma=0.7, decay=0.6, theta=0.3, gsam_alpha=0.4, b_scale=0.25
    )
    w, expected = np.array(as_flat(start(jnp.float64))), []
    for target in TARGETS:

        def grad(w, target=target):
            return MATRIX @ (w - target) + (w - target) ** 3

        w = w - 0.05 * reference.step(grad(w), w, grad)
        expected.append(w)
    np.testing.assert_allclose(descend(transformation, jnp.float64), expected, rtol=1e-11)


def test_by_hand():
    # g = (3, 4), |g| = 5, e = (0.3, 0.4); s = (3.3, 2.4 * 4.4 - 4).
    params = {"x": jnp.array(3.0), "y": jnp.array([2.0])}

    def grad_fn(p):
        return {"x": p["x"], "y": 4.0 * p["y"] - 4.0}

    def update(transformation):
        found, _ = transformation.update(
            grad_fn(params), transformation.init(params), params, grad_fn=grad_fn
        )
        return [found["x"], found["y"][0]]

    np.testing.assert_allclose(update(sharpness.sam(0.5)), [3.3, 5.6], rtol=1e-6)
    # |w g| = (9, 8), |.| = 12.0416; e = 0.5 * (27, 16) / 12.0416.
    np.testing.assert_allclose(
        update(sharpness.asam(0.5)), [3 + 13.5 / 12.041595, 4 + 32 / 12.041595], rtol=1e-6
    )
    # (g . s) / |s|^2 = 32.3 / 42.25.
    across = np.array([3, 4]) - 32.3 / 42.25 * np.array([3.3, 5.6])
    np.testing.assert_allclose(update(sharpness.gsam(0.5, 0.2)), [3.3, 5.6] - 0.2 * across, rtol=1e-6)


def test_saner_scales_group_b_and_nothing_else():
    first = jnp.array([1.0, 1.0, 1.0, -1.0, -1.0, 0.0, 1.0, 2.0])
    second = jnp.array([1.5, 0.5, -0.5, -0.5, -1.5, 0.5, 0.0, 2.0])
    found = sharpness.saner_combination(0.25)(first, second, 0)
    np.testing.assert_array_equal(found, [1.5, 0.125, -0.5, -0.125, -1.5, 0.5, 0.0, 2.0])


# Limits.


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_without_a_radius_nothing_changes(perturbation):
    # Operation by operation: the compiler may treat two passes in one program differently.
    plain = descend(optax.with_extra_args_support(optax.identity()), jit=False)
    silent = sharpness.sharpness_aware(PERTURBATIONS[perturbation](rho=0.0), COMBINATIONS["saner on gsam"]())
    none = descend(silent, jit=False)
    np.testing.assert_array_equal(none, plain)


@pytest.mark.parametrize("name", ["sam", "gsaner"])
def test_without_a_radius_a_network_is_trained_as_by_sgd(name):
    run = problem.runs()[name]

    def perturb(gradient, state, params, count):
        offset, state = run.perturbation.perturb(gradient, state, params, count)
        return jax.tree.map(lambda e: 0.0 * e, offset), state

    silent = problem.optimizer(
        run._replace(perturbation=sharpness.Perturbation(run.perturbation.init, perturb))
    )
    np.testing.assert_array_equal(network(silent), plain_network())


@functools.cache
def plain_network():
    return network(problem.optimizer(None))


def network(optimizer, steps=3):
    """Three compiled steps of the published problem, in float32."""

    @jax.jit
    def step(params, state, *batch):
        def grad_fn(params):
            return jax.grad(problem.loss)(params, *batch)

        updates, state = optimizer.update(grad_fn(params), state, params, grad_fn=grad_fn)
        return optax.apply_updates(params, updates), state

    params = problem.initial_params()
    state = optimizer.init(params)
    x, y = problem.batches()
    for i in range(steps):
        params, state = step(params, state, x[i], y[i])
    return np.asarray(problem.flat(params))


def test_limits_that_are_another_method():
    # Operation by operation: two compiled programs may round the same formula differently.
    by_operations = functools.partial(descend, jit=False)
    sam, gsam, asam = (by_operations(make(0.3)) for make in (sharpness.sam, sharpness.gsam, sharpness.asam))
    perturbations = sharpness.sam_perturbation(0.3), sharpness.asam_perturbation(0.3)
    masked = sharpness.saner_combination(1.0)
    on_gsam = sharpness.saner_combination(1.0, of=sharpness.gsam_combination(0.01))
    for method, limit in [
        (sam, sharpness.saner(0.3, 1.0)),
        (asam, sharpness.sharpness_aware(perturbations[1], masked)),
        (gsam, sharpness.sharpness_aware(perturbations[0], on_gsam)),
        (sam, sharpness.gsam(0.3, 0.0)),
        (sam, sharpness.friendly_sam(0.3, sigma=0.0)),
        (sam, sharpness.vasso(0.3, theta=1.0)),
    ]:
        np.testing.assert_array_equal(by_operations(limit), method)
    np.testing.assert_allclose(descend(sharpness.saner(0.3, 1.0)), sam, rtol=1e-5, atol=1e-6)
    # The test would be empty if nothing had moved.
    assert not np.allclose(sam, by_operations(sharpness.saner(0.3, 0.5)))
    assert not np.allclose(sam, asam)
    assert not np.allclose(sam, gsam)
    assert not np.allclose(sam, by_operations(sharpness.friendly_sam(0.3)))
    assert not np.allclose(sam, by_operations(sharpness.vasso(0.3)))


def test_shortcuts_are_their_parts():
    pairs = [
        (sharpness.friendly_sam(0.3, 0.7, 0.6), ("friendly", "sam")),
        (sharpness.vasso(0.3, 0.3), ("vasso", "sam")),
        (sharpness.gsam(0.3, 0.4), ("sam", "gsam")),
        (sharpness.saner(0.3, 0.25), ("sam", "saner")),
        (sharpness.asam(0.3), ("asam", "sam")),
    ]

    @jax.jit
    def both(first, second):
        found = []
        for shortcut, (perturbation, combination) in pairs:
            parts = sharpness.sharpness_aware(
                PERTURBATIONS[perturbation](rho=0.3), COMBINATIONS[combination]()
            )
            for transformation in (shortcut, parts):
                _, state = step(transformation, transformation.init(start()), start(), first)
                found.append(as_flat(step(transformation, state, start(), second)[0]))
        return found

    found = both(*TARGETS[:2].astype(np.float32))
    for i in range(0, len(found), 2):
        np.testing.assert_allclose(found[i], found[i + 1], rtol=1e-6)
        assert all(not np.allclose(found[i], other) for other in found[:i])
    assert nox.saner is sharpness.saner


# Hyper-parameters.


def test_schedules_see_the_step_count_from_zero():
    def spike(at):
        return lambda count: jnp.where(count == at, 0.3, 0.0)

    plain, sam = descend(sharpness.sam(0.0)), descend(sharpness.sam(0.3))
    first, third = descend(sharpness.sam(spike(0))), descend(sharpness.sam(spike(2)))
    np.testing.assert_array_equal(first[0], sam[0])
    np.testing.assert_array_equal(third[:2], plain[:2])
    assert np.all(third[2] != plain[2])


@pytest.mark.parametrize(
    ("factory", "values"),
    [
        (sharpness.asam, {"rho": 0.3}),
        (sharpness.friendly_sam, {"rho": 0.3, "sigma": 0.7, "decay": 0.6}),
        (sharpness.vasso, {"rho": 0.3, "theta": 0.4}),
        (sharpness.gsam, {"rho": 0.3, "alpha": 0.2}),
        (sharpness.saner, {"rho": 0.3, "group_b_scale": 0.5}),
    ],
)
def test_numbers_schedules_and_injected_values_agree(factory, values):
    expected = descend(factory(**values), steps=3)
    scheduled = factory(**{name: optax.constant_schedule(value) for name, value in values.items()})
    np.testing.assert_allclose(descend(scheduled, steps=3), expected, rtol=1e-6)
    injected = optax.inject_hyperparams(factory)(**values)
    np.testing.assert_allclose(descend(injected, steps=3), expected, rtol=1e-6)
    assert set(injected.init(start()).hyperparams) == set(values)


def test_a_schedule_inside_another_combination_sees_the_step_too():
    first, second = jnp.array([3.0, 4.0]), jnp.array([5.0, 0.0])

    def alpha(count):
        return 0.1 * jnp.asarray(count, float)

    on_gsam = sharpness.saner_combination(1.0, of=sharpness.gsam_combination(alpha))
    for count in (0, 1, 7):
        expected = sharpness.gsam_combination(0.1 * count)(first, second, count=0)
        np.testing.assert_allclose(on_gsam(first, second, count=jnp.asarray(count)), expected, rtol=1e-6)


def test_injected_schedules_and_static_arguments():
    scale = optax.linear_schedule(1.0, 0.0, 4)
    expected = descend(sharpness.saner(0.3, scale))
    injected = optax.inject_hyperparams(sharpness.saner)(0.3, scale)
    static = optax.inject_hyperparams(sharpness.saner, static_args="group_b_scale")(0.3, scale)
    np.testing.assert_allclose(descend(injected), expected, rtol=1e-6)
    np.testing.assert_allclose(descend(static), expected, rtol=1e-6)
    parts = sharpness.sam_perturbation(0.3), sharpness.saner_combination(scale)
    whole = optax.inject_hyperparams(sharpness.sharpness_aware, static_args=("perturbation", "combination"))(
        *parts
    )
    np.testing.assert_allclose(descend(whole), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sharpness.sam(-0.1), r"rho must be in \[0.0, inf\), got -0.1"),
        (lambda: sharpness.asam(float("nan")), "rho must be in"),
        (lambda: sharpness.sam(np.array([0.1, 0.2])), r"rho must be a scalar, got shape \(2,\)"),
        (lambda: sharpness.friendly_sam(sigma=-1.0), "sigma must be in"),
        (lambda: sharpness.friendly_sam(decay=1.5), "decay must be in"),
        (lambda: sharpness.vasso(theta=1.5), "theta must be in"),
        (lambda: sharpness.gsam(alpha=-1.0), "alpha must be in"),
        (lambda: sharpness.saner(group_b_scale=-0.5), "group_b_scale must be in"),
    ],
)
def test_ranges(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_derivative_with_respect_to_a_hyperparameter():
    first, second = jnp.array([1.0, 1.0]), jnp.array([0.5, 2.0])

    def total(scale):
        transformation = sharpness.saner(0.3, scale)
        state = transformation.init(first)
        return jnp.sum(transformation.update(first, state, first, grad_fn=lambda _: second)[0])

    assert jax.jit(jax.value_and_grad(total))(0.25) == (2.125, 0.5)


# Odd numbers.


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_zeros_give_no_nan(perturbation):
    transformation = sharpness.sharpness_aware(
        PERTURBATIONS[perturbation](rho=0.3), COMBINATIONS["saner on gsam"]()
    )

    @jax.jit
    def update(params, gradient, second):
        seen = []

        def grad_fn(perturbed):
            seen.append(perturbed)
            return second

        state = transformation.init(params)
        return transformation.update(gradient, state, params, grad_fn=grad_fn), seen[0]

    some = jnp.array([1.0, -2.0, 0.0]), jnp.array([1.0, 0.0, -3.0]), jnp.array([0.0, 2.0, -3.0])
    for keep in itertools.product([0.0, 1.0], repeat=3):
        params, gradient, second = (k * x for k, x in zip(keep, some, strict=True))
        found, perturbed = update(params, gradient, second)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((found, perturbed)))
        assert np.array_equal(perturbed, params) == (
            keep[1] == 0 or (perturbation == "asam" and keep[0] == 0)
        )


@pytest.mark.parametrize("size", [1e-38, 1.2e-38, 1e-30, 1e-19, 1e19, 1e30, 3e38])
def test_norms_near_the_ends_of_the_range(size):
    gradient = {"x": jnp.float32(size) * jnp.array([1.0, -1.0]), "y": jnp.zeros(1)}
    e, _ = jax.jit(sharpness.sam_perturbation(0.1).perturb)(gradient, optax.EmptyState(), gradient, 0)
    # Below the smallest normal number a gradient counts as zero.
    length = 0.1 if size > 1.18e-38 else 0.0
    np.testing.assert_allclose(e["x"], np.array([1, -1]) * length / np.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize("w", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("g", [1e-30, 1.0, 1e30])
def test_adaptive_ascent_near_the_ends_of_the_range(w, g):
    params, gradient = w * jnp.array([1.0, -2.0]), g * jnp.array([4.0, 2.0])
    e, _ = jax.jit(sharpness.asam_perturbation(0.5).perturb)(gradient, optax.EmptyState(), params, 0)
    # w^2 g / |w g| = (4, 8) / sqrt(32) in units of w.
    np.testing.assert_allclose(e / np.float32(w), 0.5 * np.array([4, 8]) / np.sqrt(32), rtol=1e-5)


@pytest.mark.parametrize("size", [1e-37, 1e-25, 1e25, 1e37])
def test_gsam_near_the_ends_of_the_range(size):
    first, second = size * jnp.array([3.0, 4.0]), size * jnp.array([5.0, 0.0])
    found = jax.jit(sharpness.gsam_combination(0.5))(first, second, 0)
    np.testing.assert_allclose(found / np.float32(size), [5.0, -2.0], rtol=1e-6)
    # Also where one gradient is smaller by more than a float's range.
    apart = jax.jit(sharpness.gsam_combination(0.5))(first, jnp.array([1e-37, 0.0]), 0)
    np.testing.assert_allclose(apart[1] / np.float32(size), -2.0, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-37, 1e-25, 1.0, 1e37])
def test_group_b_is_found_among_the_smallest_components(size):
    # Products of two such numbers vanish or overflow, and 1e-8 added to one swamps it.
    first = np.float32(size) * jnp.array([1.0, -1.0, 1.0, 1.0])
    second = np.float32(size) * jnp.array([0.5, -0.5, -0.5, 2.0])
    found = jax.jit(sharpness.saner_combination(0.5))(first, second, 0)
    np.testing.assert_array_equal(found / np.float32(size), np.array([0.25, -0.25, -0.5, 2.0], np.float32))


@hypothesis.given(st.integers(-60, 60), st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3))
def test_the_perturbation_depends_on_direction_only(power, direction):
    gradient = np.array(direction, np.float32)
    hypothesis.assume(np.all((gradient == 0) | (np.abs(gradient) > 1e-10)))
    perturb = sharpness.sam_perturbation(0.1).perturb
    e, _ = perturb(jnp.asarray(gradient), optax.EmptyState(), None, 0)
    scaled, _ = perturb(jnp.asarray(np.ldexp(gradient, power)), optax.EmptyState(), None, 0)
    np.testing.assert_array_equal(e, scaled)
    expected = 0.1 if np.any(gradient) else 0.0
    np.testing.assert_allclose(np.linalg.norm(np.asarray(e, np.float64)), expected, rtol=1e-6)


LEAVES = st.tuples(
    st.sampled_from([(), (3,), (2, 2), (0,)]), st.sampled_from([jnp.bfloat16, jnp.float16, jnp.float32])
)


@pytest.mark.slow
@pytest.mark.parametrize(("perturbation", "combination"), EVERY)
@hypothesis.given(
    leaves=st.lists(LEAVES, max_size=3),
    seed=st.integers(0, 99),
    power=st.sampled_from([-120, -20, 0, 10]),
    vanishing=st.sampled_from(["none", "first", "second", "both"]),
)
def test_any_tree_of_any_types(perturbation, combination, leaves, seed, power, vanishing):
    rng = np.random.default_rng(seed)

    def tree(size):
        return [jnp.asarray(size * rng.normal(size=shape), dtype) for shape, dtype in leaves]

    params = tree(1.0)
    first, second = (
        tree(0.0 if vanishing in (which, "both") else 2.0**power) for which in ("first", "second")
    )
    perturbed = []

    def grad_fn(at):
        perturbed.append(at)
        return second

    transformation = sharpness.sharpness_aware(
        PERTURBATIONS[perturbation](rho=0.1), COMBINATIONS[combination]()
    )
    state = transformation.init(params)
    updates, state = transformation.update(first, state, params, grad_fn=grad_fn)
    assert [(x.shape, x.dtype) for x in updates] == [(x.shape, x.dtype) for x in params]
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves((updates, state, perturbed)))
    if vanishing == "both":
        assert not any(np.any(x) for x in updates)
    if vanishing == "none" and perturbation == "sam" and all(dtype == jnp.float32 for _, dtype in leaves):
        moved = [np.ravel(a - b) for a, b in zip(perturbed[0], params, strict=True)]
        expected = 0.1 if any(np.any(x) for x in first) and power > -126 else 0.0
        np.testing.assert_allclose(
            np.linalg.norm(np.concatenate([*moved, []])), expected, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_can_be_skipped(bad):
    optimizer = optax.apply_if_finite(optax.chain(sharpness.vasso(0.1), optax.sgd(0.1)), 5)
    params, state = start(), optimizer.init(start())

    def grad_fn(params):
        return quartic_gradient(params, jnp.asarray(TARGETS[0], jnp.float32))

    _, state = optimizer.update(grad_fn(params), state, params, grad_fn=grad_fn)
    spoiled = jax.tree.map(lambda g: g.at[0].set(bad), grad_fn(params))
    updates, skipped = jax.jit(functools.partial(optimizer.update, grad_fn=grad_fn))(spoiled, state, params)
    assert not np.any(as_flat(updates))
    chex.assert_trees_all_equal(skipped.inner_state, state.inner_state)
    updates, _ = optimizer.update(grad_fn(params), skipped, params, grad_fn=grad_fn)
    assert np.all(as_flat(updates) != 0)


# Half precision.


def cosine(a, b):
    a, b = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_perturbations_of_half_precision_parameters_are_not_rounded_away():
    dtype = jnp.bfloat16
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=1000), dtype)
    gradient = jnp.asarray(rng.normal(size=1000), dtype)
    seen = []

    def grad_fn(perturbed):
        seen.append(perturbed)
        return perturbed

    transformation = sharpness.sam(0.05)
    updates, _ = transformation.update(gradient, transformation.init(params), params, grad_fn=grad_fn)
    assert seen[0].dtype == jnp.float32
    assert updates.dtype == dtype
    moved = np.asarray(seen[0], np.float64) - np.asarray(params, np.float64)
    assert cosine(moved, gradient) > 0.9999
    np.testing.assert_allclose(np.linalg.norm(moved), 0.05, rtol=1e-3)
    # What w + e would be in half precision.
    rounded = np.asarray(seen[0].astype(dtype), np.float64) - np.asarray(params, np.float64)
    assert cosine(rounded, gradient) < 0.9


@jax.numpy_dtype_promotion("standard")
@pytest.mark.parametrize("name", ["friendly", "vasso"])
def test_running_means_are_kept_in_float32(name):
    transformation = sharpness.sharpness_aware(PERTURBATIONS[name](rho=0.1), sharpness.gsam_combination(0.1))
    params = jnp.ones(3, jnp.bfloat16)
    state = transformation.init(params)
    gradient = jnp.full(3, 0.1, jnp.bfloat16)
    updates, new = transformation.update(gradient, state, params, grad_fn=lambda w: w)
    assert state.perturbation.mean.dtype == new.perturbation.mean.dtype == jnp.float32
    assert updates.dtype == jnp.bfloat16


@pytest.mark.usefixtures("x64")
def test_double_precision_beside_single():
    params = {"x": jnp.ones(2, jnp.float32), "y": jnp.full(2, 2.0, jnp.float64)}
    transformation = sharpness.sharpness_aware(
        sharpness.friendly_sam_perturbation(0.1), COMBINATIONS["saner on gsam"]()
    )
    state = transformation.init(params)
    updates = jax.eval_shape(lambda: transformation.update(params, state, params, grad_fn=lambda w: w)[0])
    assert jax.tree.map(lambda x: x.dtype, updates) == jax.tree.map(lambda x: x.dtype, params)


# Refusals.


def test_says_what_is_missing():
    transformation, params = nox.saner(), jnp.ones(2)
    state = transformation.init(params)
    with pytest.raises(ValueError, match="expected the keyword grad_fn, got None; call update"):
        transformation.update(params, state, params)
    with pytest.raises(ValueError, match="expected params, got None; call update"):
        transformation.update(params, state, grad_fn=jnp.cos)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"x": jnp.ones(2)}, "the second gradient must have the structure of the parameters"),
        (({"x": jnp.ones(2), "y": jnp.ones(3)}, "aux"), "the second gradient must have the structure"),
        ({"x": jnp.ones(2), "y": jnp.ones(1)}, r"must have the shapes of the parameters: \(3,\) at \['y'\]"),
    ],
)
def test_refuses_a_second_gradient_of_another_shape(second, message):
    transformation, params = nox.saner(), {"x": jnp.ones(2), "y": jnp.ones(3)}
    state = transformation.init(params)
    with pytest.raises(ValueError, match=message):
        transformation.update(params, state, params, grad_fn=lambda _: second)


def test_refuses_an_incoming_gradient_of_another_shape():
    transformation, params = nox.saner(), {"x": jnp.ones(2)}
    state = transformation.init(params)
    with pytest.raises(ValueError, match="the incoming gradient must have the shapes"):
        transformation.update({"x": jnp.ones((4, 2))}, state, params, grad_fn=lambda p: p)


def test_masks_belong_behind():
    params = {"x": jnp.ones(2), "y": jnp.ones(3)}
    mask = {"x": True, "y": False}
    labels = {"x": "sam", "y": "none"}
    for wrapped in (
        optax.masked(nox.saner(), mask),
        optax.multi_transform({"sam": nox.saner(), "none": optax.set_to_zero()}, labels),
    ):
        with pytest.raises(ValueError, match="give them the mask themselves"):
            wrapped.init(params)
    # As the sentence says.
    optimizer = optax.chain(nox.saner(), optax.masked(optax.add_decayed_weights(1.0), mask))
    updates, _ = optimizer.update(params, optimizer.init(params), params, grad_fn=lambda p: p)
    np.testing.assert_allclose(updates["x"] - updates["y"][:2], 1.0, rtol=1e-5)
    # A mask that hides nothing is fine.
    whole = optax.masked(nox.saner(), {"x": True, "y": True})
    found, _ = whole.update(params, whole.init(params), params, grad_fn=lambda p: p)
    np.testing.assert_allclose(found["y"], updates["y"], rtol=1e-6)


def test_empty_trees_and_missing_leaves():
    for params in ({}, {"x": jnp.ones(2), "frozen": None}):
        for perturbation in PERTURBATIONS.values():
            transformation = sharpness.sharpness_aware(perturbation(rho=0.1), COMBINATIONS["saner on gsam"]())
            updates, _ = transformation.update(
                params, transformation.init(params), params, grad_fn=lambda p: p
            )
            assert jax.tree.structure(updates) == jax.tree.structure(params)


# Frozen parameters.

FROZEN = {"frozen": jnp.array([1.0, -2.0]), "head": jnp.array([3.0, 0.5, -1.0])}


def of_both(params):
    return jnp.sum(jnp.sin(params["head"]) * (1 + jnp.sum(params["frozen"] ** 2))) + jnp.sum(params["frozen"])


@pytest.mark.parametrize(
    "make",
    [
        lambda **mask: sharpness.sam(0.5, **mask),
        lambda **mask: sharpness.asam(0.5, **mask),
        lambda **mask: sharpness.friendly_sam(0.5, **mask),
        lambda **mask: sharpness.vasso(0.5, **mask),
        lambda **mask: sharpness.gsam(0.5, 0.3, **mask),
        lambda **mask: nox.saner(0.5, 0.5, **mask),
    ],
)
@pytest.mark.parametrize("mask", [{"frozen": False, "head": True}, lambda p: {"frozen": False, "head": True}])
def test_frozen_parameters_stay_and_the_others_are_as_if_they_were_alone(make, mask):
    transformation, alone = make(mask=mask), make()
    state, alone_state = transformation.init(FROZEN), alone.init(FROZEN["head"])
    seen = []

    def grad_fn(params):
        seen.append(params)
        return jax.grad(of_both)(params)

    def of_head(head):
        return jax.grad(lambda head: of_both({**FROZEN, "head": head}))(head)

    for step in range(2):
        updates, state = transformation.update(jax.grad(of_both)(FROZEN), state, FROZEN, grad_fn=grad_fn)
        expected, alone_state = alone.update(
            of_head(FROZEN["head"]), alone_state, FROZEN["head"], grad_fn=of_head
        )
        np.testing.assert_array_equal(seen[-1]["frozen"], FROZEN["frozen"])
        np.testing.assert_array_equal(updates["frozen"], 0)
        np.testing.assert_allclose(updates["head"], expected, rtol=1e-5)
        # The second gradient is no news to Friendly-SAM.
        assert step == 1 or np.linalg.norm(seen[-1]["head"] - FROZEN["head"]) > 0.1


def test_a_mask_of_another_structure_is_refused():
    transformation = nox.saner(mask={"head": True})
    with pytest.raises(ValueError, match="mask must be a pytree of booleans like the parameters"):
        transformation.update(FROZEN, transformation.init(FROZEN), FROZEN, grad_fn=lambda params: params)


# Leaves that are no real arrays.


def test_python_numbers_are_parameters():
    for make in (sharpness.sam, sharpness.friendly_sam):
        transformation, params = make(0.1), {"w": 2.0}
        grad_fn = jax.grad(lambda p: 0.5 * p["w"] ** 2)
        updates, _ = transformation.update(
            grad_fn(params), transformation.init(params), params, grad_fn=grad_fn
        )
        np.testing.assert_allclose(updates["w"], 2.1, rtol=1e-6)


@pytest.mark.parametrize("leaf", [jnp.array(3), jnp.ones(2, jnp.complex64)])
@pytest.mark.parametrize("make", [sharpness.sam, sharpness.friendly_sam])
def test_integers_and_complex_numbers_are_refused_by_name(leaf, make):
    with pytest.raises(TypeError, match=rf"expected floating parameters, got {leaf.dtype} at \['odd'\]"):
        make(0.1).init({"w": jnp.ones(2), "odd": leaf})


def test_the_parts_by_hand_are_the_update():
    transformation, params = nox.saner(0.5, 0.5), {"x": jnp.array([1.0, 2.0, -0.5])}
    grad_fn = jax.grad(lambda p: -jnp.sum(jnp.cos(p["x"])))
    first, state = grad_fn(params), transformation.init(params)
    expected, expected_state = transformation.update(first, state, params, grad_fn=grad_fn)
    perturbed, state = transformation.perturb(first, state, params)
    found, state = transformation.combine(first, grad_fn(perturbed), state, params)
    chex.assert_trees_all_equal((found, state), (expected, expected_state))
