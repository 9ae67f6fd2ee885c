"""training_step against loops written by hand, and what it refuses."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox
from noisy_optax import losses, sharpness, training
from tests import split_memory

N, FEATURES, CLASSES, BATCH = 48, 5, 3, 8
_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(N, FEATURES))
Y = (_RNG.integers(0, CLASSES, N)).astype(np.int32)
STEPS = 20

LOSSES = {
    "plain": lambda: losses.cross_entropy,
    "dal": lambda: losses.dal(total_epochs=4, steps_per_epoch=5),
    "ogc": lambda: nox.ogc.ogc_loss(learning_rate=0.1, queue_size=24, update_every=2),
    "elr": lambda: nox.memory.early_learning_regularization(N, CLASSES, dtype=float),
}


def start(dtype):
    rng = np.random.default_rng(1)
    return {
        "w": jnp.asarray(rng.normal(size=(FEATURES, CLASSES)), dtype),
        "b": jnp.zeros(CLASSES, dtype),
    }


def forward(params, x):
    return x @ params["w"] + jax.lax.broadcast(params["b"], x.shape[:1])


def batches(dtype):
    rng = np.random.default_rng(2)
    for _ in range(STEPS):
        indices = rng.permutation(N)[:BATCH]
        yield jnp.asarray(X[indices], dtype), jnp.asarray(Y[indices]), jnp.asarray(indices, jnp.int32)


def tools(second):
    optimizer = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(0.1, momentum=0.9))
    return optimizer, nox.saner(rho=0.2, group_b_scale=0.5) if second else None


def by_hand(robust, optimizer, saner):
    """The loop that a user of optax would write: everything in its own hands."""

    def step(params, state, loss_state, saner_state, x, y, indices):
        def first(params):
            logits = forward(params, x)
            new = robust.update(loss_state, jax.lax.stop_gradient(logits), y, indices=indices)
            return jnp.mean(robust.value(new, logits, y, indices=indices)), new

        gradient, new = jax.grad(first, has_aux=True)(params)
        if saner is not None:

            def second(params):
                return jnp.mean(robust.value(new, forward(params, x), y, indices=indices))

            gradient, saner_state = saner.update(gradient, saner_state, params, grad_fn=jax.grad(second))
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, new, saner_state

    return step


def of_loss(name, second, dtype, wrap):
    """The parameters after the last step, by `training_step` and by hand."""
    robust = nox.robust_loss.as_robust_loss(LOSSES[name]())
    optimizer, saner = tools(second)
    step = nox.training_step(forward, LOSSES[name](), optimizer, sharpness=saner)
    update, hand = wrap(step.update), wrap(by_hand(robust, optimizer, saner))
    params = other = start(dtype)
    state = step.init(params)
    rest = optimizer.init(other), robust.init(), saner.init(other) if saner else None
    for x, y, indices in batches(dtype):
        params, state, _ = update(params, state, x, y, indices=indices)
        other, *rest = hand(other, *rest, x, y, indices)
    return params, other


def of_batch_norm(kept, dtype, wrap):
    """The same with a running mean, which the loop takes from the pass that it keeps."""
    optimizer, saner = tools(second=True)
    step = nox.training_step(normalised, losses.cross_entropy, optimizer, sharpness=saner, has_aux=True)

    def hand_step(params, state, saner_state, mean, x, y):
        def loss(params):
            logits, new = normalised(params, (x, mean))
            return jnp.mean(losses.cross_entropy(logits, y)), new

        seen = []

        def grad_fn(params):
            gradient, new = jax.grad(loss, has_aux=True)(params)
            seen.append(new)
            return gradient

        gradient = grad_fn(params)
        gradient, saner_state = saner.update(gradient, saner_state, params, grad_fn=grad_fn)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, saner_state, seen[kept == "perturbed_aux"]

    update, hand = wrap(step.update), wrap(hand_step)
    params = other = start(dtype)
    mean = jnp.ones(CLASSES, dtype)
    state, rest = step.init(params), (optimizer.init(other), saner.init(other), mean)
    for x, y, _ in batches(dtype):
        params, state, info = update(params, state, (x, mean), y)
        mean = getattr(info, kept)
        other, *rest = hand(other, *rest, x, y)
    return (params, mean), (other, rest[-1])


def of_multi_steps(dtype, wrap):
    """Two calls to a step of the optimizer, against optax's own."""
    optimizer, _ = tools(second=False)
    step = nox.training_step(forward, losses.cross_entropy, optimizer, accumulate=2)
    multi = optax.MultiSteps(optimizer, 2, accumulator_dtype=dtype)

    def hand_step(params, state, x, y):
        gradient = jax.grad(lambda params: jnp.mean(losses.cross_entropy(forward(params, x), y)))(params)
        # Optax mixes dtypes here.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = multi.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    update, hand = wrap(step.update), wrap(hand_step)
    params = other = start(dtype)
    state, other_state = step.init(params), multi.init(other)
    for x, y, _ in batches(dtype):
        params, state, _ = update(params, state, x, y)
        other, other_state = hand(other, other_state, x, y)
    return params, other


