"""m-sharpness: one perturbation and one mask per chunk, one state for all."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noisy_optax import sharpness

EXAMPLES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
PARAMS = jnp.asarray(np.random.default_rng(1).normal(size=5), jnp.float32)
SCALES = jnp.asarray(np.linspace(0.5, 2.0, 5), jnp.float32)


def grad_fn(params, chunk):
    distance = SCALES[None] * params[None] - chunk
    # The loss curves both ways: uphill some components grow and some, which SANER masks, shrink.
    return jnp.mean(SCALES[None] * jnp.sin(distance), axis=0)


def whole(transformation, state, params, batch):
    def second(params):
        return grad_fn(params, batch)

    return transformation.update(second(params), state, params, grad_fn=second)


def chunked(transformation, state, params, batch, size, **extra_args):
    chunks = sharpness.split_chunks(batch, size)
    gradients = jax.vmap(grad_fn, (None, 0))(params, chunks)
    m = sharpness.m_sharpness(transformation)
    return m.update(gradients, state, params, grad_fn=grad_fn, chunks=chunks, **extra_args)


@pytest.mark.parametrize("size", [1, 4])
def test_is_the_mean_over_chunks_of_separate_updates(size):
    transformation = sharpness.saner(0.3, 0.1)
    state = transformation.init(PARAMS)
    found, new = jax.jit(lambda x: chunked(transformation, state, PARAMS, x, size))(EXAMPLES)
    one = jax.jit(lambda x: whole(transformation, state, PARAMS, x)[0])
    separate = np.stack([one(chunk) for chunk in EXAMPLES.reshape(-1, size, 5)])
    np.testing.assert_allclose(found, separate.mean(0), rtol=1e-5, atol=1e-6)
    assert new.count == 1
    # Neither the perturbation nor the mask is that of the whole batch.
    assert not np.allclose(found, one(EXAMPLES), rtol=1e-2)
    sam = sharpness.sam(0.3)
    unmasked = np.stack([whole(sam, state, PARAMS, chunk)[0] for chunk in EXAMPLES.reshape(-1, size, 5)])
    assert not np.allclose(separate, unmasked, rtol=1e-2)


def test_one_chunk_is_the_plain_method():
    transformation = sharpness.saner(0.3, 0.1)
    state = transformation.init(PARAMS)
    found, _ = chunked(transformation, state, PARAMS, EXAMPLES, 12)
    np.testing.assert_allclose(found, whole(transformation, state, PARAMS, EXAMPLES)[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["friendly_sam", "vasso"])
def test_running_means_are_those_of_whole_batches(name):
    transformation = getattr(sharpness, name)(rho=0.3)
    split = together = sharpness.m_sharpness(transformation).init(PARAMS)
    for step in range(3):
        params = PARAMS + 0.1 * step
        _, split = chunked(transformation, split, params, EXAMPLES, 3)
        _, together = whole(transformation, together, params, EXAMPLES)
    assert split.count == together.count == 3
    np.testing.assert_allclose(split.perturbation.mean, together.perturbation.mean, rtol=1e-5)


def test_in_a_chain_under_jit():
    optimizer = optax.chain(sharpness.m_sharpness(sharpness.vasso(0.3)), optax.sgd(0.1, momentum=0.9))
    state = optimizer.init(PARAMS)
    chunks = sharpness.split_chunks({"x": EXAMPLES}, 4)

    @jax.jit
    def step(params, state):
        def chunk_gradient(params, chunk):
            return grad_fn(params, chunk["x"])

        gradients = jax.vmap(chunk_gradient, (None, 0))(params, chunks)
        return optimizer.update(gradients, state, params, grad_fn=chunk_gradient, chunks=chunks)

    updates, new = step(PARAMS, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new)
    assert updates.shape == PARAMS.shape


def test_splits_every_array():
    keys = jax.random.split(jax.random.key(0), 6)
    images, labels, keys = sharpness.split_chunks((np.zeros((6, 2, 2)), np.arange(6), keys), size=3)
    assert (images.shape, labels.shape, keys.shape) == ((2, 3, 2, 2), (2, 3), (2, 3))
    np.testing.assert_array_equal(labels, [[0, 1, 2], [3, 4, 5]])


def test_refusals():
    for batch, size in [(np.zeros(7), 3), (np.zeros(6), 0), (np.float32(1), 1)]:
        with pytest.raises(ValueError, match="leading axis divides into chunks"):
            sharpness.split_chunks(batch, size)
    transformation = sharpness.m_sharpness(sharpness.sam())
    state, gradients, chunks = transformation.init(PARAMS), jnp.zeros((3, 5)), jnp.zeros((3, 4, 5))
    with pytest.raises(ValueError, match="expected the keyword chunks"):
        transformation.update(gradients, state, PARAMS, grad_fn=grad_fn)
    with pytest.raises(ValueError, match="expected the keyword grad_fn"):
        transformation.update(gradients, state, PARAMS, chunks=chunks)
    with pytest.raises(ValueError, match="same leading axis over chunks, got shapes"):
        transformation.update(gradients, state, PARAMS, grad_fn=grad_fn, chunks=chunks[:2])
    with pytest.raises(ValueError, match="the incoming gradient must have the shapes"):
        transformation.update(chunks, state, PARAMS, grad_fn=grad_fn, chunks=chunks)
