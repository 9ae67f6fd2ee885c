"""Cross-entropy until memorising is noticed, and early-learning regularization from then on."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox
from noisy_optax import losses, memory

N, C = 400, 4
INDICES = np.arange(N)
WATCHED = np.asarray(memory.is_watched(INDICES))
LABELS = np.arange(N) % C


def logits_of(probability):
    """Logits with that probability of each label, and the rest spread evenly over the others."""
    logits = np.zeros((N, C))
    logits[INDICES, LABELS] = np.log(probability / (1 - probability) * (C - 1))
    return logits.astype(np.float32)


def after(loss, state, probability, epochs):
    """The state after some epochs of 20 steps at these logits."""
    logits = logits_of(probability)
    order = np.random.default_rng(0).permutation(N).reshape(20, -1)

    @jax.jit
    def one_epoch(state):
        def step(state, rows):
            return loss.update(
                state, jnp.asarray(logits)[rows], jnp.asarray(LABELS)[rows], indices=rows
            ), None

        return jax.lax.scan(step, state, jnp.asarray(order))[0]

    for _ in range(epochs):
        state = one_epoch(state)
    return state


@pytest.fixture(scope="module")
def loss():
    return nox.recommended(N, C)


ALIKE, MEMORISED = np.full(N, 0.5), np.where(WATCHED, 0.5, 0.7)


def test_until_memorising_it_is_cross_entropy_on_nine_tenths(loss):
    state = after(loss, loss.init(), ALIKE, 50)
    assert np.isinf(state.noticed_at)
    logits = np.random.default_rng(1).normal(size=(N, C)).astype(np.float32)
    expected = np.where(WATCHED, 0, losses.cross_entropy(logits, LABELS) / 0.9)
    np.testing.assert_allclose(loss.value(state, logits, LABELS, indices=INDICES), expected, rtol=1e-6)


def test_memorising_is_noticed_once_and_changes_the_loss_within_three_epochs(loss):
    state = after(loss, loss.init(), ALIKE, 4)
    state = after(loss, state, MEMORISED, 1)
    noticed_at = float(state.noticed_at)
    assert 4 < noticed_at <= 5
    weights = []
    for _ in range(4):
        weights.append(float(state.early_learning.weight))
        state = after(loss, state, MEMORISED, 1)
    assert weights == sorted(weights)
    assert float(state.noticed_at) == noticed_at
    # Half of the labels are unpredicted, more than what gives the full weight.
    assert float(state.early_learning.weight) == pytest.approx(10)


def test_the_loss_after_memorising_by_its_formula(loss):
    state = after(loss, after(loss, loss.init(), ALIKE, 4), MEMORISED, 5)
    logits = np.random.default_rng(2).normal(size=(N, C)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    agreement = (np.asarray(state.early_learning.targets) * p).sum(axis=-1)
    expected = -np.log(p[INDICES, LABELS]) + 10 * np.log(1 - agreement)
    # The watched examples now count like the others.
    np.testing.assert_allclose(loss.value(state, logits, LABELS, indices=INDICES), expected, rtol=1e-4)


def test_the_weight_is_smaller_where_few_labels_are_unpredicted(loss):
    state = after(loss, loss.init(), np.full(N, 0.94), 4)
    state = after(loss, state, np.where(WATCHED, 0.94, 0.99), 5)
    assert np.isfinite(state.noticed_at)
    unpredicted = memory.memorised_share(state.watch, N).unpredicted
    assert float(unpredicted) == pytest.approx(0.06, abs=1e-3)
    assert float(state.early_learning.weight) == pytest.approx(10 * 0.06 / 0.3, rel=0.02)


def test_a_difference_within_its_error_is_not_noticed():
    # Forty watched examples that differ widely: their mean says little.
    base = np.where(np.arange(N) % 2, 0.05, 0.75)
    moved = np.where(WATCHED, base, base + 0.09)
    loss = nox.recommended(N, C)
    state = after(loss, after(loss, loss.init(), base, 20), moved, 2)
    found = memory.memorised_share(state.watch, N)
    assert found.share + found.standard_error > 0.1 > found.share - found.standard_error
    assert found.gain_of_watched < 0.2 * found.gain
    assert np.isinf(state.noticed_at)


def test_what_is_memorised_while_the_model_learns_is_noticed_when_it_has_learnt(loss):
    state = after(loss, loss.init(), np.full(N, 0.3), 4)
    # Both gain, the trained ones more.
    state = after(loss, state, np.where(WATCHED, 0.5, 0.75), 3)
    assert memory.memorised_share(state.watch, N).share > 0.3
    assert np.isinf(state.noticed_at)
    for level in np.linspace(0.75, 0.95, 15):
        state = after(loss, state, np.where(WATCHED, 0.5, level), 1)
    assert np.isfinite(state.noticed_at)
    # By then the memory knows no better than the labels: cross-entropy, of all examples.
    assert float(state.early_learning.weight) == 0
    logits = np.random.default_rng(3).normal(size=(N, C)).astype(np.float32)
    values = loss.value(state, logits, LABELS, indices=INDICES)
    np.testing.assert_allclose(values, losses.cross_entropy(logits, LABELS), rtol=1e-6)


def test_what_was_watched_stays_as_it_was_when_memorising_was_noticed(loss):
    noticed = after(loss, after(loss, loss.init(), ALIKE, 4), MEMORISED, 1)
    later = after(loss, noticed, np.full(N, 0.99), 3)
    np.testing.assert_array_equal(later.watch.trained, noticed.watch.trained)
    np.testing.assert_array_equal(later.watch.watched, noticed.watch.watched)
    assert later.watch.epochs == pytest.approx(8, rel=1e-5)


def train(features, labels, key, epochs):
    """A network with room to memorise; its loss's state and its accuracy on the true labels."""

    def forward(params, x):
        return jnp.tanh(x @ params["w"]) @ params["v"]

    keys = jax.random.split(key)
    params = {"w": jax.random.normal(keys[0], (8, 200)) / 3, "v": jax.random.normal(keys[1], (200, 3)) / 14}
    step = nox.training_step(forward, nox.recommended(len(labels), 3), optax.sgd(0.3, momentum=0.9))
    state, update = step.init(params), jax.jit(step.update)
    for epoch in range(epochs):
        for rows in np.random.default_rng(epoch).permutation(len(labels)).reshape(-1, 50):
            params, state, _ = update(params, state, features[rows], labels[rows], indices=rows)
    return state.loss


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_a_network_that_memorises_is_noticed(rate):
    features = jax.random.normal(jax.random.key(0), (1000, 8))
    clean = jnp.argmax(features[:, :3], axis=-1)
    labels = nox.noise.symmetric(jax.random.key(1), clean, rate, num_classes=3).labels
    # One epoch memorises nothing, forty of them do where labels are wrong.
    assert np.isinf(train(features, labels, jax.random.key(2), 3).noticed_at)
    if rate:
        assert np.isfinite(train(features, labels, jax.random.key(2), 40).noticed_at)


