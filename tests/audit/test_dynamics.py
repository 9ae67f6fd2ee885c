"""What is recorded of each example: against a loop in numpy, and what a record must never do."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import noisy_optax as nox
from noisy_optax import audit
from noisy_optax.audit import _dynamics
from noisy_optax.memory import _rows
from tests.audit import reference

N, C, BATCH = 24, 3, 8
LABELS = np.random.default_rng(5).integers(0, C, N).astype(np.int32)


def batches(seed, epochs, steps=4):
    """For each epoch its batches: rows that are masked, not finite, out of range, or there twice."""
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        found = []
        for _ in range(steps):
            indices = rng.integers(-2, N + 2, BATCH).astype(np.int32)
            labels = LABELS[indices % N]
            # The labels are learned while the epochs pass.
            logits = rng.normal(size=(BATCH, C)) + 0.7 * epoch * np.eye(C)[labels]
            logits[rng.random(BATCH) < 0.1, 1] = rng.choice([np.nan, np.inf, -np.inf])
            labels = np.where(rng.random(BATCH) < 0.1, rng.choice([-1, C]), labels).astype(np.int32)
            found.append((indices, logits.astype(np.float32), labels, rng.random(BATCH) < 0.9))
        yield found


def recorded(seed=0, epochs=4, where=None, start=None):
    """The dynamics after these epochs, by the library and in numpy."""
    found, expected = audit.init(N) if start is None else start, reference.Dynamics(N)
    record = jax.jit(audit.record)
    for epoch in batches(seed, epochs):
        for indices, logits, labels, kept in epoch:
            found = record(found, indices, logits, labels, where=kept)
            expected.record(indices, logits, labels, kept)
        found = audit.end_epoch(found, where=where)
        expected.end_epoch(where)
    return found, expected


def assert_same(found, expected):
    weights = [sum(weight for weight, _, _ in expected.history[i]) for i in range(N)]
    np.testing.assert_allclose(found.weight, weights, rtol=1e-4)
    means = [expected.mean_margin(i) if weights[i] else 0 for i in range(N)]
    np.testing.assert_allclose(found.margin, np.multiply(weights, means), rtol=1e-4, atol=1e-8)
    assert found.epochs == expected.epochs
    np.testing.assert_allclose(found.share, expected.share, rtol=2e-3, atol=1e-4 * np.max(expected.share))
    assert not np.any(found.recorded)
    for i in np.flatnonzero(weights):
        vote, share = expected.vote(i)
        np.testing.assert_allclose(found.lead[i] / weights[i], share, rtol=1e-3, atol=1e-5)
        assert found.vote[i] == vote
    for i, (margin, prediction) in expected.latest.items():
        np.testing.assert_allclose(found.latest_margin[i], margin, rtol=1e-4, atol=1e-6)
        assert found.latest_prediction[i] == prediction


def test_several_epochs_equal_a_loop_in_numpy():
    found, expected = recorded()
    assert len(expected.latest) > N / 2
    assert_same(found, expected)


def test_examples_that_are_held_out_are_added_with_the_weight_of_the_others():
    where = np.arange(N) < 16
    found, expected = recorded(where=where)
    assert_same(found, expected)
    of_all, _ = recorded()
    assert np.max(np.abs(found.weight / np.maximum(of_all.weight, 1e-30) - 1)) > 0.01
    assert np.any(found.weight[16:] > 0)


def test_margins_and_an_epoch_by_hand():
    logits = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.25, 0.5, 0.25]]))
    found = audit.record(audit.init(4), jnp.array([3, 0, 1]), logits, jnp.array([0, 2, 1]))
    np.testing.assert_allclose(found.latest_margin, [-0.6, 0.25, 0, 0.5], rtol=1e-5)
    np.testing.assert_array_equal(found.latest_prediction, [0, 1, -1, 0])
    np.testing.assert_array_equal(found.recorded, [True, True, False, True])
    ended = audit.end_epoch(found)
    weight = np.var([-0.6, 0.25, 0.5]) ** 2 / 3**4
    np.testing.assert_allclose(ended.weight, [weight, weight, 0, weight], rtol=1e-5)
    np.testing.assert_allclose(ended.margin, weight * np.array([-0.6, 0.25, 0, 0.5]), rtol=1e-5)
    of_share = (np.var([-0.6, 0.25, 0.5]) / 3) ** 3
    np.testing.assert_allclose(jnp.sum(ended.share), of_share, rtol=1e-5)


def test_an_epoch_that_tells_nothing_weighs_nothing():
    everything = jnp.ones(4, bool)
    for margin in ([-0.1] * 4, [1.0, 0.5, 0.9, 0.8]):
        weights = _dynamics.epoch_weights(jnp.array(margin), everything)
        np.testing.assert_allclose(weights, 0, atol=1e-12)
    weights = _dynamics.epoch_weights(jnp.array([-1.0, 1.0, -1.0, 1.0]), everything)
    assert weights == (0.5**4, 0.5**3)


def test_an_epoch_without_a_record_changes_nothing():
    found, _ = recorded()
    chex.assert_trees_all_equal(audit.end_epoch(found), found)
    begun = audit.record(found, jnp.arange(2), jnp.eye(2, C), jnp.zeros(2, int))
    ended = audit.end_epoch(begun, where=jnp.zeros(N, bool))
    chex.assert_trees_all_equal(ended, begun._replace(recorded=found.recorded))


def test_one_bad_row_spoils_nothing():
    known, _ = recorded()
    logits = np.random.default_rng(1).normal(size=(6, C)).astype(np.float32)
    logits[0, 1], logits[1, 2] = np.nan, -np.inf
    labels, where = np.array([0, 1, C, -1, 1, 2]), np.array([True] * 4 + [False, True])
    found = audit.record(known, np.array([0, 1, 2, 3, 4, N]), logits, labels, where=where)
    chex.assert_trees_all_equal(found, known)
    found = audit.record(known, np.full(6, -1), np.zeros((6, C)), np.zeros(6, int))
    chex.assert_trees_all_equal(found, known)


@pytest.mark.parametrize("compared", [0, 1024])
def test_rows_of_the_same_index_do_not_depend_on_their_order(monkeypatch, compared):
    monkeypatch.setattr(_rows, "COMPARED_ROWS", compared)
    logits = jnp.log(jnp.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]]))
    indices, labels = jnp.array([4, 4, 2]), jnp.array([0, 0, 1])
    for order in (np.array([0, 1, 2]), np.array([2, 1, 0])):
        found = audit.record(audit.init(N), indices[order], logits[order], labels[order])
        np.testing.assert_allclose(found.latest_margin[jnp.array([4, 2])], [(0.2 - 0.4) / 2, -0.8], rtol=1e-5)
        assert found.latest_prediction[4] == 1
        assert found.latest_prediction[2] == 0


def test_the_later_record_of_an_epoch_counts():
    first, second = jnp.eye(1, C), 2 * jnp.eye(1, C)
    one = functools.partial(audit.record, indices=jnp.array([3]), labels=jnp.array([1]))
    twice = one(one(audit.init(N), logits=first), logits=second)
    chex.assert_trees_all_equal(twice, one(audit.init(N), logits=second))


def test_sequences_and_half_precision():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(2, 4, C)).astype(jnp.bfloat16), rng.integers(0, C, (2, 4))
    indices = rng.permutation(8).reshape(2, 4)
    found = audit.record(audit.init(8), indices, logits, labels)
    flat = audit.record(
        audit.init(8), indices.ravel(), logits.reshape(8, C).astype(np.float32), labels.ravel()
    )
    chex.assert_trees_all_equal(found, flat)
    assert found.latest_margin.dtype == jnp.float32


def test_no_gradient_flows():
    def objective(logits):
        found = audit.record(audit.init(N), jnp.arange(2), logits, jnp.zeros(2, int))
        return jnp.sum(found.latest_margin)

    assert not np.any(jax.grad(objective)(jnp.eye(2, C)))


def test_replicas_are_recorded_together():
    expected = [recorded(seed)[0] for seed in range(2)]
    together = jax.vmap(lambda _: audit.init(N))(jnp.arange(2))
    for epochs in zip(batches(0, 4), batches(1, 4), strict=True):
        for rows in zip(*epochs, strict=True):
            indices, logits, labels, kept = map(np.stack, zip(*rows, strict=True))
            together = jax.vmap(lambda d, *batch: audit.record(d, *batch[:3], where=batch[3]))(
                together, indices, logits, labels, kept
            )
        together = jax.vmap(audit.end_epoch)(together)
    for seed in range(2):
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, seed=seed: x[seed], together), expected[seed], rtol=1e-5, atol=1e-9
        )


def test_a_run_that_was_interrupted_within_an_epoch_is_the_same_to_the_bit(tmp_path):
    epochs = list(batches(0, 4))
    record, end_epoch = jax.jit(audit.record), jax.jit(audit.end_epoch)

    def run(dynamics, first, last):
        for step in range(first, last):
            indices, logits, labels, kept = epochs[step // 4][step % 4]
            dynamics = record(dynamics, indices, logits, labels, where=kept)
            if step % 4 == 3:
                dynamics = end_epoch(dynamics)
        return dynamics

    whole = run(audit.init(N), 0, 16)
    np.savez(tmp_path / "dynamics.npz", **run(audit.init(N), 0, 6)._asdict())
    with np.load(tmp_path / "dynamics.npz") as arrays:
        restored = audit.Dynamics(**arrays)
    resumed = run(restored, 6, 16)
    chex.assert_trees_all_equal(resumed, whole)
    chex.assert_trees_all_equal(audit.judge(resumed, LABELS), audit.judge(whole, LABELS))


@pytest.mark.devices
def test_dynamics_split_over_examples_are_the_same_dynamics():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    by_row, whole = jax.NamedSharding(mesh, jax.P("x")), jax.NamedSharding(mesh, jax.P())
    state = audit.init(N)
    split = jax.tree.map(lambda x: jax.device_put(x, by_row if x.shape == (N,) else whole), state)
    record, end_epoch, judge = jax.jit(audit.record), jax.jit(audit.end_epoch), jax.jit(audit.judge)
    for epoch in batches(2, 3):
        for indices, logits, labels, kept in epoch:
            state = record(state, indices, logits, labels, where=kept)
            of_split = jax.device_put((indices, logits, labels), by_row)
            split = record(split, *of_split, where=jax.device_put(kept, by_row))
        state, split = end_epoch(state), end_epoch(split)
    assert not split.margin.sharding.is_fully_replicated
    chex.assert_trees_all_close(split, state, rtol=1e-5, atol=1e-9)
    found, expected = judge(split, jax.device_put(LABELS, by_row)), judge(state, LABELS)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-6)


def test_donated_and_never_compiled_again():
    record = jax.jit(audit.record, donate_argnums=0)
    dynamics = audit.init(N)
    for indices, logits, labels, _ in next(batches(0, 1)):
        dynamics = record(dynamics, indices, logits, labels)
    dynamics = jax.jit(audit.end_epoch, donate_argnums=0)(dynamics)
    record(dynamics, indices, logits, labels)
    assert record._cache_size() == 1


def test_what_is_missing_or_misshapen_is_told():
    logits, labels = np.zeros((4, C), np.float32), np.zeros(4, int)
    with pytest.raises(ValueError, match=r"num_examples must be in .*, got 0"):
        audit.init(0)
    with pytest.raises(ValueError, match=r"expected indices=\.\.\., an integer array like the labels"):
        audit.record(audit.init(N), None, logits, labels)
    with pytest.raises(ValueError, match=r"expected indices of shape \(4,\), like labels, got \(2,\)"):
        audit.record(audit.init(N), np.arange(2), logits, labels)
    with pytest.raises(ValueError, match=r"expected where of shape \(24,\)"):
        audit.end_epoch(audit.init(N), where=np.ones(3, bool))
    assert nox.audit is audit
