"""Per-example and weighted gradients: against loops over single examples, in bounded memory."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox

RNG = np.random.default_rng(0)
PARAMS = {"w": RNG.normal(size=(4, 3)).astype(np.float32), "b": RNG.normal(size=3).astype(np.float32)}
X, Y = RNG.normal(size=(10, 4)).astype(np.float32), RNG.integers(0, 3, 10).astype(np.int32)
WEIGHTS = RNG.random(10).astype(np.float32)


def losses(params, batch, labels):
    return nox.losses.cross_entropy(batch["x"] @ params["w"] + params["b"][None], labels)


def losses_with_logits(params, batch, labels):
    logits = batch["x"] @ params["w"] + params["b"][None]
    return nox.losses.cross_entropy(logits, labels), {"logits": logits}


def one_by_one():
    gradients = [
        jax.grad(lambda p, i=i: losses(p, {"x": X[i : i + 1]}, Y[i : i + 1])[0])(PARAMS) for i in range(10)
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *gradients)


def assert_close(found, expected):
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 1, 3, 5, 10, 64])
def test_gradients_are_those_of_single_examples(chunk_size):
    gradients = jax.jit(nox.per_example_gradients(losses, chunk_size=chunk_size))
    assert_close(gradients(PARAMS, {"x": X}, Y), one_by_one())


@pytest.mark.parametrize("chunk_size", [pytest.param(None, marks=pytest.mark.slow), 3])
def test_auxiliary_outputs_keep_their_order(chunk_size):
    gradients = nox.per_example_gradients(losses_with_logits, has_aux=True, chunk_size=chunk_size)
    found, aux = gradients(PARAMS, {"x": X}, Y)
    assert_close(found, one_by_one())
    assert_close(aux, losses_with_logits(PARAMS, {"x": X}, Y)[1])


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_what_is_kept_is_made_of_each_gradient(chunk_size):
    norms = nox.per_example_gradients(losses, chunk_size=chunk_size, keep=optax.tree.norm)
    expected = np.sqrt(sum(np.sum(leaf.reshape(10, -1) ** 2, axis=1) for leaf in one_by_one().values()))
    np.testing.assert_allclose(norms(PARAMS, {"x": X}, Y), expected, rtol=1e-6)


@pytest.mark.parametrize("chunk_size", [None, 1, 3, 5, 64])
def test_weighted_gradient_is_the_weighted_sum(chunk_size):
    gradient = jax.jit(nox.weighted_gradient(losses, chunk_size=chunk_size))
    expected = jax.tree.map(lambda leaf: np.tensordot(WEIGHTS, leaf, 1), one_by_one())
    assert_close(gradient(PARAMS, WEIGHTS, {"x": X}, Y), expected)


def test_no_gradient_flows_through_the_weights():
    def total(params):
        weights = nox.losses.cross_entropy(X @ params["w"], Y)
        return nox.weighted_gradient(losses)(params, weights, {"x": X}, Y)

    weights = nox.losses.cross_entropy(X @ PARAMS["w"], Y)
    assert_close(total(PARAMS), jax.tree.map(lambda g: np.tensordot(weights, g, 1), one_by_one()))


@pytest.mark.parametrize("chunk_size", [None, 1])
def test_each_device_has_its_own_examples(chunk_size):
    automatic = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2], axis_types=automatic)
    split, same = jax.P("data"), jax.P()

    def both(params, weights, x, y):
        gradients = nox.per_example_gradients(losses, chunk_size=chunk_size)(params, {"x": x}, y)
        total = nox.weighted_gradient(losses, chunk_size=chunk_size)(params, weights, {"x": x}, y)
        return gradients, jax.lax.psum(total, "data")

    sharded = jax.jit(
        jax.shard_map(both, mesh=mesh, in_specs=(same, split, split, split), out_specs=(split, same))
    )
    gradients, total = sharded(PARAMS, WEIGHTS, X, Y)
    assert_close(gradients, one_by_one())
    assert_close(total, jax.tree.map(lambda g: np.tensordot(WEIGHTS, g, 1), one_by_one()))


def test_half_precision_sums_in_float32():
    params, ones = jnp.zeros((), jnp.bfloat16), jnp.ones(1024)
    gradient = nox.weighted_gradient(lambda w, x: w.astype(jnp.float32) * x, chunk_size=1)
    found = gradient(params, ones, ones)
    assert (found, found.dtype) == (1024, jnp.bfloat16)


def test_memory_is_bounded_by_the_chunk():
    width, size = 256, 64
    params = jax.ShapeDtypeStruct((width, width), jnp.float32)
    x = jax.ShapeDtypeStruct((size, width), jnp.float32)

    def of_square(w, x):
        return jnp.sum((x @ w) ** 2, axis=-1)

    def temporary(chunk_size, keep):
        gradients = nox.per_example_gradients(of_square, chunk_size=chunk_size, keep=keep)
        return jax.jit(gradients).lower(params, x).compile().memory_analysis().temp_size_in_bytes

    def spread(gradient):
        # Needs all of a gradient at a time, unlike a sum, which the compiler fuses into its making.
        return jnp.linalg.norm(jnp.sort(gradient.ravel()))

    small, large = temporary(4, spread), temporary(size, spread)
    one_gradient = 4 * width * width
    assert small < 4 * 4 * one_gradient
    assert large > size * one_gradient


def test_batch_normalisation_is_found_out():
    def normalised(w, x):
        h = x @ w
        return jnp.sum((h - h.mean(0)[None]) / h.std(0)[None], axis=-1)

    with pytest.raises(ValueError, match=r"the model mixes examples.*use group or layer normalisation"):
        nox.check_examples_independent(normalised, PARAMS["w"], X)
    nox.check_examples_independent(losses, PARAMS, {"x": X}, Y)
    spoiled = np.where(np.arange(10) == 4, 99, Y).astype(np.int32)
    nox.check_examples_independent(losses, PARAMS, {"x": X}, spoiled)


def test_refuses_what_is_not_per_example():
    with pytest.raises(ValueError, match=r"chunk_size must be in \[1, inf\), got 0"):
        nox.per_example_gradients(losses, chunk_size=0)
    with pytest.raises(
        ValueError, match=r"one leading axis over the examples, got shapes \[\(10, 4\), \(9,\)"
    ):
        nox.per_example_gradients(losses)(PARAMS, {"x": X}, Y[:9])
    with pytest.raises(
        ValueError, match=r"one value per example, shape \(1,\), got \(\); leave out the mean"
    ):
        nox.per_example_gradients(lambda p, x, y: jnp.mean(losses(p, x, y)))(PARAMS, {"x": X}, Y)
    with pytest.raises(ValueError, match=r"one value per example, shape \(10,\), got \(\)"):
        nox.weighted_gradient(lambda p, x, y: jnp.mean(losses(p, x, y)))(PARAMS, WEIGHTS, {"x": X}, Y)
    with pytest.raises(ValueError, match="expected a batch of at least 2 examples, got 1"):
        nox.check_examples_independent(losses, PARAMS, {"x": X[:1]}, Y[:1])
    with pytest.raises(ValueError, match="one leading axis over the examples"):
        nox.weighted_gradient(losses)(PARAMS, WEIGHTS[:9], {"x": X}, Y)