CASES = {
    **{
        f"{name}{'+saner' if second else ''}": functools.partial(of_loss, name, second)
        for name, second in [
            ("plain", False),
            ("dal", False),
            ("ogc", False),
            ("ogc", True),
            ("elr", False),
            ("elr", True),
        ]
    },
    "batch statistics of the clean pass": functools.partial(of_batch_norm, "aux"),
    "batch statistics of the perturbed pass": functools.partial(of_batch_norm, "perturbed_aux"),
    "two micro-batches": of_multi_steps,
}


@pytest.mark.parametrize("case", CASES)
def test_equals_a_loop_by_hand(case):
    found, expected = CASES[case](jnp.float32, jax.jit)
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", CASES)
def test_equals_a_loop_by_hand_in_float64(case):
    found, expected = CASES[case](jnp.float64, jax.jit)
    chex.assert_trees_all_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_equals_a_loop_by_hand_to_the_bit_without_jit(case):
    with jax.disable_jit():
        found, expected = CASES[case](jnp.float32, lambda function: function)
    chex.assert_trees_all_equal(found, expected)


# Batch statistics, or whatever comes beside the logits.


def normalised(params, inputs):
    x, mean = inputs
    hidden = forward(params, x)
    of_batch = jnp.mean(hidden, axis=0)
    new = 0.9 * mean + 0.1 * of_batch
    return hidden - jax.lax.broadcast(of_batch, hidden.shape[:1]), new


def test_aux_of_both_passes_and_a_loop_that_keeps_either():
    step = nox.training_step(
        normalised, losses.cross_entropy, optax.sgd(0.1), sharpness=sharpness.sam(0.5), has_aux=True
    )
    params, mean = start(jnp.float32), jnp.ones(CLASSES)
    x, y, _ = next(batches(jnp.float32))
    _, _, info = jax.jit(step.update)(params, step.init(params), (x, mean), y)

    def loss(params):
        logits, aux = normalised(params, (x, mean))
        return jnp.mean(losses.cross_entropy(logits, y)), aux

    (value, aux), g = jax.value_and_grad(loss, has_aux=True)(params)
    norm = optax.tree.norm(g)
    perturbed = jax.tree.map(lambda w, g: w + 0.5 * g / norm, params, g)
    second_value, second_aux = loss(perturbed)
    chex.assert_trees_all_close(info, training.StepInfo(value, aux, second_value, second_aux), rtol=1e-5)
    assert not np.allclose(info.aux, info.perturbed_aux, rtol=1e-3)


# Means, weights and padding.


def test_the_mean_is_by_weight_over_what_where_keeps():
    values = jnp.array([1.0, 2.0, jnp.nan, 4.0])
    where = jnp.array([True, True, False, True])
    weights = jnp.array([1.0, 3.0, jnp.nan, 0.0])
    assert training.weighted_mean(jnp.where(where, values, 0.0), weights, where) == (1 + 6) / 4
    assert training.weighted_mean(jnp.zeros(2), None, jnp.zeros(2, bool)) == 0
    assert training.weighted_mean(jnp.array([[1.0, 3.0]]), None, None) == 2


