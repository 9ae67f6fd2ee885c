"""ogc_loss: whole published traces, gradients, and what happens to batches of every kind."""

import functools
from pathlib import Path

import chex
import hypothesis
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from noisy_optax import losses, ogc
from noisy_optax.ogc import _state, _threshold

GOLDEN = Path(__file__).parents[1] / "golden"
TRACE, GRADIENT = np.load(GOLDEN / "ogc_trace.npz"), np.load(GOLDEN / "ogc_gradient.npz")
STREAMS = {
    "c10": {},
    "c100": {},
    "c10_odd": {"epsilon": 5.0, "update_every": 7, "queue_size": 1000},
}
# c10_odd was made with a tolerance that makes a difference, and with 25 halvings, of which the first 10 get
# within 0.001 of the result.
TOLERANCE = {"c10": 1e-7, "c100": 1e-7, "c10_odd": 1e-2}
BASES = {
    "cross_entropy": losses.cross_entropy,
    "focal": functools.partial(losses.focal, gamma=0.5),
    "generalized_cross_entropy": functools.partial(losses.generalized_cross_entropy, q=0.7),
}
EVERY_CASE = [
    pytest.param(
        stream, base, marks=pytest.mark.slow if stream == "c10_odd" and base != "cross_entropy" else []
    )
    for stream in STREAMS
    for base in BASES
]


@functools.cache
def small(base=losses.cross_entropy, **options):
    """A loss with a queue of 24, fitted in every second step; compiled."""
    robust = ogc.ogc_loss(base, **{"learning_rate": 0.1, "update_every": 2, "queue_size": 24, **options})
    return robust._replace(update=jax.jit(robust.update), value=jax.jit(robust.value))


def advance(robust, state, logits, labels, where=None):
    """`update`, always with a mask, so that one compiled function serves all."""
    return robust.update(state, logits, labels, where=np.ones(labels.shape, bool) if where is None else where)


def batch(seed, *shape, classes=5):
    """Logits of a half-trained model; a third of the labels is wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, shape)
    labels = np.where(rng.random(shape) < 1 / 3, rng.integers(0, classes, shape), truth)
    logits = rng.normal(size=(*shape, classes)) + 3 * np.eye(classes)[truth]
    return logits.astype(np.float32), labels.astype(np.int32)


def negative_log_likelihood(logits, labels):
    """H = -log p in float64."""
    logits = np.asarray(logits, np.float64)
    log_total = np.log(np.sum(np.exp(logits - logits.max(-1, keepdims=True)), -1)) + logits.max(-1)
    h = log_total - np.take_along_axis(logits, labels[..., None], -1)[..., 0]
    return np.clip(h, 1e-7, -np.log(1e-7))


def assert_same(first, second, **tolerances):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerances), first, second)


def trained(robust, steps=4, size=24):
    """The state after some steps; even ones have refitted."""
    state = robust.init()
    for step in range(steps):
        state = advance(robust, state, *batch(step, size))
    return state


# The published run.


def stream_batches(stream):
    if f"{stream}/logits" in TRACE:
        logits = TRACE[f"{stream}/logits"].astype(np.float32) * TRACE[f"{stream}/step"]
        return logits, TRACE[f"{stream}/labels"].astype(np.int32)
    # Two classes with the stored log-odds of the given label.
    log_odds = TRACE[f"{stream}/log_odds"]
    return np.stack([log_odds, np.zeros_like(log_odds)], axis=-1), np.zeros(log_odds.shape, np.int32)


@functools.cache
def run_of(base, options):
    """One compiled run over a stream; the two streams with the authors' settings share it."""

    def run(logits, labels, learning_rates):
        robust = ogc.ogc_loss(
            BASES[base], learning_rate=lambda step: learning_rates[step], mode="published", **dict(options)
        )

        def step(state, inputs):
            state = robust.update(state, *inputs)
            return state, (state.mixture, state.probability_threshold, state.tau)

        return jax.lax.scan(step, robust.init(), (logits, labels))

    return jax.jit(run)


