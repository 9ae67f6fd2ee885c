"""value_and_update and micro_batch_grad_fn: what comes out of both passes, and gradients in parts."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox
from noisy_optax import losses, sharpness

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
LABELS = np.arange(12, dtype=np.int32) % 4
PARAMS = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4)), jnp.float32)


def loss_fn(params, x, labels):
    logits = x @ params
    return jnp.mean(losses.cross_entropy(logits, labels)), {"mean": jnp.mean(logits, axis=0)}


def by_hand(rho, scale=None):
    """Both passes of one SAM or SANER step, written out."""
    first = jax.value_and_grad(loss_fn, has_aux=True)
    (value, aux), g = first(PARAMS, X, LABELS)
    (perturbed_value, perturbed_aux), s = first(PARAMS + rho * g / jnp.linalg.norm(g), X, LABELS)
    if scale is not None:
        s = jnp.where((s / g > 0) & (s / g < 1), scale * s, s)
    return value, aux, perturbed_value, perturbed_aux, s


def test_aux_of_both_passes():
    optimizer = optax.chain(nox.saner(0.5, 0.2), optax.add_decayed_weights(0.1), optax.sgd(0.1))
    step = jax.jit(sharpness.value_and_update(loss_fn, optimizer))
    found = step(PARAMS, optimizer.init(PARAMS), X, LABELS)
    value, aux, perturbed_value, perturbed_aux, second = jax.jit(by_hand)(0.5, 0.2)
    expected = sharpness.Step(
        -0.1 * (second + 0.1 * PARAMS), found.state, value, aux, perturbed_value, perturbed_aux
    )
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(found.aux["mean"], found.perturbed_aux["mean"], rtol=1e-2)
    assert found.state[0].count == 1


def test_works_inside_scan_and_vmap():
    optimizer = optax.chain(sharpness.sam(0.5), optax.sgd(0.1))
    step = sharpness.value_and_update(loss_fn, optimizer)

    def body(carry, batch):
        params, state = carry
        found = step(params, state, *batch)
        return (optax.apply_updates(params, found.updates), found.state), found.perturbed_aux["mean"]

    batches = jax.tree.map(lambda x: jnp.asarray(x).reshape(3, 4, *x.shape[1:]), (X, LABELS))
    start = PARAMS, optimizer.init(PARAMS)
    _, means = jax.jit(lambda carry: jax.lax.scan(body, carry, batches))(start)
    assert means.shape == (3, 4)
    replicas = jax.vmap(lambda params: step(params, optimizer.init(params), X, LABELS).perturbed_value)
    assert jax.jit(replicas)(jnp.stack([PARAMS, 2 * PARAMS])).shape == (2,)


def test_optimizers_without_a_second_gradient():
    optimizer = optax.sgd(0.1)
    found = jax.jit(sharpness.value_and_update(loss_fn, optimizer))(PARAMS, optimizer.init(PARAMS), X, LABELS)
    assert found.perturbed_value is None
    assert found.perturbed_aux is None
    gradient = jax.jit(jax.grad(loss_fn, has_aux=True))(PARAMS, X, LABELS)[0]
    np.testing.assert_allclose(found.updates, -0.1 * gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_nothing_leaks_from_branches():
    inner = optax.chain(sharpness.sam(0.5), optax.sgd(0.1))
    plain = sharpness.value_and_update(loss_fn, inner)(PARAMS, inner.init(PARAMS), X, LABELS)
    with jax.checking_leaks(), jax.numpy_dtype_promotion("standard"):
        for optimizer in (optax.apply_if_finite(inner, 3), optax.MultiSteps(inner, 1)):

            def step(params, state, optimizer=optimizer):
                full = {"grad_fn": jax.grad(lambda params: loss_fn(params, X, LABELS)[0])}
                extra = full if isinstance(optimizer, optax.MultiSteps) else {}
                return sharpness.value_and_update(loss_fn, optimizer)(params, state, X, LABELS, **extra)

            found = jax.jit(step)(PARAMS, optimizer.init(PARAMS))
            assert found.perturbed_value is None
            assert found.perturbed_aux is None
            np.testing.assert_allclose(found.updates, plain.updates, rtol=1e-5)
            np.testing.assert_allclose(found.aux["mean"], plain.aux["mean"], rtol=1e-5)


def test_accumulated_micro_batches_need_a_gradient_over_all_of_them():
    optimizer = optax.MultiSteps(optax.chain(sharpness.sam(0.0), optax.sgd(0.1)), 2)
    step = sharpness.value_and_update(loss_fn, optimizer)
    state, half = optimizer.init(PARAMS), len(X) // 2
    with pytest.raises(ValueError, match=r"grad_fn=micro_batch_grad_fn\(\.\.\.\)"):
        step(PARAMS, state, X[:half], LABELS[:half])
    micro_batches = X.reshape(2, half, -1), LABELS.reshape(2, half)
    with jax.numpy_dtype_promotion("standard"):
        for x, labels in zip(*micro_batches, strict=True):
            full = sharpness.micro_batch_grad_fn(
                lambda params, batch: jax.grad(loss_fn, has_aux=True)(params, *batch)[0], micro_batches
            )
            found = step(PARAMS, state, x, labels, grad_fn=full)
            state = found.state
    np.testing.assert_allclose(found.updates, -0.1 * full(PARAMS), rtol=1e-5, atol=1e-7)


def test_extra_arguments_reach_the_optimizer():
    seen = {}

    def update(updates, state, params=None, **extra_args):
        seen.update(extra_args)
        return updates, state

    probe = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    optimizer = optax.chain(sharpness.sam(0.5), probe)
    step = sharpness.value_and_update(loss_fn, optimizer)
    found = step(PARAMS, optimizer.init(PARAMS), X, LABELS, log_probabilities=3)
    assert set(seen) == {"value", "grad_fn", "log_probabilities"}
    assert seen["value"] is found.value


# A loss with a state.


def with_state(robust):
    def first(params, state, x, labels):
        logits = x @ params
        state = robust.update(state, logits, labels)
        return jnp.mean(robust.value(state, logits, labels)), state

    def second(params, state, loss_state, x, labels):
        del loss_state
        return jnp.mean(robust.value(state, x @ params, labels)), state

    return first, second


def test_the_state_of_a_robust_loss_advances_once():
    schedule = optax.linear_schedule(0.2, 1.0, 4)
    robust = nox.scheduled(losses.generalized_cross_entropy, q=schedule)
    first, second = with_state(robust)
    optimizer = optax.chain(sharpness.sam(0.5), optax.sgd(0.1))
    step = jax.jit(sharpness.value_and_update(first, optimizer, second_loss_fn=second))
    params, state, loss_state = PARAMS, optimizer.init(PARAMS), robust.init()
    for count in (1, 2):
        found = step(params, state, loss_state, X, LABELS)
        assert found.aux.count == found.perturbed_aux.count == count
        # Both passes read the state that the clean logits made.
        expected = robust.update(loss_state, X @ params, LABELS)
        chex.assert_trees_all_close(found.perturbed_aux, expected, rtol=1e-4)

        def objective(params, state=expected):
            return jnp.mean(robust.value(state, X @ params, LABELS))

        g = jax.grad(objective)(params)
        s = jax.grad(objective)(params + 0.5 * g / jnp.linalg.norm(g))
        np.testing.assert_allclose(found.updates, -0.1 * s, rtol=1e-4, atol=1e-7)
        params, state, loss_state = optax.apply_updates(params, found.updates), found.state, found.aux


# Micro-batches.

MICRO = jax.tree.map(lambda x: jnp.asarray(x).reshape(4, 3, *x.shape[1:]), (X, LABELS))


def micro_gradient(params, micro_batch):
    return jax.grad(lambda params: loss_fn(params, *micro_batch)[0])(params)


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
        step = sharpness.value_and_update(loss_fn, optimizer)(params, opt_state, X, LABELS)
        params, opt_state = optax.apply_updates(params, step.updates), step.state
    np.testing.assert_allclose(found, params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.ascent.mean, opt_state[0].ascent.mean, rtol=1e-4, atol=1e-6)
    assert not np.allclose(found, plain, rtol=1e-3)
