"""The contract of RobustLoss, tried on the two lifts and what builds on them.

A new factory joins by adding one line to FACTORIES.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import noisy_optax as nox
from noisy_optax import losses

GCE, PHUBER_GCE = losses.generalized_cross_entropy, losses.phuber_generalized_cross_entropy

B, C = 6, 4
LOGITS = (3 * np.random.default_rng(3).normal(size=(B, C))).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 1, 1], np.int32)
WHERE = np.array([True, True, False, True, True, False])


def q_of_step(step):
    return 0.5 + 0.1 * jnp.asarray(step, float)


FACTORIES = {
    "stateless": lambda: nox.stateless(losses.cross_entropy),
    "scheduled": lambda: nox.scheduled(GCE, q=optax.linear_schedule(0.6, 0.9, 3)),
    "dal": lambda: losses.dal(total_epochs=3, steps_per_epoch=1),
    "with_logit_bias": lambda: losses.with_logit_bias(losses.dal(total_epochs=3, steps_per_epoch=1), 0.5),
    "scheduled, weakly typed": lambda: nox.scheduled(GCE, q=lambda step: jnp.where(step < 3, 0.5, 0.7)),
}


@pytest.fixture(params=FACTORIES)
def robust(request):
    return FACTORIES[request.param]()


def types(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


def gce(q):
    """(1 - p^q)/q in NumPy."""
    logits = LOGITS.astype(np.float64)
    log_softmax = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return (1 - np.exp(q * log_softmax[np.arange(B), LABELS])) / q


# --- every RobustLoss -------------------------------------------------------------------------------------


def test_init_is_arrays_and_has_the_structure_that_update_returns(robust):
    state = robust.init()
    assert all(isinstance(leaf, jax.Array) and leaf.size for leaf in jax.tree.leaves(state))
    updated = jax.jit(robust.update)(state, LOGITS, LABELS)
    assert types(updated) == types(state)
    assert types(jax.jit(functools.partial(robust.update, where=WHERE))(state, LOGITS, LABELS)) == types(
        state
    )
    abstract = jax.eval_shape(robust.init)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), abstract) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )


def test_step_is_traced_once(robust):
    traces = []

    @jax.jit
    def step(state):
        traces.append(None)
        state = robust.update(state, LOGITS, LABELS)
        return state, robust.value(state, LOGITS, LABELS)

    state = robust.init()
    for _ in range(3):
        state, _ = step(state)
    assert len(traces) == 1


def test_value_on_init_is_that_of_step_0_and_masked_examples_are_0(robust):
    value = jax.jit(robust.value)
    everything = np.ones(B, bool)
    on_init = value(robust.init(), LOGITS, LABELS, where=everything)
    assert np.all(np.isfinite(on_init))
    first = jax.jit(robust.update)(robust.init(), LOGITS, LABELS)
    np.testing.assert_array_equal(value(first, LOGITS, LABELS, where=everything), on_init)
    hidden = np.where(WHERE[:, None], LOGITS, np.float32(np.nan))
    masked = value(robust.init(), hidden, LABELS, where=WHERE)
    np.testing.assert_array_equal(masked, np.where(WHERE, on_init, 0))


def test_no_gradient_flows_through_update(robust):
    def through_update(logits):
        state = robust.update(robust.init(), logits, LABELS)
        return robust.value(state, LOGITS, LABELS).sum()

    np.testing.assert_array_equal(jax.jit(jax.grad(through_update))(LOGITS), 0)


def test_update_and_value_inside_value_and_grad_with_aux(robust):
    def total(logits, state):
        state = robust.update(state, logits, LABELS)
        return robust.value(state, logits, LABELS).sum(), state

    (got, state), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(LOGITS, robust.init())
    plain = jax.jit(jax.value_and_grad(lambda z: robust.value(robust.init(), z, LABELS).sum()))
    expected, expected_gradient = plain(LOGITS)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)
    assert types(state) == types(robust.init())


# --- schedules --------------------------------------------------------------------------------------------


def test_schedule_is_evaluated_at_the_count_before_it_is_incremented():
    robust = nox.scheduled(GCE, q=q_of_step)
    update, value = jax.jit(robust.update), jax.jit(robust.value)
    state = robust.init()
    for step in range(4):
        assert state.count == step
        state = update(state, LOGITS, LABELS)
        np.testing.assert_allclose(state.hyperparameters["q"], 0.5 + 0.1 * step, rtol=1e-6)
        # Twice, as SAM does: the second pass is the same step.
        for _ in range(2):
            np.testing.assert_allclose(value(state, LOGITS, LABELS), gce(0.5 + 0.1 * step), rtol=1e-5)


def test_scan_over_steps():
    robust = nox.scheduled(GCE, q=q_of_step)

    def step(state, _):
        state = robust.update(state, LOGITS, LABELS)
        return state, robust.value(state, LOGITS, LABELS)

    state, values = jax.lax.scan(step, robust.init(), length=4)
    np.testing.assert_allclose(values, [gce(0.5 + 0.1 * step) for step in range(4)], rtol=1e-5)
    assert state.count == 4


def test_vmap_over_replicas():
    robust = nox.scheduled(GCE, q=q_of_step)
    states = jax.tree.map(lambda x: jnp.stack([x, x]), robust.init())
    states = states._replace(count=jnp.array([0, 3], jnp.int32))

    @jax.jit
    @jax.vmap
    def step(state, logits):
        state = robust.update(state, logits, LABELS)
        return state, robust.value(state, logits, LABELS)

    states, values = step(states, np.stack([LOGITS, LOGITS]))
    np.testing.assert_allclose(values, [gce(0.5), gce(0.8)], rtol=1e-5)
    np.testing.assert_array_equal(states.count, [1, 4])


def test_count_stops_at_its_largest_value():
    robust = nox.scheduled(GCE, q=lambda step: jnp.where(step < 0, 0.1, 0.6))
    largest = jnp.array(2**31 - 1, jnp.int32)
    state = robust.update(robust.init()._replace(count=largest), LOGITS, LABELS)
    assert state.count == largest


def test_constants_and_schedules_together():
    robust = nox.scheduled(PHUBER_GCE, q=lambda step: 0.5, tau=2)
    assert sorted(robust.init().hyperparameters) == ["q", "tau"]
    value = jax.jit(robust.value)(robust.init(), np.array([[-np.inf, 0]], np.float32), np.array([0]))
    np.testing.assert_allclose(value, [1.5], rtol=1e-6)


def test_stateless_is_the_loss():
    robust = nox.stateless(losses.cross_entropy)
    assert jax.tree.leaves(robust.init()) == []
    value = jax.jit(robust.value)(robust.init(), LOGITS, LABELS)
    np.testing.assert_array_equal(value, jax.jit(losses.cross_entropy)(LOGITS, LABELS))


@pytest.mark.parametrize(
    ("loss", "schedules", "error", "message"),
    [
        (GCE, {"q": 1.5}, ValueError, r"q must be in \(0.0, 1.0\], got 1.5"),
        (GCE, {"q": float("nan")}, ValueError, r"q must be in \(0.0, 1.0\], got nan"),
        (PHUBER_GCE, {"q": lambda step: 0.5, "tau": 1}, ValueError, r"tau must be in \(1.0, inf\), got 1"),
        (GCE, {"tau": 2.0}, TypeError, "tau"),
        (GCE, {"tau": lambda step: 2.0}, TypeError, "tau"),
        (losses.cross_entropy, {"q": lambda step: 0.5}, TypeError, "q"),
    ],
)
def test_bad_hyperparameters_are_refused_by_the_factory(loss, schedules, error, message):
    with pytest.raises(error, match=message):
        nox.scheduled(loss, **schedules)


def test_scheduled_state_through_orbax(tmp_path):
    robust = nox.scheduled(PHUBER_GCE, q=q_of_step, tau=3.0)
    state = robust.init()
    for _ in range(3):
        state = robust.update(state, LOGITS, LABELS)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", jax.eval_shape(robust.init))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    chex.assert_trees_all_equal(restored, state)
    assert restored.count == 3
    assert types(restored) == types(state)
    # Training goes on where it was.
    resumed, continued = (robust.update(s, LOGITS, LABELS) for s in (restored, state))
    chex.assert_trees_all_equal(resumed, continued)


def test_what_is_no_hyperparameter_is_named():
    with pytest.raises(TypeError, match="axis is not a hyper-parameter"):
        nox.scheduled(losses.cross_entropy, axis=0)
    with pytest.raises(TypeError, match="q must be a number or a schedule, got 'a'"):
        nox.scheduled(losses.generalized_cross_entropy, q="a")


def test_a_plain_loss_without_a_mask_is_masked_by_the_lift():
    def squared(logits, labels):
        return (logits[..., 0] - labels.astype(logits.dtype)) ** 2

    robust, where = nox.stateless(squared), jnp.array([True, False])
    logits, labels = jnp.array([[3.0, 0.0], [jnp.nan, 0.0]]), jnp.array([1, -5])

    def total(logits):
        return jnp.sum(robust.value(robust.init(), logits, labels, where=where))

    value, gradient = jax.value_and_grad(total)(logits)
    assert value == 4.0
    np.testing.assert_array_equal(gradient, [[4.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(robust.value(robust.init(), logits[:1], labels[:1]), [4.0])