@pytest.mark.parametrize(("stream", "base"), EVERY_CASE)
def test_whole_trace_inside_the_envelope_of_64_published_runs(stream, base, monkeypatch):
    monkeypatch.setattr(_threshold, "TOLERANCE", TOLERANCE[stream])
    logits, labels = stream_batches(stream)
    run = run_of(base, tuple(STREAMS[stream].items()))
    state, (mixture, threshold, tau) = run(logits, labels, TRACE[f"{stream}/lr"])
    assert state.count == len(labels)

    refits = TRACE[f"{stream}/update_steps"]
    # Every refit is there, none is late, and nothing moves between them.
    changes = np.flatnonzero(np.diff(np.asarray(mixture.means)[:, 0])) + 1
    np.testing.assert_array_equal(changes, refits)
    assert set(np.flatnonzero(np.diff(threshold)) + 1) <= set(refits)
    assert np.all(threshold[: refits[0]] == np.float32(1e-7))

    found = np.stack([mixture.means, mixture.variances], axis=-1).reshape(-1, 4)[refits]
    assert np.all(found > TRACE[f"{stream}/gmm_min"] - 1e-4)
    assert np.all(found < TRACE[f"{stream}/gmm_max"] + 1e-4)
    assert np.all(threshold[refits] > TRACE[f"{stream}/{base}/threshold_min"] - 0.001)
    assert np.all(threshold[refits] < TRACE[f"{stream}/{base}/threshold_max"] + 0.001)
    slope = jax.vmap(lambda p: _threshold.threshold_slope(BASES[base], p))
    np.testing.assert_allclose(tau[refits], slope(threshold[refits]), rtol=1e-6)


@pytest.mark.parametrize(("stream", "base"), EVERY_CASE)
def test_gradients_are_the_published_ones(stream, base):
    robust = small(BASES[base])
    size = int(GRADIENT[f"{stream}/batch"])

    @jax.jit
    @jax.grad
    def gradient(logits, labels, threshold, tau):
        state = robust.init()._replace(probability_threshold=threshold, tau=tau)
        return jnp.sum(robust.value(state, logits, labels)) / size

    thresholds = GRADIENT[f"{stream}/{base}/threshold"].astype(np.float32)
    taus = GRADIENT[f"{stream}/{base}/tau"].astype(np.float32)
    assert np.sum(thresholds > 1e-3) >= 2
    for step in range(len(thresholds)):
        logits = GRADIENT[f"{stream}/logits"][step].astype(np.float32) * GRADIENT[f"{stream}/step"]
        labels = GRADIENT[f"{stream}/labels"][step].astype(np.int32)
        found = gradient(logits, labels, thresholds[step], taus[step])
        expected = GRADIENT[f"{stream}/{base}/grad"][step]
        # The published softmax rounds 1 - p to multiples of 6e-8.
        rounding = 4 * 6e-8 * min(taus[step], 2.0) / size
        largest = np.abs(expected).max(axis=1, keepdims=True)
        assert np.all(np.abs(found - expected) <= 1e-5 * largest + rounding)


# Value.


@pytest.mark.parametrize("base", BASES)
def test_nothing_is_clipped_before_the_first_refit(base):
    robust = small(BASES[base])
    logits, labels = batch(0, 64)

    def both(loss):
        return jax.jit(jax.value_and_grad(lambda z: jnp.sum(loss(z, labels))))(logits)

    assert_same(both(functools.partial(robust.value, robust.init())), both(BASES[base]), rtol=1e-6)


@pytest.mark.parametrize("base", BASES)
def test_slope_is_the_smaller_of_g_and_tau_and_the_value_is_continuous(base):
    robust = small(BASES[base])
    threshold = jnp.float32(0.3)
    tau = _threshold.threshold_slope(BASES[base], threshold)
    state = robust.init()._replace(probability_threshold=threshold, tau=tau)

    def of_p(p, value):
        logits = jnp.stack([jnp.log(p) - jnp.log1p(-p), jnp.zeros_like(p)], axis=-1)
        return value(logits, jnp.zeros(p.shape, jnp.int32))

    p = np.array([1e-6, 0.01, 0.1, 0.3 - 1e-6, 0.3 + 1e-6, 0.5, 0.9], np.float32)
    clipped, base_of_p = (
        jax.jit(jax.vmap(jax.value_and_grad(functools.partial(of_p, value=value))))
        for value in (functools.partial(robust.value, state), BASES[base])
    )
    (values, slopes), (unclipped_values, unclipped_slopes) = clipped(p), base_of_p(p)
    np.testing.assert_allclose(slopes, np.maximum(unclipped_slopes, -tau), rtol=2e-5)
    np.testing.assert_allclose(values[p > 0.3], unclipped_values[p > 0.3], rtol=1e-6)
    below, above = values[3:5]
    np.testing.assert_allclose(below, above, atol=1e-5)


