"""OGC over per-example gradients: equal to the loss form, and by gradient norms."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from optax.experimental import _aggregating as aggregating

import noisy_optax as nox
from noisy_optax import losses, ogc
from noisy_optax.losses import _of_probability
from noisy_optax.ogc import _clip_by_gradient_norm, _threshold

BASES = {
    "cross_entropy": losses.cross_entropy,
    "focal": functools.partial(losses.focal, gamma=0.5),
    "generalized_cross_entropy": functools.partial(losses.generalized_cross_entropy, q=0.7),
}
OPTIONS = {"bound": 1.3, "update_every": 2, "queue_size": 32}
STEPS, BATCH, CLASSES = 6, 16, 4


def data(seed=0):
    """Images whose class shows in one quadrant; a third of the labels is wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES, (STEPS, BATCH))
    images = rng.normal(size=(STEPS, BATCH, 8, 8, 1)).astype(np.float32)
    for label, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        images[truth == label, row : row + 4, column : column + 4] += 2.0
    labels = np.where(rng.random(truth.shape) < 1 / 3, rng.integers(0, CLASSES, truth.shape), truth)
    return images, labels.astype(np.int32)


class MLP(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.head = nnx.Linear(64, 16, rngs=rngs), nnx.Linear(16, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.head(jax.nn.relu(self.hidden(x.reshape(len(x), -1))))


class GroupNormCNN(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 8, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.GroupNorm(8, num_groups=2, rngs=rngs)
        self.head = nnx.Linear(128, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.head(jax.nn.relu(self.norm(self.conv(x))).reshape(len(x), -1))


def functional(model):
    """Parameters, and a function of them that gives logits."""
    graph, params = nnx.split(model(nnx.Rngs(0)))
    return params, lambda params, x: nnx.merge(graph, params, copy=True)(x)


def train_by_loss(base, params, apply, optimizer):
    robust = ogc.ogc_loss(base, **OPTIONS)

    def step(carry, batch):
        params, loss_state, state = carry

        def objective(params):
            logits = apply(params, batch[0])
            new = robust.update(loss_state, logits, batch[1])
            return jnp.mean(robust.value(new, logits, batch[1])), new

        gradient, loss_state = jax.grad(objective, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, loss_state, state), (updates, loss_state.tau)

    carry = params, robust.init(), optimizer.init(params)
    return jax.jit(lambda carry, batches: jax.lax.scan(step, carry, batches)[1])(carry, data())


def train_by_example(base, params, apply, optimizer, *, chunk_size=None, bounded=False):
    chain = optax.chain(ogc.clip_by_probability(base, **OPTIONS), optimizer)

    def example_losses(params, x, y):
        logits = apply(params, x)
        return base(logits, y), losses.label_log_probability(logits, y)

    gradients = nox.per_example_gradients(example_losses, has_aux=True, chunk_size=chunk_size)
    weighted = nox.weighted_gradient(lambda *args: example_losses(*args)[0], chunk_size=chunk_size)

    def step(carry, batch):
        params, state = carry
        if bounded:
            extra = {
                "log_probabilities": example_losses(params, *batch)[1],
                "weighted_gradient": lambda weights: weighted(params, weights, *batch),
            }
            updates, state = chain.update(None, state, params, **extra)
        else:
            g, log_p = gradients(params, *batch)
            updates, state = chain.update(g, state, params, log_probabilities=log_p)
        return (optax.apply_updates(params, updates), state), (updates, state[0].tau)

    carry = params, chain.init(params)
    return jax.jit(lambda carry, batches: jax.lax.scan(step, carry, batches)[1])(carry, data())


def assert_same_updates(found, expected):
    """To 1e-5 of each array's largest entry, in every step."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        flat_a, flat_b = (np.asarray(x).reshape(STEPS, -1) for x in (a, b))
        scale = np.abs(flat_b).max(axis=1, keepdims=True)
        assert np.all(np.abs(flat_a - flat_b) <= 1e-5 * scale)


@pytest.mark.parametrize(
    ("model", "base"),
    [
        pytest.param(model, base, marks=[] if base in ours else pytest.mark.slow)
        for model, ours in ((MLP, {"cross_entropy", "focal"}), (GroupNormCNN, {"generalized_cross_entropy"}))
        for base in BASES
    ],
)
def test_both_forms_give_the_same_updates(model, base):
    params, apply = functional(model)
    optimizer = optax.sgd(0.1, momentum=0.9)
    expected, expected_tau = train_by_loss(BASES[base], params, apply, optimizer)
    # The threshold is at work: what follows would not notice a weight of 1 for all.
    assert np.sum(np.abs(np.diff(expected_tau)) > 0) == 3
    found, tau = train_by_example(BASES[base], params, apply, optimizer)
    np.testing.assert_allclose(tau, expected_tau, rtol=1e-5)
    assert_same_updates(found, expected)


def test_both_forms_give_the_same_updates_before_a_second_gradient():
    params, apply = functional(GroupNormCNN)
    base, robust = losses.cross_entropy, ogc.ogc_loss(**OPTIONS)
    first = ogc.clip_by_probability(**OPTIONS)
    optimizer = optax.chain(nox.saner(rho=0.2, group_b_scale=0.3), optax.sgd(0.1, momentum=0.9))
    chain = optax.chain(first, optimizer)
    both = nox.per_example_gradients(
        lambda p, x, y: (base(apply(p, x), y), losses.label_log_probability(apply(p, x), y)), has_aux=True
    )

    def by_loss(carry, batch):
        params, loss_state, state = carry
        loss_state = robust.update(loss_state, apply(params, batch[0]), batch[1])
        grad_fn = jax.grad(lambda p: jnp.mean(robust.value(loss_state, apply(p, batch[0]), batch[1])))
        updates, state = optimizer.update(grad_fn(params), state, params, grad_fn=grad_fn)
        return (optax.apply_updates(params, updates), loss_state, state), updates

    def by_example(carry, batch):
        params, state = carry
        gradients, log_p = both(params, *batch)
        grad_fn = ogc.clipped_grad_fn(
            first, state[0], base, lambda p: apply(p, batch[0]), batch[1], log_probabilities=log_p
        )
        updates, state = chain.update(gradients, state, params, log_probabilities=log_p, grad_fn=grad_fn)
        return (optax.apply_updates(params, updates), state), updates

    run = jax.jit(lambda step, carry: jax.lax.scan(step, carry, data())[1], static_argnums=0)
    expected = run(by_loss, (params, robust.init(), optimizer.init(params)))
    found = run(by_example, (params, chain.init(params)))
    assert_same_updates(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"chunk_size": 6}, marks=pytest.mark.slow),
        pytest.param({"bounded": True}, marks=pytest.mark.slow),
        {"bounded": True, "chunk_size": 6},
    ],
)
def test_chunks_and_the_bounded_way_change_nothing(options):
    params, apply = functional(GroupNormCNN)
    optimizer = optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1))
    expected, _ = train_by_loss(losses.cross_entropy, params, apply, optimizer)
    found, _ = train_by_example(losses.cross_entropy, params, apply, optimizer, **options)
    assert_same_updates(found, expected)


@pytest.mark.parametrize(
    "base", ["cross_entropy", *(pytest.param(base, marks=pytest.mark.slow) for base in list(BASES)[1:])]
)
def test_weights_are_tau_over_the_slope(base):
    p = np.array([1e-30, 1e-9, 1e-3, 0.1, 0.29, 0.31, 0.9, 1 - 1e-6], np.float32)
    tau = _threshold.threshold_slope(BASES[base], jnp.float32(0.3))
    slope = -jax.vmap(jax.grad(lambda p: _value_of(BASES[base], p)))(p[2:])
    weights = _of_probability.clip_weights(BASES[base], jnp.log(p), tau)
    np.testing.assert_allclose(weights[2:], np.minimum(1, tau / slope), rtol=1e-4)
    assert np.all(np.diff(weights) >= 0)
    extremes = _of_probability.clip_weights(BASES[base], jnp.array([-jnp.inf, -1e4, 0.0]), tau)
    assert np.all((extremes >= 0) & (extremes <= 1))
    assert extremes[2] == 1


def _value_of(base, p):
    return base(jnp.stack([jnp.log(p), jnp.log1p(-p)]), jnp.int32(0))


# By gradient norms.


MIXTURE = ogc.Mixture(jnp.array([0.8, 2.5]), jnp.array([0.1, 0.4]), jnp.array([0.6, 0.4]))


def direct_ratio(low, high, tau):
    """E_n[min(n, tau)] / E_c[min(n, tau)] by a fine sum over the root in float64."""
    root = np.linspace(np.sqrt(low), np.sqrt(high), 200_001)
    norms = np.minimum(root**2, tau)
    means, variances = (np.asarray(field, np.float64) for field in (MIXTURE.means, MIXTURE.variances))
    density = np.exp(-((root - means[:, None]) ** 2) / (2 * variances[:, None]))
    clean, noisy = (density * norms).sum(1) / density.sum(1)
    return noisy / clean


@pytest.mark.parametrize("bound", [1.1, 1.5, 3.0])
def test_norm_threshold_is_the_largest_within_the_bound(bound):
    tau = float(ogc.solve_norm_threshold(MIXTURE, (0.01, 20.0), bound))
    step = 2000 ** (1 / 999)
    assert direct_ratio(0.01, 20.0, tau) <= bound * 1.001
    assert direct_ratio(0.01, 20.0, tau * step) > bound * 0.999


def test_norm_threshold_at_its_ends():
    np.testing.assert_allclose(ogc.solve_norm_threshold(MIXTURE, (0.01, 20.0), 1e6), 20, rtol=1e-5)
    np.testing.assert_allclose(ogc.solve_norm_threshold(MIXTURE, (0.01, 20.0), 1.0), 0.01, rtol=0.5)
    equal = ogc.fit_mixture(np.full(9, 2.0, np.float32))
    np.testing.assert_allclose(ogc.solve_norm_threshold(equal, (4.0, 4.0), 1.5), 4, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-20, 1e-3, 1e20])
def test_norms_have_no_unit(unit):
    norms = np.exp(np.random.default_rng(3).normal(0, 1.5, 20))
    transformation = by_norm()
    _, state = transformation.update(of_norms(norms), transformation.init(None))
    _, scaled = transformation.update(of_norms(unit * norms), transformation.init(None))
    np.testing.assert_allclose(scaled.max_norm, unit * state.max_norm, rtol=1e-3)
    np.testing.assert_allclose(scaled.mixture.means, np.sqrt(unit) * state.mixture.means, rtol=1e-3)


def of_norms(norms):
    """Per-example gradients of two leaves with these norms."""
    norms = np.asarray(norms, np.float32)
    return {"a": np.stack([0.6 * norms, np.zeros_like(norms)], 1), "b": 0.8 * norms}


def by_norm(**options):
    return ogc.clip_by_gradient_norm(bound=1.5, **{"update_every": 1, "queue_size": 20, **options})


def test_gradients_are_scaled_to_the_norm():
    rng = np.random.default_rng(0)
    norms = np.exp(np.where(np.arange(20) % 3 == 0, rng.normal(3, 0.3, 20), rng.normal(0, 0.3, 20)))
    transformation = by_norm()
    mean, state = transformation.update(of_norms(norms), transformation.init(None))
    np.testing.assert_allclose(state.queue, np.log(norms), rtol=1e-4, atol=1e-5)
    assert np.exp(0) < state.max_norm < np.exp(1)
    clipped = np.minimum(norms, state.max_norm)
    np.testing.assert_allclose(mean["a"], [0.6 * clipped.mean(), 0], rtol=1e-5)
    np.testing.assert_allclose(mean["b"], 0.8 * clipped.mean(), rtol=1e-5)
    np.testing.assert_array_equal(
        ogc.clean_probability(state.mixture, np.sqrt(norms)) > 0.5, np.arange(20) % 3 != 0
    )


def test_nothing_is_scaled_before_the_first_refit():
    transformation = by_norm(queue_size=100)
    mean, state = transformation.update(of_norms([1.0, 1e3, 1e20]), transformation.init(None))
    np.testing.assert_allclose(mean["b"], 0.8 * np.mean([1.0, 1e3, 1e20]), rtol=1e-5)
    assert np.isfinite(state.max_norm)


def test_zero_and_undefined_gradients_have_no_say():
    transformation = by_norm()
    norms = np.exp(np.random.default_rng(1).normal(0, 1, 20)).astype(np.float32)
    norms[:3] = 0, np.nan, np.inf
    mean, state = transformation.update(of_norms(norms), transformation.init(None))
    np.testing.assert_array_equal(state.valid, np.arange(20) >= 3)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    assert np.isnan(mean["b"])
    where = np.arange(20) >= 3
    kept, masked_state = transformation.update(of_norms(norms), transformation.init(None), where=where)
    np.testing.assert_allclose(kept["b"], 0.8 * np.minimum(norms[3:], state.max_norm).mean(), rtol=1e-5)
    assert masked_state.max_norm == state.max_norm


def test_norms_survive_squares_that_do_not():
    np.testing.assert_allclose(
        _clip_by_gradient_norm.example_norms(of_norms([1e-30, 0, 1e30])), [1e-30, 0, 1e30], rtol=1e-5
    )
    half = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), of_norms([1e4, 3.0]))
    assert _clip_by_gradient_norm.example_norms(half).dtype == jnp.float32


def test_norms_may_come_beside_the_gradient():
    norms = np.exp(np.random.default_rng(2).normal(0, 1, 20)).astype(np.float32)
    transformation = by_norm()
    expected, _ = transformation.update(of_norms(norms), transformation.init(None))

    def weighted(weights):
        return jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), of_norms(norms))

    found, _ = transformation.update(
        None, transformation.init(None), gradient_norms=norms, weighted_gradient=weighted
    )
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)


# What goes in and what comes out.


LOG_P = np.log(np.linspace(0.05, 0.95, 8)).astype(np.float32)
GRADIENTS = {"w": np.ones((8, 3, 2), np.float32), "b": np.ones((8, 2), np.float32)}
PARAMS = {"w": np.zeros((3, 2), np.float32), "b": np.zeros(2, np.float32)}


@pytest.mark.parametrize(
    ("gradients", "extra", "message"),
    [
        (GRADIENTS, {}, r"ogc needs update\(\.\.\., log_probabilities=\.\.\.\), shape \[B\]"),
        (
            GRADIENTS,
            {"log_probabilities": LOG_P[:7]},
            r"expected log_probabilities of shape \(8,\).*got \(7,\)",
        ),
        (
            GRADIENTS,
            {"log_probabilities": LOG_P[:, None]},
            r"floating of shape \[B\], got float32 of shape \(8, 1\)",
        ),
        (PARAMS, {"log_probabilities": LOG_P}, "per_example_gradients"),
        ({"w": GRADIENTS["w"], "b": GRADIENTS["b"][:7]}, {"log_probabilities": LOG_P}, "one leading axis"),
        ({"w": GRADIENTS["w"], "b": np.float32(0)}, {"log_probabilities": LOG_P}, "one leading axis"),
        ({}, {"log_probabilities": LOG_P}, "expected per-example gradients, got none"),
        ({"w": GRADIENTS["w"]}, {"log_probabilities": LOG_P}, "must have the structure of the parameters"),
        (
            GRADIENTS,
            {"log_probabilities": LOG_P, "where": np.ones(7, bool)},
            r"expected where of shape \(8,\)",
        ),
    ],
)
def test_refuses_missing_and_uneven_arguments(gradients, extra, message):
    transformation = ogc.clip_by_probability(**OPTIONS)
    with pytest.raises(ValueError, match=message):
        transformation.update(gradients, transformation.init(PARAMS), PARAMS, **extra)


def test_refuses_bad_options():
    for options, message in [
        ({"mode": "fast"}, "mode must be one of"),
        ({"base": losses.of_probability(lambda p: p)}, "base must decrease"),
        ({"bound": None}, "either learning_rate or bound, got neither"),
        ({"queue_size": 0}, "queue_size must be in"),
    ]:
        with pytest.raises(ValueError, match=message):
            ogc.clip_by_probability(**{**OPTIONS, **options}).init(None)
    transformation = by_norm()
    with pytest.raises(ValueError, match=r"gradient_norms=\.\.\.\), shape \[B\]"):
        transformation.update(None, transformation.init(None), weighted_gradient=lambda weights: weights)


def test_masked_examples_are_left_out_of_the_mean():
    transformation = ogc.clip_by_probability(**OPTIONS)
    where = np.arange(8) < 5
    spoiled = jax.tree.map(lambda g: np.where(where.reshape(8, *[1] * (g.ndim - 1)), g, np.nan), GRADIENTS)
    log_p = np.where(where, LOG_P, np.nan).astype(np.float32)
    mean, state = transformation.update(
        spoiled, transformation.init(PARAMS), PARAMS, log_probabilities=log_p, where=where
    )
    np.testing.assert_allclose(mean["b"], 1.0)
    np.testing.assert_array_equal(state.valid[-8:], where)
    nothing, _ = transformation.update(
        spoiled, transformation.init(PARAMS), PARAMS, log_probabilities=log_p, where=np.zeros(8, bool)
    )
    np.testing.assert_array_equal(nothing["w"], 0)


def test_the_second_gradient_is_the_mean_over_what_is_kept():
    x, y = data()[0][0].reshape(BATCH, -1), data()[1][0]
    w = 0.01 * jnp.ones((64, CLASSES))
    clipping, where = ogc.clip_by_probability(**OPTIONS), jnp.arange(BATCH) < 5

    def second(rows, **masked):
        log_p = losses.label_log_probability(x[rows] @ w, y[rows])
        grad_fn = ogc.clipped_grad_fn(
            clipping,
            clipping.init(w),
            losses.cross_entropy,
            lambda w: x[rows] @ w,
            y[rows],
            log_probabilities=log_p,
            **masked,
        )
        return grad_fn(w)

    np.testing.assert_allclose(second(slice(None), where=where), second(slice(0, 5)), rtol=1e-5, atol=1e-7)


def test_the_mixture_is_of_the_square_roots_of_the_norms_in_their_own_unit():
    norms = np.exp(np.random.default_rng(0).normal(size=64)).astype(np.float32)
    clipping = ogc.clip_by_gradient_norm(bound=1.5, update_every=1, queue_size=64)

    def fitted(factor):
        _, state = clipping.update({"w": jnp.asarray(factor * norms)[:, None]}, clipping.init(None))
        return state

    one, hundred = fitted(1.0), fitted(100.0)
    np.testing.assert_allclose(hundred.mixture.means, 10 * one.mixture.means, rtol=1e-4)
    np.testing.assert_allclose(hundred.mixture.variances, 100 * one.mixture.variances, rtol=1e-4)
    np.testing.assert_allclose(hundred.mixture.weights, one.mixture.weights, rtol=1e-4)
    mean = jnp.sum(one.mixture.weights * one.mixture.means)
    np.testing.assert_allclose(mean, np.sqrt(norms).mean(), rtol=1e-3)


def test_half_precision_gradients_are_summed_in_float32():
    # 1 and 4096 times 1e-3: in bfloat16 each further term would be lost.
    leaf = jnp.concatenate([jnp.ones(1), jnp.full(4096, 1e-3)]).astype(jnp.bfloat16)
    transformation = ogc.clip_by_probability(**OPTIONS)
    log_p = np.full(4097, -1.0, np.float32)
    mean, _ = transformation.update(leaf, transformation.init(None), log_probabilities=log_p)
    assert mean.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(mean), (1 + 4096 * np.float32(leaf[1])) / 4097, rtol=0.004)


def test_hyperparameters_by_injection():
    injected = optax.inject_hyperparams(
        ogc.clip_by_probability, static_args=("base", "update_every", "queue_size")
    )
    transformation = injected(
        losses.cross_entropy, bound=optax.linear_schedule(2.0, 1.0, 4), update_every=1, queue_size=8
    )
    plain = ogc.clip_by_probability(bound=1.5, update_every=1, queue_size=8)
    state = transformation.init(PARAMS)
    for _ in range(3):
        found, state = jax.jit(transformation.update)(GRADIENTS, state, log_probabilities=LOG_P)
    np.testing.assert_allclose(state.hyperparams["bound"], 1.5)
    expected, _ = plain.update(GRADIENTS, plain.init(PARAMS), log_probabilities=LOG_P)
    np.testing.assert_allclose(found["b"], expected["b"], rtol=1e-6)
    assert found["b"][0] < 1


def test_as_aggregator_of_optax():
    first, last = (optax.with_extra_args_support(each) for each in (optax.identity(), optax.sgd(0.5)))
    processed = aggregating.process(first, aggregating.Aggregator(*ogc.clip_by_probability(**OPTIONS)), last)
    extra = {"log_probabilities": LOG_P}
    # Its `cond` takes arrays only.
    updates, _ = processed.update(GRADIENTS, processed.init(PARAMS), PARAMS, **extra)
    np.testing.assert_allclose(updates["b"], -0.5)
    with pytest.raises(TypeError):
        processed.update(GRADIENTS, processed.init(PARAMS), PARAMS, **extra, grad_fn=lambda params: params)