def test_padding_changes_nothing_and_an_empty_batch_moves_nothing():
    step = nox.training_step(forward, losses.cross_entropy, optax.sgd(0.1))
    params = start(jnp.float32)
    x, y, _ = next(batches(jnp.float32))
    update = jax.jit(step.update)
    expected, _, _ = update(params, step.init(params), x[:5], y[:5])
    padded = x.at[5:].set(1e6), y.at[5:].set(-1)
    found, _, info = update(params, step.init(params), *padded, where=jnp.arange(BATCH) < 5)
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-7)
    same, _, info = update(params, step.init(params), *padded, where=jnp.zeros(BATCH, bool))
    chex.assert_trees_all_equal(same, params)
    assert info.loss == 0


# Gradient accumulation.


@pytest.mark.parametrize("average", [None, 0.5])
def test_micro_batches_are_the_whole_batch_padded_or_not(average):
    x, y, _ = next(batches(jnp.float32))
    where = jnp.array([True] * 4 + [True, False, False, False])
    whole = nox.training_step(forward, losses.cross_entropy, optax.sgd(0.1, momentum=0.9), average=average)
    parts = nox.training_step(
        forward, losses.cross_entropy, optax.sgd(0.1, momentum=0.9), accumulate=2, average=average
    )
    params = other = start(jnp.float32)
    state, other_state = whole.init(params), parts.init(other)
    for _ in range(3):
        params, state, _ = jax.jit(whole.update)(params, state, x, y, where=where)
        for half in (slice(0, 4), slice(4, 8)):
            before = other
            other, other_state, _ = jax.jit(parts.update)(
                other, other_state, x[half], y[half], where=where[half]
            )
            if half.start == 0:
                chex.assert_trees_all_equal(other, before)
        chex.assert_trees_all_close(other, params, rtol=1e-5, atol=1e-6)
    if average is not None:
        chex.assert_trees_all_close(parts.averaged(other_state), whole.averaged(state), rtol=1e-5, atol=1e-6)


def test_schedules_count_the_steps_of_the_optimizer_and_memories_take_in_every_call():
    k = 2
    dal = losses.dal(total_epochs=4, steps_per_epoch=1)
    step = nox.training_step(forward, dal, optax.sgd(0.1), accumulate=k)
    params = start(jnp.float32)
    state, seen = step.init(params), []
    update = jax.jit(step.update)
    for x, y, _ in list(batches(jnp.float32))[:6]:
        params, state, _ = update(params, state, x, y)
        seen.append(float(state.loss.hyperparameters["q"]))
    # 0.6 + 0.9 t / 4, each for two calls; it was .825 where .6 is due.
    np.testing.assert_allclose(seen, np.repeat([0.6, 0.825, 1.05], k), rtol=1e-6)

    schedule = optax.linear_schedule(0.1, 0.0, 10)
    ogc = nox.ogc.ogc_loss(learning_rate=schedule, queue_size=64, update_every=4)
    rho = optax.linear_schedule(0.5, 0.0, 10)
    step = nox.training_step(forward, ogc, optax.sgd(0.1), sharpness=sharpness.vasso(rho), accumulate=4)
    params = start(jnp.float32)
    state, update = step.init(params), jax.jit(step.update)
    for call, (x, y, _) in enumerate(list(batches(jnp.float32))[:8], 1):
        params, state, _ = update(params, state, x, y)
        assert state.loss.count == state.sharpness.count == call // 4
        assert state.loss.filled == call * BATCH
    np.testing.assert_allclose(state.loss.bound, 1 + 20 * schedule(1), rtol=1e-6)


def test_a_schedule_that_counts_every_kth_call_for_loops_by_hand():
    schedule, k = optax.linear_schedule(0.1, 0.0, 10), 4
    slower = nox.schedules.every(k, schedule)
    assert [float(slower(count)) for count in (0, 3, 4, 8)] == [
        schedule(0),
        schedule(0),
        schedule(1),
        schedule(2),
    ]
    with pytest.raises(ValueError, match="calls must be in"):
        nox.schedules.every(0, schedule)