def test_absolute_error_is_never_clipped():
    robust = small(losses.mean_absolute_error)
    state = trained(robust)
    logits, labels = batch(9, 24)
    assert state.probability_threshold == np.float32(1e-7)
    np.testing.assert_allclose(
        robust.value(state, logits, labels), losses.mean_absolute_error(logits, labels), atol=1e-6
    )


def test_update_before_value_in_one_gradient():
    robust = small()
    state = trained(robust, steps=1)
    logits, labels = batch(1, 24)

    def loss(logits):
        new = advance(robust, state, logits, labels)
        return jnp.mean(robust.value(new, logits, labels)), new

    gradient, new = jax.jit(jax.grad(loss, has_aux=True))(logits)
    # The refit of the step is in force in the same step, and no gradient flows through it.
    assert new.probability_threshold > 0.01 > state.probability_threshold
    expected = jax.jit(jax.grad(lambda z: jnp.mean(robust.value(new, z, labels))))(logits)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    through = jax.jit(jax.grad(lambda z: jnp.sum(advance(robust, state, z, labels).queue)))(logits)
    np.testing.assert_array_equal(through, 0)


# The queue.


@pytest.mark.parametrize("sizes", [(24, 24), (7, 7, 7), (7, 24), (24, 7, 7, 7, 7, 7)])
def test_queue_holds_the_latest_examples_in_order(sizes):
    robust = small()
    state, seen = robust.init(), []
    for step, size in enumerate(sizes):
        logits, labels = batch(step, size)
        state = advance(robust, state, logits, labels)
        seen.extend(negative_log_likelihood(logits, labels))
    assert state.filled == min(len(seen), 24)
    kept = seen[-24:]
    np.testing.assert_array_equal(state.valid, np.arange(24) >= 24 - len(kept))
    np.testing.assert_allclose(state.queue[24 - len(kept) :], kept, rtol=1e-5, atol=1e-6)


def test_nothing_happens_until_the_queue_is_full():
    robust = small()
    for steps, full in [(2, False), (3, False), (4, True)]:
        state = trained(robust, steps, size=7)
        assert (state.count, state.filled) == (steps, min(7 * steps, 24))
        assert (state.probability_threshold > np.float32(1e-7)) == full
        assert np.all((state.mixture.means > 0) == full)


