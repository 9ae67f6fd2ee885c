"""The share that a model has memorised: its formula, its error, and what must not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import memory

N, C = 200, 4
WATCHED = np.asarray(memory.is_watched(np.arange(N)))


def test_one_in_ten_is_watched_whatever_the_order_of_the_data_set():
    indices = np.arange(100_000)
    watched = np.asarray(memory.is_watched(indices))
    assert abs(watched.mean() - 0.1) < 3 * np.sqrt(0.09 / len(indices))
    # In data sets whose classes follow each other in turn, every class has its share.
    for period in (2, 10, 13, 21, 100, 1000):
        of_class = [watched[k::period].mean() for k in range(period)]
        assert np.std(of_class) < 2 * np.sqrt(0.09 / (len(indices) / period))


def epoch(state, probability, **options):
    """Records every example, in four batches, with that probability of its label 1."""
    odds = probability / (1 - probability) * (C - 1)
    logits = np.zeros((N, C), np.float32)
    logits[:, 1] = np.log(odds)
    for rows in np.random.default_rng(0).permutation(N).reshape(4, -1):
        state = memory.watch(state, logits[rows], np.ones(len(rows), int), rows, num_examples=N, **options)
    return state


def test_the_share_and_its_error_by_hand():
    rng = np.random.default_rng(1)
    probability = np.where(WATCHED, rng.uniform(0.2, 0.6, N), rng.uniform(0.5, 0.9, N))
    state = epoch(memory.nothing_watched(), probability)
    # The weights of the four batches: each later one shrinks what came before by its share of an epoch.
    order = np.random.default_rng(0).permutation(N)
    weight = np.empty(N)
    weight[order] = np.repeat(0.75 ** np.arange(3, -1, -1), N // 4)
    trained, watched = (
        [np.average(probability[rows] ** power, weights=weight[rows]) for power in (1, 2)]
        for rows in (~WATCHED, WATCHED)
    )
    variances = [square - mean**2 for mean, square in (trained, watched)]
    expected = (trained[0] - watched[0]) / (1 - watched[0])
    error = np.sqrt(variances[0] / (0.9 * N) + variances[1] / (0.1 * N)) / (1 - watched[0])
    found = memory.memorised_share(state, N)
    np.testing.assert_allclose(found, (expected, error, 1 - watched[0]), rtol=1e-4)
    np.testing.assert_allclose(state.epochs, 1.0, rtol=1e-6)


@pytest.mark.parametrize("level", [0.1, 0.9])
def test_nothing_is_memorised_where_both_are_predicted_alike(level):
    state = epoch(memory.nothing_watched(), np.full(N, level))
    share, error, _ = memory.memorised_share(state, N)
    assert abs(share) < 1e-3
    assert error < 2e-2


def test_all_is_memorised_where_every_trained_label_is_certain():
    state = epoch(memory.nothing_watched(), np.where(WATCHED, 0.3, 1 - 1e-6))
    assert memory.memorised_share(state, N).share == pytest.approx(1, abs=1e-3)


def test_what_does_not_count_changes_nothing():
    rows = np.arange(8)
    logits = np.random.default_rng(0).normal(size=(8, C)).astype(np.float32)
    labels, where = np.arange(8) % C, np.ones(8, bool)
    clean = memory.watch(memory.nothing_watched(), logits[4:], labels[4:], rows[4:], num_examples=8)
    logits[0], labels[1], rows[2], where[3] = np.nan, C, -1, False
    found = memory.watch(memory.nothing_watched(), logits, labels, rows, num_examples=8, where=where)
    jax.tree.map(np.testing.assert_array_equal, found, clean)


def test_of_many_seeds_at_once():
    probability = np.where(WATCHED, 0.4, 0.7)
    one = epoch(memory.nothing_watched(), probability)
    two = jax.tree.map(lambda x: jnp.stack([x, x]), one)
    share, error, _ = memory.memorised_share(two, N)
    np.testing.assert_allclose(share, [memory.memorised_share(one, N).share] * 2, rtol=1e-6)
    assert error.shape == (2,)


def test_wrong_arguments_are_named():
    state = memory.nothing_watched()
    with pytest.raises(ValueError, match="num_examples must be"):
        memory.watch(state, jnp.zeros((2, C)), jnp.zeros(2, int), jnp.arange(2), num_examples=0)
    with pytest.raises(ValueError, match="num_examples must be"):
        memory.memorised_share(state, 0)
    with pytest.raises(ValueError, match="expected indices of shape"):
        memory.watch(state, jnp.zeros((2, C)), jnp.zeros(2, int), jnp.arange(3), num_examples=5)
