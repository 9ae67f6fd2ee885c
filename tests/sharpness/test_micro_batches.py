"""micro_batch_grad_fn: gradients in parts, and sharpness-aware minimization over them by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from noisy_optax import losses, sharpness

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
LABELS = np.arange(12, dtype=np.int32) % 4
PARAMS = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)), jnp.float32)


def loss_fn(params, x, labels):
    return jnp.mean(losses.cross_entropy(x @ params, labels))


MICRO = jax.tree.map(lambda x: jnp.asarray(x).reshape(4, 3, *x.shape[1:]), (X, LABELS))


def micro_gradient(params, micro_batch):
    return jax.grad(loss_fn)(params, *micro_batch)


def test_the_mean_over_micro_batches_is_the_gradient_of_the_batch():
    found = jax.jit(sharpness.micro_batch_grad_fn(micro_gradient, MICRO))(PARAMS)
    np.testing.assert_allclose(found, micro_gradient(PARAMS, (X, LABELS)), rtol=1e-5, atol=1e-7)
    skipped = jax.jit(sharpness.micro_batch_grad_fn(micro_gradient, MICRO, when=False))(PARAMS)
    np.testing.assert_array_equal(skipped, np.zeros_like(PARAMS))
    half = sharpness.micro_batch_grad_fn(lambda p, b: micro_gradient(p, b).astype(jnp.bfloat16), MICRO)
    assert half(PARAMS).dtype == jnp.float32


def accumulate(transformation, rounds=2):
    """`rounds` whole batches of 4 micro-batches under MultiSteps."""
    optimizer = optax.MultiSteps(optax.chain(transformation, optax.sgd(0.1, momentum=0.9)), 4)

    @jax.jit
    def step(params, state, micro_batch):
        second = sharpness.micro_batch_grad_fn(micro_gradient, MICRO, when=state.mini_step == 3)
        gradient = micro_gradient(params, micro_batch)
        updates, state = optimizer.update(gradient, state, params, grad_fn=second)
        return optax.apply_updates(params, updates), state

    params = PARAMS
    state = optimizer.init(params)
    for _ in range(rounds):
        for i in range(4):
            params, state = step(params, state, jax.tree.map(lambda x, i=i: x[i], MICRO))
    return params, state.inner_opt_state[0]


# optax.MultiSteps mixes integers with floats.
@jax.numpy_dtype_promotion("standard")
def test_accumulated_steps_are_those_of_the_whole_batch():
    plain, _ = accumulate(optax.identity())
    silent, _ = accumulate(sharpness.vasso(0.0))
    np.testing.assert_array_equal(silent, plain)

    found, state = accumulate(sharpness.vasso(0.5))
    assert state.count == 2
    optimizer = optax.chain(sharpness.vasso(0.5), optax.sgd(0.1, momentum=0.9))
    params, opt_state = PARAMS, optimizer.init(PARAMS)
    for _ in range(2):

        def whole(params):
            return jax.grad(loss_fn)(params, X, LABELS)

        updates, opt_state = optimizer.update(whole(params), opt_state, params, grad_fn=whole)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(found, params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.perturbation.mean, opt_state[0].perturbation.mean, rtol=1e-4, atol=1e-6)
    assert not np.allclose(found, plain, rtol=1e-3)