# Averaged parameters.


@pytest.mark.parametrize("second", [False, True])
def test_the_average_by_hand(second):
    _, saner = tools(second)
    step = nox.training_step(
        normalised, losses.cross_entropy, optax.sgd(0.5), sharpness=saner, has_aux=True, average=0.75
    )
    params, mean = start(jnp.float32), jnp.ones(CLASSES)
    state, history, means = step.init(params, mean), [], []
    update = jax.jit(step.update, donate_argnums=(0, 1))
    for x, y, _ in list(batches(jnp.float32))[:4]:
        params, state, info = update(params, state, (x, mean), y)
        mean = info.aux
        history.append(jax.device_get(params))
        means.append(jax.device_get(mean))
    weights = 0.75 ** np.arange(3, -1, -1)
    weights /= weights.sum()
    expected = jax.tree.map(
        lambda *values: sum(w * v for w, v in zip(weights, values, strict=True)), *history
    )
    averaged, averaged_mean = step.averaged(state)
    chex.assert_trees_all_close(averaged, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(averaged_mean, weights @ np.stack(means), rtol=1e-5)
    with pytest.raises(ValueError, match=r"pass average=0\.999"):
        nox.training_step(forward, losses.cross_entropy, optax.sgd(0.1)).averaged(state)


# The audit.


@pytest.mark.parametrize(("accumulate", "second"), [(1, False), (1, True), (2, False)])
def test_the_audit_is_what_a_loop_records_by_hand(accumulate, second):
    optimizer, saner = tools(second)
    step = nox.training_step(
        forward, losses.cross_entropy, optimizer, sharpness=saner, accumulate=accumulate, audit=N
    )
    params = start(jnp.float32)
    state, expected = step.init(params), nox.audit.init(N)
    update, where = jax.jit(step.update), jnp.arange(BATCH) < 6
    for call, (x, y, indices) in enumerate(batches(jnp.float32)):
        expected = nox.audit.record(expected, indices, forward(params, x), y, where=where)
        params, state, _ = update(params, state, x, y, indices=indices, where=where)
        chex.assert_trees_all_close(state.audit, expected, rtol=1e-5, atol=1e-6)
        if call % 6 == 5:
            state, expected = (
                state._replace(audit=nox.audit.end_epoch(state.audit)),
                nox.audit.end_epoch(expected),
            )
    assert np.any(expected.weight > 0)


def test_the_audit_changes_no_step_and_needs_indices():
    plain, audited = (
        nox.training_step(forward, losses.cross_entropy, optax.sgd(0.1), audit=audit) for audit in (None, N)
    )
    params = start(jnp.float32)
    x, y, indices = next(batches(jnp.float32))
    assert plain.init(params).audit == optax.EmptyState()
    expected, _, _ = jax.jit(plain.update)(params, plain.init(params), x, y)
    found, _, _ = jax.jit(audited.update)(params, audited.init(params), x, y, indices=indices)
    chex.assert_trees_all_close(found, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"expected indices=\.\.\., an integer array"):
        audited.update(params, audited.init(params), x, y)


# In company.


def test_donated_scanned_and_never_compiled_again():
    loss = nox.ogc.ogc_loss(learning_rate=0.1, queue_size=16, update_every=2)
    step = nox.training_step(forward, loss, optax.sgd(0.1), sharpness=nox.saner(), average=0.9)
    params = start(jnp.float32)
    state = step.init(params)
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *[(x, y) for x, y, _ in batches(jnp.float32)])

    def body(carry, batch):
        params, state, info = step.update(*carry, *batch)
        return (params, state), info.loss

    (scanned, _), found = jax.jit(lambda carry: jax.lax.scan(body, carry, stacked))((params, state))
    update, seen = jax.jit(step.update, donate_argnums=(0, 1)), []
    for x, y, _ in batches(jnp.float32):
        params, state, info = update(params, state, x, y)
        seen.append(info.loss)
    np.testing.assert_allclose(found, seen, rtol=1e-4)
    chex.assert_trees_all_close(scanned, params, rtol=1e-4, atol=1e-5)
    assert update._cache_size() == 1


