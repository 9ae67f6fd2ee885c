"""The speed-run network: its frozen filters, its first weights, its size, and what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config import Augmentation, Experiment, Model, Optimization
from experiments.models.build import build as build_network
from experiments.models.speedrun import fit_whitening, identity_first, whitening_filters
from experiments.terminal import UserError
from experiments.training import epoch_loops, evaluation, setup, steps, training_data


@pytest.fixture(scope="module")
def images():
    """Smooth noise, whose neighbouring pixels and channels go together."""
    rough = np.random.default_rng(0).normal(size=(20, 19, 19, 3))
    smooth = sum(rough[:, i : i + 16, j : j + 16] for i in range(4) for j in range(4)) / 4
    return (smooth + smooth.mean(axis=-1, keepdims=True)).astype(np.float32)


def convolve(images, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return np.asarray(jax.lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=layout))


def test_the_filters_whiten(images):
    answers = convolve(images, whitening_filters(images)).reshape(-1, 24).astype(np.float64)
    second_moments = answers.T @ answers / len(answers)
    # Variances of 1, except for the epsilon that keeps small ones from being blown up; nothing goes together.
    assert np.all((np.diag(second_moments) > 0.9) & (np.diag(second_moments) <= 1 + 1e-4))
    half = second_moments[:12, :12]
    np.testing.assert_allclose(half - np.diag(np.diag(half)), 0, atol=1e-4)
    np.testing.assert_allclose(answers[:, 12:], -answers[:, :12], atol=1e-4)


def test_an_identity_hands_the_channels_on():
    kernel = identity_first(jax.random.key(0), (3, 3, 4, 6), jnp.float32)
    images = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype(np.float32)
    layout = ("NHWC", "HWIO", "NHWC")
    found = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=layout)
    np.testing.assert_allclose(found[..., :4], images, rtol=1e-6)
    assert np.ptp(kernel[..., 4:]) > 0.1


def build(width=8, size=16, precision="float32"):
    return build_network(Model("speedrun", width=width, precision=precision), (size, size, 3), 10)


def test_parameters_by_hand():
    params, statistics = jax.eval_shape(build(256, 32).init, jax.random.key(0))
    convolutions = [(24, 64), (64, 64), (64, 256), (256, 256), (256, 256), (256, 256)]
    expected = 24 + sum(9 * a * b + b for a, b in convolutions) + 256 * 10
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    # Means and variances, and the frozen filters.
    assert sum(leaf.size for leaf in jax.tree.leaves(statistics)) == 2 * 3 * 2 * 192 + 2 * 2 * 3 * 24


def test_the_filters_of_the_training_pictures_stay_as_they_are(images):
    experiment = Experiment(
        model=Model("speedrun", width=8), optimization=Optimization(batch_size=10), seeds=2
    )
    given = np.tile(np.arange(20) % 10, (2, 1)).astype(np.int32)
    parts = setup.assemble("cross_entropy", experiment, (16, 16, 3), 10, 20)
    inputs = training_data.measure_inputs(images, scaling="standardize")
    drawn = setup.initial_state(parts, training_data.seed_keys(experiment))
    state = setup.fit_network(parts, drawn, images, inputs)
    expected = whitening_filters(np.asarray(steps.prepare(inputs, jnp.asarray(images))))
    for seed in range(2):
        np.testing.assert_array_equal(state.statistics["whitening"]["kernel"][...][seed], expected)
    before = jax.device_get((drawn.params, drawn.statistics["whitening"]["kernel"][...]))
    run_epoch, _ = epoch_loops.compile_loops(parts, experiment)
    after, _ = run_epoch(state, inputs, images, given, training_data.seed_keys(experiment)["order"])
    np.testing.assert_array_equal(after.statistics["whitening"]["kernel"][...][1], expected)
    moved = jax.tree.map(lambda old, new: bool(np.any(old != np.asarray(new))), before[0], after.params)
    assert all(jax.tree.leaves(moved))
    # What was drawn is not written into.
    np.testing.assert_array_equal(before[1], drawn.statistics["whitening"]["kernel"][...])


def test_bfloat16_is_close_to_float32(images):
    single, half = build(), build(precision="bfloat16")
    params, statistics = single.init(jax.random.key(0))
    statistics = fit_whitening(statistics, images)
    expected, new = single.apply(params, statistics, images, train=True)
    found, new_half = half.apply(params, statistics, images, train=True)
    assert found.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((params, new_half)))
    # Eight bits of a mantissa, through six layers.
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()
    for one, other in zip(jax.tree.leaves(new), jax.tree.leaves(new_half), strict=True):
        np.testing.assert_allclose(one, other, atol=0.05)


def test_a_mirror_image_is_predicted_alike_and_in_between(images):
    experiment = Experiment(
        model=Model("speedrun", width=8), augmentation=Augmentation(evaluate_flipped=True)
    )
    parts = setup.assemble("cross_entropy", experiment, (16, 16, 3), 10, 20)
    params, statistics = parts.network.init(jax.random.key(0))
    plain = parts._replace(evaluate_flipped=False)
    mirrored = images[:, :, ::-1]
    found, of_mirrored = (
        evaluation.predicted_logits(parts, params, statistics, x) for x in (images, mirrored)
    )
    one, other = (evaluation.predicted_logits(plain, params, statistics, x) for x in (images, mirrored))
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_allclose(found, of_mirrored, atol=1e-6)
    np.testing.assert_allclose(found, (one + other) / 2, atol=1e-6)


def test_what_it_cannot_take_is_refused():
    with pytest.raises(UserError, match="at least 16x16 pixels, got 8x16"):
        build_network(Model("speedrun"), (8, 16, 3), 10)
    flipped = Experiment(augmentation=Augmentation(evaluate_flipped=True))
    with pytest.raises(UserError, match=r"--evaluate-flipped needs images \[N, H, W, C\], got \[N, 5\]"):
        setup.assemble("cross_entropy", flipped, (5,), 10, 100)