def test_a_batch_larger_than_the_queue_is_thinned_out():
    robust = small()
    logits, labels = batch(0, 100)
    state = advance(robust, trained(robust, 1), logits, labels)
    everything = negative_log_likelihood(logits, labels)
    positions = np.array([int(np.argmin(np.abs(everything - h))) for h in np.asarray(state.queue)])
    assert len(set(positions)) == 24
    assert state.probability_threshold > 1e-3
    # Every tenth of the batch is there.
    assert set(positions // 10) == set(range(10))


@pytest.mark.parametrize(
    ("rows", "columns", "size"), [(64, 128, 4096), (512, 32, 512), (100, 41, 4096), (7, 3, 20)]
)
def test_thinning_spares_no_row_and_no_column(rows, columns, size):
    indices = _state.spread_indices(rows * columns, size)
    assert len(set(indices)) == size
    for index, count in ((indices // columns, rows), (indices % columns, columns)):
        share = np.bincount(index, minlength=count) * count / size
        assert share.min() > 0.5 - count / size
        assert share.max() < 1.5 + count / size


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_masked_examples_have_no_say(garbage):
    robust = small()
    logits, labels = batch(0, 24)
    where = np.arange(24) % 3 > 0
    spoiled = np.where(where[:, None], logits, np.float32(garbage))
    clean = advance(robust, trained(robust, 3), logits, labels, where)
    dirty = advance(robust, trained(robust, 3), spoiled, np.where(where, labels, 99).astype(np.int32), where)
    assert_same(clean, dirty)
    np.testing.assert_array_equal(clean.valid, where)
    assert_same(clean.mixture, ogc.fit_mixture(np.asarray(clean.queue)[where]), rtol=1e-5)


def test_examples_without_a_loss_have_no_say_either():
    robust = small()
    logits, labels = batch(0, 24)
    logits[3], logits[5, 0], labels[7] = np.nan, np.inf, -1
    where = ~np.isin(np.arange(24), [3, 5, 7])
    state = advance(robust, trained(robust, 3), logits, labels)
    assert_same(state, advance(robust, trained(robust, 3), logits, labels, where))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    value = robust.value(state, logits, labels)
    np.testing.assert_array_equal(np.isnan(value), ~where)
    np.testing.assert_array_equal(robust.value(state, logits, labels, where=where)[~where], 0)


@pytest.mark.parametrize("size", [0, 2, 3])
def test_too_few_valid_examples_keep_the_old_threshold(size):
    robust = small()
    old = trained(robust, 3)._replace(probability_threshold=jnp.float32(0.123))
    new = advance(robust, old, *batch(0, 24), np.arange(24) < size)
    assert new.count == 4
    # An eighth of 24 slots is enough.
    assert (new.probability_threshold == old.probability_threshold) == (size < 3)
    assert (new.mixture.means[0] == old.mixture.means[0]) == (size < 3)


def test_certain_and_impossible_labels_are_limited():
    robust = small()
    logits = np.zeros((24, 5), np.float32)
    logits[:4, 0], logits[3, 1:] = [1e4, -1e4, -np.inf, 0], -np.inf
    state = advance(robust, trained(robust, 3), logits, np.zeros(24, np.int32))
    assert np.all(state.valid)
    np.testing.assert_allclose(state.queue[:4], [1e-7, 16.118095, 16.118095, 1e-7], rtol=1e-6)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))


DEGENERATE = {
    "all equal": np.full(24, 2.3),
    "two values": np.repeat([0.1, 3.0], 12),
    "upper clamp": np.full(24, 16.118),
    "lower clamp": np.full(24, 1e-7),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_queues_give_a_finite_threshold(name):
    robust = small()
    log_odds = -np.log(np.expm1(DEGENERATE[name]))
    logits = np.concatenate([log_odds[:, None], np.full((24, 4), -np.log(4))], axis=1).astype(np.float32)
    state = advance(robust, trained(robust, 1), logits, np.zeros(24, np.int32))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    # Where nothing tells two kinds of labels apart nothing is clipped.
    assert (state.probability_threshold > np.float32(1e-7)) == (name == "two values")


LEAST, MOST = float(np.float32(1e-7)), float(np.float32(16.118))


@hypothesis.given(
    queue=stn.arrays(
        np.float32, 24, elements=st.sampled_from([LEAST, 0.5, MOST]) | st.floats(LEAST, MOST, width=32)
    ),
    valid=stn.arrays(np.bool_, 24),
    logits=stn.arrays(np.float32, (7, 5), elements=st.floats(width=32)),
    labels=stn.arrays(np.int32, 7, elements=st.integers(-1, 5)),
    where=stn.arrays(np.bool_, 7),
)
def test_any_queue_and_any_batch_give_a_state_to_go_on_from(queue, valid, logits, labels, where):
    robust = small()
    full = robust.init()._replace(count=jnp.int32(3), filled=jnp.int32(24), queue=queue, valid=valid)
    state = advance(robust, full, logits, labels, where)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    assert state.count == 4
    assert np.float32(1e-7) <= state.probability_threshold <= 1
    assert state.tau >= 0
    assert state.mixture.means[0] <= state.mixture.means[1]
    assert np.all(state.mixture.variances > 0)
    np.testing.assert_allclose(np.sum(state.mixture.weights), 1, rtol=1e-5)
    np.testing.assert_array_equal(state.valid[:17], valid[7:])
    value = robust.value(state, logits, labels, where=where)
    assert not np.any(np.isinf(value))
    # Whatever has no loss has no say, and the other way round.
    np.testing.assert_array_equal(state.valid[17:], where & ~np.isnan(value))


def test_tokens_are_examples():
    robust = small()
    logits, labels = batch(0, 4, 6)
    where = np.random.default_rng(0).random((4, 6)) < 0.7
    tokens = advance(robust, trained(robust, 3), logits, labels, where)
    flat = advance(robust, trained(robust, 3), logits.reshape(24, 5), labels.ravel(), where.ravel())
    assert_same(tokens, flat)
    assert robust.value(tokens, logits, labels, where=where).shape == (4, 6)


@jax.numpy_dtype_promotion("standard")
def test_half_precision_logits():
    robust = small()
    logits, labels = batch(0, 24)
    half = jnp.asarray(logits, jnp.bfloat16)
    state = advance(robust, trained(robust, 1), half, labels)
    assert state.queue.dtype == jnp.float32
    np.testing.assert_allclose(state.queue, negative_log_likelihood(half, labels), rtol=1e-5, atol=1e-6)


# Hyper-parameters.


def test_bound_follows_the_step_count_from_zero():
    robust = small(learning_rate=optax.linear_schedule(0.1, 0.0, 4), epsilon=10.0)
    found = [robust.init().bound, *(trained(robust, steps).bound for steps in (1, 2, 3))]
    np.testing.assert_allclose(found, [2.0, 2.0, 1.75, 1.5])
    falling = small(learning_rate=None, bound=optax.linear_schedule(3.0, 1.0, 4))
    np.testing.assert_allclose(trained(falling, 3).bound, 2.0)
    assert ogc.ogc_loss(bound=2.5).init().bound == 2.5


def test_a_smaller_bound_clips_more():
    tight, loose = (trained(small(learning_rate=None, bound=bound)) for bound in (1.5, 4.0))
    assert tight.probability_threshold > 1.5 * loose.probability_threshold > 1e-3
    assert tight.tau < loose.tau


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match="either learning_rate or bound, got neither"):
        ogc.ogc_loss()
    with pytest.raises(ValueError, match="either learning_rate or bound, got both"):
        ogc.ogc_loss(learning_rate=0.1, bound=2.0)
    for options, message in [
        ({"epsilon": 0.0}, "epsilon must be in"),
        ({"learning_rate": -0.1}, "learning_rate must be in"),
        ({"learning_rate": None, "bound": 0.9}, "bound must be in"),
        ({"update_every": 0}, "update_every must be in"),
        ({"queue_size": 0}, "queue_size must be in"),
        ({"mode": "fast"}, "mode must be one of"),
        ({"base": functools.partial(losses.generalized_cross_entropy, q=1.5)}, r"q must be in \(0.0, 1.0\]"),
        ({"base": losses.of_probability(lambda p: p)}, "base must decrease"),
    ]:
        with pytest.raises(ValueError, match=message):
            # A base is looked at when the state is made: until then nothing is computed.
            small(**options).init()


# What it compiles to.


def primitives(jaxpr, inside=()):
    """Every primitive of a jaxpr with the names of the ones it is nested in."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name, inside
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from primitives(inner, (*inside, equation.primitive.name))


def step_of(robust):
    def step(state, logits, labels):
        def loss(logits):
            new = robust.update(state, logits, labels)
            return jnp.mean(robust.value(new, logits, labels)), new

        return jax.value_and_grad(loss, has_aux=True)(logits)

    return step


@pytest.mark.parametrize("base", BASES)
def test_nothing_leaves_the_device(base):
    robust = small(BASES[base])
    found = list(primitives(jax.make_jaxpr(step_of(robust))(robust.init(), *batch(0, 24)).jaxpr))
    assert any(name == "sort" and "cond" in inside for name, inside in found)
    assert not [name for name, _ in found if "callback" in name or "infeed" in name or "outfeed" in name]


def test_replicas_refit_only_when_due():
    robust = small()
    axes = ogc.replica_axes(robust.init())
    replicas = jax.vmap(step_of(robust), in_axes=(axes, 0, 0), out_axes=((0, axes), 0))
    states = jax.vmap(robust.init, out_axes=axes, axis_size=3)()
    found = list(primitives(jax.make_jaxpr(replicas)(states, *batch(0, 3, 24)).jaxpr))
    # With a batched counter `cond` would be gone, and sort and while would run in every step.
    assert [inside for name, inside in found if name in ("sort", "while")]
    assert all("cond" in inside for name, inside in found if name in ("sort", "while"))

    single = [robust.init()] * 3
    for step in range(4):
        logits, labels = batch(step, 3, 24)
        (_, states), _ = jax.jit(replicas)(states, logits, labels)
        single = [advance(robust, single[i], logits[i], labels[i]) for i in range(3)]
    assert states.count.shape == ()
    assert states.queue.shape == (3, 24)
    for i in range(3):
        assert_same(states.probability_threshold[i], single[i].probability_threshold, rtol=1e-4)


def test_axes_of_a_state_inside_another():
    inner = small().init()
    axes = ogc.replica_axes({"loss": inner, "other": jnp.zeros(3)})
    assert axes == {"loss": ogc.replica_axes(inner), "other": 0}
    assert axes["loss"].count is None
    assert axes["loss"].mixture == ogc.Mixture(0, 0, 0)


def test_compiled_once():
    robust = ogc.ogc_loss(learning_rate=0.1, update_every=2, queue_size=24)
    update, value = jax.jit(robust.update), jax.jit(robust.value)
    state = robust.init()
    for step in range(5):
        inputs = batch(step, 24)
        state = update(state, *inputs)
        value(state, *inputs)
    assert update._cache_size() == 1
    assert value._cache_size() == 1


def test_state_is_a_carry_of_arrays():
    robust = small()
    state = robust.init()
    assert all(isinstance(leaf, jax.Array) and leaf.size for leaf in jax.tree.leaves(state))
    shapes = jax.eval_shape(robust.update, state, *batch(0, 24))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, shapes)
    scanned, _ = jax.lax.scan(lambda state, x: (robust.update(state, *x), None), state, batch(0, 4, 24))
    assert scanned.count == 4


def test_no_nan_on_the_way():
    robust = small()
    with jax.debug_nans(True):
        state = trained(robust)
        jax.jit(jax.grad(lambda z, y: jnp.sum(robust.value(state, z, y))))(*batch(0, 24))


@jax.numpy_dtype_promotion("standard")
def test_double_precision():
    with jax.enable_x64(True):
        robust = ogc.ogc_loss(learning_rate=0.1, update_every=2, queue_size=24)
        wide = [leaf.dtype for leaf in jax.tree.leaves(trained(robust)) if leaf.dtype.kind == "f"]
        assert set(wide) == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    ("axis_type", "axes", "shape"),
    [("Auto", ("data",), (24,)), ("Explicit", ("data",), (24,)), ("Explicit", (None, "data"), (4, 16))],
)
def test_a_sharded_batch_gives_the_same_state(axis_type, axes, shape):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType[axis_type],))
    sharding = jax.NamedSharding(mesh, jax.P(*axes))
    robust = small()
    whole, shared = robust.init(), robust.init()
    for step in range(4):
        inputs = batch(step, *shape)
        whole = advance(robust, whole, *inputs)
        shared = robust.update(shared, *jax.device_put(inputs, sharding))
    assert_same(whole, shared, rtol=1e-5, atol=1e-6)


def test_shard_map_gathers_the_batch():
    mesh = jax.make_mesh((8,), ("data",))
    robust, split = small(), ogc.ogc_loss(learning_rate=0.1, update_every=2, queue_size=24, axis_name="data")
    data, same = jax.P("data"), jax.P()
    update = jax.jit(jax.shard_map(split.update, mesh=mesh, in_specs=(same, data, data), out_specs=same))
    whole, shared = robust.init(), split.init()
    for step in range(4):
        inputs = batch(step, 24)
        whole = advance(robust, whole, *inputs)
        shared = update(shared, *jax.device_put(inputs, jax.NamedSharding(mesh, data)))
    assert_same(whole, shared, rtol=1e-5, atol=1e-6)


# The posterior.


def test_clean_probability_is_the_posterior_between_the_means():
    mixture = ogc.Mixture(jnp.array([0.5, 3.0]), jnp.array([0.2, 1.5]), jnp.array([0.7, 0.3]))
    state = small().init()._replace(mixture=mixture)

    def density(h, mean, variance, weight):
        return weight * np.exp(-((h - mean) ** 2) / (2 * variance)) / np.sqrt(variance)

    h = np.linspace(0.5, 3.0, 20).astype(np.float32)
    clean, noisy = density(h, 0.5, 0.2, 0.7), density(h, 3.0, 1.5, 0.3)
    np.testing.assert_allclose(ogc.clean_probability(state.mixture, h), clean / (clean + noisy), rtol=1e-4)
    # A wide component does not take over beyond the other's mean.
    everywhere = ogc.clean_probability(state.mixture, np.linspace(-5, 20, 100).astype(np.float32))
    assert np.all(np.diff(everywhere) <= 0)
    assert ogc.clean_probability(state.mixture, np.zeros((2, 3), np.float32)).shape == (2, 3)
    assert np.isnan(ogc.clean_probability(state.mixture, np.float32(np.nan)))
    half = ogc.clean_probability(state.mixture, jnp.array([0.0, 4.0], jnp.bfloat16))
    assert half.dtype == jnp.float32


def test_clean_probability_of_several_replicas_is_refused():
    state = small().init()
    replicas = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    with pytest.raises(ValueError, match=r"mixture of one replica.*\(2, 2\); use jax.vmap"):
        ogc.clean_probability(replicas.mixture, np.zeros(2, np.float32))


def test_clean_probability_without_a_fit_and_of_a_degenerate_one():
    state = small().init()
    np.testing.assert_array_equal(ogc.clean_probability(state.mixture, np.array([0.0, 9.0], np.float32)), 0.5)
    one = ogc.fit_mixture(np.full(9, 2.0, np.float32))
    np.testing.assert_array_equal(ogc.clean_probability(one, np.array([0.0, 2.0, 9.0], np.float32)), 1.0)