def test_what_where_excludes_is_not_lost_nor_remembered_nor_watched(loss):
    state = after(loss, after(loss, loss.init(), ALIKE, 4), MEMORISED, 5)
    logits = np.random.default_rng(3).normal(size=(N, C)).astype(np.float32)
    where = INDICES % 3 > 0
    bad = np.where(where[:, None], logits, np.float32(np.nan))
    values = loss.value(state, bad, LABELS, where=where, indices=INDICES)
    expected = loss.value(state, logits, LABELS, indices=INDICES)
    np.testing.assert_allclose(values, np.where(where, expected, 0), rtol=1e-6)
    # Finite, so that nothing but `where` keeps them out.
    masked = loss.update(state, logits, LABELS, where=where, indices=INDICES)
    kept = loss.update(state, logits[where], LABELS[where], indices=INDICES[where])
    chex.assert_trees_all_close(masked, kept, rtol=1e-5, atol=1e-6)


def test_over_seeds(loss):
    probabilities = jnp.asarray([ALIKE, MEMORISED])
    logits = jnp.stack([jnp.asarray(logits_of(p)) for p in probabilities])
    rows = jnp.asarray(INDICES)
    alone = after(loss, loss.init(), ALIKE, 4)
    states = jax.tree.map(lambda x: jnp.stack([x, x]), alone)
    for _ in range(2):
        states = jax.vmap(lambda s, z: loss.update(s, z, LABELS, indices=rows))(states, logits)
    assert np.isinf(states.noticed_at[0])
    assert np.isfinite(states.noticed_at[1])


def test_memory_that_a_million_examples_of_a_thousand_classes_need():
    state = jax.eval_shape(nox.recommended(1_000_000, 1000, dtype=jnp.bfloat16).init)
    assert sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)) == pytest.approx(2e9, rel=1e-6)


def test_wrong_arguments_are_named():
    for arguments, name in (((100, 1), "num_classes"), ((0, 10), "num_examples")):
        with pytest.raises(ValueError, match=name):
            nox.recommended(*arguments)
    loss = nox.recommended(10, 10)
    with pytest.raises(ValueError, match=r"logits \[..., 10\]"):
        loss.value(loss.init(), jnp.zeros((4, 3)), jnp.zeros(4, jnp.int32), indices=jnp.arange(4))
    with pytest.raises(ValueError, match="expected indices"):
        loss.update(loss.init(), jnp.zeros((4, 10)), jnp.zeros(4, jnp.int32))


def test_a_step_is_compiled_once():
    # A state whose types the first step changes makes every loop compile twice.
    loss = nox.recommended(20, 3)
    update = jax.jit(loss.update)
    state = loss.init()
    for _ in range(2):
        state = update(state, jnp.zeros((4, 3)), jnp.arange(4) % 3, indices=jnp.arange(4))
    assert update._cache_size() == 1
