"""Early-learning regularization: the published numbers, and what a memory must never do."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox
from noisy_optax import losses, memory
from noisy_optax.memory import _rows

GOLDEN = Path(__file__).parent.parent / "golden"
RUNS = json.loads((GOLDEN / "elr.json").read_text())["runs"]
N, C = 6, 3


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "elr.npz") as arrays:
        return dict(arrays)


def build(**options):
    return memory.early_learning_regularization(**{"num_examples": N, "num_classes": C, **options})


LOGITS = np.random.default_rng(0).normal(size=(4, C)).astype(np.float32)
LABELS, INDICES = np.array([0, 1, 2, 0]), np.array([5, 0, 3, 2])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("run", RUNS, ids=lambda run: str(run["run"]))
def test_losses_gradients_and_targets_are_the_published_ones(golden, run):
    examples, classes = golden[f"run{run['run']}/final_target"].shape
    elr = memory.early_learning_regularization(
        examples, classes, weight=run["lambda"], decay=run["beta"], dtype=jnp.float64
    )

    @jax.jit
    def step(state, logits, labels, indices):
        def objective(logits):
            values, new = elr.apply(state, logits, labels, indices=indices)
            return jnp.mean(values), new

        (value, new), gradient = jax.value_and_grad(objective, has_aux=True)(logits)
        return new, value, gradient

    state = elr.init()
    for t, (logits, indices) in enumerate(zip(golden["logits"], golden["indices"], strict=True)):
        assert len(np.unique(indices)) == len(indices)
        labels = golden["labels"][indices]
        state, value, gradient = step(state, logits.astype(np.float64), labels, indices)
        name = f"run{run['run']}"
        np.testing.assert_allclose(value, golden[f"{name}/loss"][t], rtol=1e-9)
        np.testing.assert_allclose(gradient, golden[f"{name}/grad"][t], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(state.targets[indices], golden[f"{name}/target_of_batch"][t], rtol=1e-9)
    np.testing.assert_allclose(state.targets, golden[f"{name}/final_target"], rtol=1e-9, atol=1e-300)


def test_a_step_by_hand():
    elr = build(weight=2.0, decay=0.75)
    logits = np.array([[np.log(3), 0, -100]], np.float32)
    values, state = elr.apply(elr.init(), logits, np.array([0]), indices=np.array([4]))
    p = np.array([0.75, 0.25, 1e-4])
    target = 0.25 * p / p.sum()
    np.testing.assert_allclose(state.targets[4], target, rtol=1e-6)
    np.testing.assert_allclose(values, [-np.log(0.75) + 2 * np.log(1 - target @ p)], rtol=1e-5)
    assert not np.any(np.delete(state.targets, 4, axis=0))


def test_without_weight_it_is_its_base():
    base = losses.generalized_cross_entropy
    elr = build(base=base, weight=0.0)
    values, _ = elr.apply(elr.init(), LOGITS, LABELS, indices=INDICES)
    np.testing.assert_array_equal(values, base(LOGITS, LABELS))


def test_indices_out_of_range_write_nothing_and_read_an_example_never_seen():
    elr = build()
    _, known = elr.apply(elr.init(), LOGITS, LABELS, indices=INDICES)
    outside = np.array([-1, N, -N, 2**31 - 1])
    values, state = elr.apply(known, LOGITS, LABELS, indices=outside)
    np.testing.assert_array_equal(state.targets, known.targets)
    np.testing.assert_allclose(values, losses.cross_entropy(LOGITS, LABELS), rtol=1e-6)


def test_one_bad_row_spoils_nothing():
    elr = build()
    _, known = elr.apply(elr.init(), LOGITS, LABELS, indices=INDICES)
    logits, labels, where = LOGITS.copy(), LABELS.copy(), np.array([True, True, False, True])
    logits[0, 1] = np.nan
    labels[1] = C
    logits[3] = 1.0
    _, state = elr.apply(known, logits, labels, where=where, indices=INDICES)
    untouched = [INDICES[0], INDICES[1], INDICES[2]]
    np.testing.assert_array_equal(state.targets[untouched,], known.targets[untouched,])
    assert np.any(state.targets[INDICES[3]] != known.targets[INDICES[3]])

    def total(z):
        return elr.value(state, z, labels, where=where, indices=INDICES)

    values, pull_back = jax.vjp(total, jnp.asarray(logits))
    (gradient,) = pull_back(jnp.ones_like(values))
    np.testing.assert_array_equal(np.isnan(values), [True, True, False, False])
    np.testing.assert_array_equal(np.isnan(gradient).any(axis=1), [True, True, False, False])
    assert values[2] == 0
    assert not np.any(gradient[2])


def test_rows_of_the_same_index_write_their_mean():
    elr = build(decay=0.5)
    _, known = elr.apply(elr.init(), LOGITS, LABELS, indices=INDICES)
    twice = np.array([3, 1, 3, 3])
    where = np.array([True, True, True, False])
    _, state = elr.apply(known, LOGITS, LABELS, where=where, indices=twice)
    alone = [
        elr.apply(known, LOGITS[i : i + 1], LABELS[i : i + 1], indices=np.array([3]))[1].targets[3]
        for i in (0, 2)
    ]
    np.testing.assert_allclose(state.targets[3], np.mean(alone, axis=0), rtol=1e-6)
    one = elr.apply(known, LOGITS[1:2], LABELS[1:2], indices=np.array([1]))[1].targets[1]
    np.testing.assert_allclose(state.targets[1], one, rtol=1e-6)


def test_large_batches_are_sorted_to_the_same_means(monkeypatch):
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(40, C)).astype(np.float32), rng.integers(0, C, 40)
    indices, where = rng.integers(-1, N + 1, 40), rng.random(40) < 0.8
    elr = build()
    _, compared = elr.apply(elr.init(), logits, labels, where=where, indices=indices)
    monkeypatch.setattr(_rows, "COMPARED_ROWS", 0)
    _, ordered = elr.apply(elr.init(), logits, labels, where=where, indices=indices)
    np.testing.assert_allclose(ordered.targets, compared.targets, rtol=1e-5, atol=1e-7)


def test_value_only_reads_and_no_gradient_flows_through_the_targets():
    elr = build()

    def through(z):
        values, _ = elr.apply(elr.init(), z, LABELS, indices=INDICES)
        return jnp.sum(values)

    _, state = elr.apply(elr.init(), LOGITS, LABELS, indices=INDICES)

    def held(z):
        return jnp.sum(elr.value(state, z, LABELS, indices=INDICES))

    np.testing.assert_allclose(jax.grad(through)(LOGITS), jax.grad(held)(LOGITS), rtol=1e-6)
    # The gradient by hand: with t constant, CE's plus lambda times the derivative of log(1 - <t, p>).
    p = np.asarray(jax.nn.softmax(LOGITS))
    t = np.asarray(state.targets)[INDICES]
    s = (t * p).sum(axis=1, keepdims=True)
    expected = p - np.eye(C)[LABELS] - 3.0 * p * (t - s) / (1 - s)
    np.testing.assert_allclose(jax.grad(held)(LOGITS), expected, rtol=1e-4, atol=1e-6)


def test_a_weight_may_follow_a_schedule():
    elr = build(weight=optax.linear_schedule(0.0, 4.0, 4))
    state = elr.init()
    for expected in (0.0, 1.0, 2.0):
        _, state = elr.apply(state, LOGITS, LABELS, indices=INDICES)
        assert state.weight == expected


def test_sequences_half_precision_and_replicas():
    logits, labels, indices = (x.reshape(2, 2, *x.shape[1:]) for x in (LOGITS, LABELS, INDICES))
    elr = build()
    values, state = elr.apply(elr.init(), logits, labels, indices=indices)
    flat, flat_state = elr.apply(elr.init(), LOGITS, LABELS, indices=INDICES)
    np.testing.assert_allclose(values.ravel(), flat, rtol=1e-6)
    np.testing.assert_array_equal(state.targets, flat_state.targets)
    half = build(dtype=jnp.bfloat16)
    of_half, half_state = half.apply(half.init(), LOGITS, LABELS, indices=INDICES)
    assert half_state.targets.dtype == jnp.bfloat16
    assert of_half.dtype == jnp.float32
    np.testing.assert_allclose(of_half, flat, rtol=0.02)
    states = jax.vmap(elr.init, axis_size=2)()
    stacked = jnp.stack([LOGITS, LOGITS[::-1]])

    def apply(state, z):
        return elr.apply(state, z, LABELS, indices=INDICES)

    together, _ = jax.vmap(apply)(states, stacked)
    np.testing.assert_allclose(together[0], flat, rtol=1e-6)
    np.testing.assert_allclose(
        together[1], elr.apply(elr.init(), LOGITS[::-1], LABELS, indices=INDICES)[0], rtol=1e-6
    )


@pytest.mark.devices
def test_a_memory_split_over_examples_is_the_same_memory():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    by_row = jax.NamedSharding(mesh, jax.P("x"))
    elr = build(num_examples=64)
    rng = np.random.default_rng(1)
    state = elr.init()
    split = state._replace(targets=jax.device_put(state.targets, by_row))
    step = jax.jit(lambda s, *batch: elr.apply(s, batch[0], batch[1], indices=batch[2]))
    for _ in range(20):
        batch = rng.normal(size=(16, C)).astype(np.float32), rng.integers(0, C, 16), rng.integers(0, 64, 16)
        values, state = step(state, *batch)
        found, split = step(split, *jax.device_put(batch, by_row))
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(split.targets, state.targets, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_examples": 0}, "num_examples must be in"),
        ({"num_classes": 1}, r"num_classes must be in \[2, inf\), got 1"),
        ({"weight": -1.0}, "weight must be in"),
        ({"decay": 1.0}, r"decay must be in \[0.0, 1.0\), got 1.0"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_what_is_missing_or_misshapen_is_told():
    elr = build()
    with pytest.raises(ValueError, match=r"expected indices=\.\.\., an integer array like the labels"):
        elr.apply(elr.init(), LOGITS, LABELS)
    with pytest.raises(ValueError, match=r"expected indices of shape \(4,\), like labels, got \(2,\)"):
        elr.apply(elr.init(), LOGITS, LABELS, indices=INDICES[:2])
    with pytest.raises(TypeError, match="indices must be integers, got float32"):
        elr.apply(elr.init(), LOGITS, LABELS, indices=INDICES.astype(np.float32))
    with pytest.raises(
        ValueError, match=r"expected logits \[\.\.\., 3\], as num_classes says, got shape \(4, 2\)"
    ):
        elr.apply(elr.init(), LOGITS[:, :2], LABELS % 2, indices=INDICES)
    with pytest.raises(TypeError, match="dtype must be floating, got int32"):
        build(dtype=jnp.int32)
    # Losses without memory take indices and do not look at them.
    plain = nox.stateless(losses.cross_entropy)
    np.testing.assert_array_equal(
        plain.apply(plain.init(), LOGITS, LABELS, indices="anything")[0], losses.cross_entropy(LOGITS, LABELS)
    )