def test_a_step_that_is_not_finite_is_left_out_by_apply_if_finite():
    with jax.numpy_dtype_promotion("standard"):
        loss = nox.ogc.ogc_loss(learning_rate=0.1, queue_size=16, update_every=1)
        optimizer = optax.apply_if_finite(optax.sgd(0.1), 3)
        step = nox.training_step(forward, loss, optimizer, sharpness=sharpness.sam(0.1))
        params = start(jnp.float32)
        x, y, _ = next(batches(jnp.float32))
        update = jax.jit(step.update)
        params, state, _ = update(params, step.init(params), x, y)
        same, state, info = update(params, state, x.at[0].set(jnp.nan), y)
        chex.assert_trees_all_equal(same, params)
        assert np.isnan(info.loss)
        _, state, info = update(same, state, x, y)
        assert np.isfinite(info.loss)


def test_the_optimizer_is_told_the_loss():
    optimizer = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1, factor=0.5))
    step = nox.training_step(forward, losses.mean_absolute_error, optimizer)
    params = start(jnp.float32)
    x, y, _ = next(batches(jnp.float32))
    with jax.numpy_dtype_promotion("standard"):
        _, state, info = jax.jit(step.update)(params, step.init(params), x, y)
    np.testing.assert_allclose(state.optimizer[1].best_value, info.loss, rtol=1e-6)


@pytest.mark.devices
def test_eight_devices_with_a_split_memory_are_one_device():
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    found, expected = split_memory.twenty_steps(mesh), split_memory.twenty_steps(None)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)


# Refusals.


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (lambda: optax.MultiSteps(optax.sgd(0.1), 2), r"got optax\.MultiSteps; .* accumulate=k"),
        (nox.saner, r"pass it as sharpness=\.\.\."),
        (lambda: 0.1, "as optimizer, got float"),
    ],
)
def test_optimizers_of_another_kind(optimizer, message):
    with pytest.raises(TypeError, match=message):
        nox.training_step(forward, losses.cross_entropy, optimizer())


def test_sharpness_of_another_kind():
    with pytest.raises(TypeError, match=r"expected sharpness made by nox\.saner .*, got Gradient"):
        nox.training_step(forward, losses.cross_entropy, optax.sgd(0.1), sharpness=optax.sgd(0.1))


@pytest.mark.parametrize(
    ("inside", "message"),
    [
        (lambda: nox.saner(), r"pass the transformation to training_step as sharpness=\.\.\."),
        (
            lambda: nox.ogc.clip_by_probability(learning_rate=0.1),
            r"training_step, use the loss nox\.ogc\.ogc_loss",
        ),
    ],
)
def test_what_asks_for_more_inside_a_chain_is_told_where_it_belongs(inside, message):
    step = nox.training_step(forward, losses.cross_entropy, optax.chain(inside(), optax.sgd(0.1)))
    params = start(jnp.float32)
    x, y, _ = next(batches(jnp.float32))
    with pytest.raises(ValueError, match=message):
        step.update(params, step.init(params), x, y)


def test_arguments_out_of_range():
    make = functools.partial(nox.training_step, forward, losses.cross_entropy, optax.sgd(0.1))
    with pytest.raises(ValueError, match="accumulate must be in"):
        make(accumulate=0)
    with pytest.raises(ValueError, match=r"average must be in \[0.0, 1.0\), got 1.0"):
        make(average=1.0)
    with pytest.raises(ValueError, match="audit must be in"):
        make(audit=0)
    step, params = make(), start(jnp.float32)
    x, y, _ = next(batches(jnp.float32))
    state = step.init(params)
    with pytest.raises(ValueError, match=r"expected weights of shape \(8,\), like labels, got \(3,\)"):
        step.update(params, state, x, y, weights=jnp.ones(3))
    with pytest.raises(TypeError, match="weights must be floating, got int32"):
        step.update(params, state, x, y, weights=jnp.ones(8, jnp.int32))
