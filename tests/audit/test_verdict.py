"""What is judged from the dynamics: against numpy, by hand, and where almost nothing is known."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import audit
from noisy_optax.audit import _share
from tests.audit import reference
from tests.audit.test_dynamics import LABELS, C, N, recorded


def stacked(replicas):
    return jax.tree.map(lambda *x: jnp.stack(x), *replicas)


def assert_same(verdict, expected):
    probability, score, suggested, share, learnt, known = expected
    assert verdict.learnt == learnt
    if not learnt:
        np.testing.assert_array_equal(verdict.probability_wrong, 0.5)
        np.testing.assert_allclose(verdict.share, _share.widths() / _share.widths().sum(), rtol=1e-6)
        return
    np.testing.assert_allclose(verdict.probability_wrong[known], probability[known], atol=3e-3)
    np.testing.assert_allclose(verdict.score, score, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(verdict.suggested, suggested)
    np.testing.assert_allclose(verdict.share, share, atol=1e-4)


@pytest.mark.parametrize("epochs", [1, 4, 21])
def test_a_verdict_equals_one_in_numpy(epochs):
    found, expected = recorded(3, epochs)
    assert_same(jax.jit(audit.judge)(found, LABELS), reference.judge([expected], LABELS))


def test_replicas_are_judged_together():
    found, expected = zip(*(recorded(seed) for seed in range(4)), strict=True)
    verdict = audit.judge(stacked(found), LABELS)
    assert_same(verdict, reference.judge(expected, LABELS))
    in_two_axes = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), stacked(found))
    chex.assert_trees_all_equal(audit.judge(in_two_axes, LABELS), verdict)
    each = jax.vmap(audit.judge, (0, None))(stacked(found), LABELS)
    assert_same(jax.tree.map(lambda x: x[1], each), reference.judge(expected[1:2], LABELS))


def test_an_example_without_weight_is_judged_by_the_latest_record():
    logits = 5 * jnp.eye(3)[jnp.array([0, 0, 0, 0, 0, 1])]
    labels = np.array([0, 0, 0, 0, 0, 0, 2, 1])
    begun = audit.record(audit.init(8), jnp.arange(6), logits, labels[:6])
    verdict = audit.judge(begun, labels)
    assert np.argmax(verdict.probability_wrong) == np.argmax(verdict.score) == 5
    # Those that were never recorded are as probably wrong as labels are on average.
    mean = np.sum(np.asarray(verdict.share) * _share.SHARES)
    np.testing.assert_allclose(verdict.probability_wrong[6:], mean, rtol=1e-4)
    np.testing.assert_array_equal(verdict.suggested, [0, 0, 0, 0, 0, 1, 2, 1])
    # Each label is predicted from the start: no epoch has a weight.
    ended = audit.end_epoch(audit.record(audit.init(4), jnp.arange(4), 3 * jnp.eye(4), jnp.arange(4)))
    assert not np.any(ended.weight)
    verdict = audit.judge(ended, np.arange(4))
    assert not np.any(verdict.probability_wrong > 0.5)
    np.testing.assert_array_equal(verdict.suggested, np.arange(4))


def density(margin, counts, doubt=0.25):
    return _share.log_density(margin, counts, jnp.asarray(doubt, margin.dtype))


def margins_of(examples, wrong, slope, seed=0, confident=1.0):
    """Margins as the model behind the audit has them, with this share of wrong labels."""
    rng = np.random.default_rng(seed)
    confidence = np.clip(rng.exponential(size=examples), 0, 4) / 4 * confident
    mistaken = rng.random(examples) < 1 / (1 + np.exp(slope * confidence / confidence.mean()))
    contradicts = mistaken ^ (rng.random(examples) < wrong)
    return np.where(contradicts, -confidence, confidence).astype(np.float32)


@pytest.mark.parametrize("wrong", [0.0, 0.06, 0.2, 0.4, 0.7])
@pytest.mark.parametrize("confident", [1.0, 1e-3])
def test_the_share_of_data_that_follow_the_model_is_found(wrong, confident):
    margin = margins_of(5000, wrong, slope=3.0, confident=confident)
    share = _share.posterior(density(jnp.asarray(margin), jnp.ones(5000, bool)))
    median, low, high = _share.interval(share, 0.95)
    assert low <= wrong <= high
    assert abs(median - wrong) < 0.05
    assert high - low < 0.3


def test_no_number_of_examples_counts_for_more_than_200():
    def explained(examples):
        margin = jnp.asarray(np.tile(margins_of(50, 0.2, slope=3.0), examples // 50))
        everything = jnp.ones(examples, bool)
        return density(margin, everything) - density(margin, ~everything)

    np.testing.assert_allclose(explained(200), 2.5 * explained(50), rtol=1e-4)
    np.testing.assert_allclose(explained(400_000), 5 * explained(50), rtol=1e-3)


def test_examples_that_do_not_count_do_not_matter():
    margin = jnp.asarray(margins_of(400, 0.2, slope=3.0))
    counts = jnp.arange(400) < 300
    spoilt = jnp.where(counts, margin, -0.5)
    expected = density(margin[:300], jnp.ones(300, bool))
    np.testing.assert_allclose(density(spoilt, counts), expected, rtol=1e-5, atol=1e-4)


def test_the_interval_is_the_shortest_and_reaches_zero():
    share = np.exp(-_share.SHARES / 0.02) * _share.widths()
    median, low, high = _share.interval(jnp.asarray(share / share.sum()), 0.95)
    assert low == 0
    # The shares that are considered are so far apart.
    step = 0.16
    np.testing.assert_allclose([median, high], [0.02 * np.log(2), 0.02 * np.log(20)], rtol=step)
    normal = np.exp(-(((_share.SHARES - 0.3) / 0.05) ** 2) / 2) * _share.widths()
    found = _share.interval(jnp.asarray(normal / normal.sum()), 0.95)
    np.testing.assert_allclose(found, [0.3, 0.3 - 0.098, 0.3 + 0.098], rtol=step)


def test_the_interval_goes_by_density_although_the_shares_are_unevenly_spaced():
    falling = (1 - 0.5 * _share.SHARES) * _share.widths()
    _, low, high = _share.interval(jnp.asarray(falling / falling.sum()), 0.8)
    assert low == 0
    # The integral of the density from 0 to 0.68 is 0.8 of that to the largest share, 0.92.
    np.testing.assert_allclose(high, 0.68, atol=0.03)


def test_what_every_epoch_contradicts_is_wrong_and_what_some_epochs_contradict_is_in_doubt():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.85, 0.99, (6, 1000))
    labels = jnp.zeros(1000, int)

    def verdict_on(contradicted):
        dynamics = audit.init(1000)
        for margin in np.where(contradicted, -confidence, confidence).astype(np.float32):
            logits = jnp.stack([2 * jnp.arctanh(margin), jnp.zeros(1000)], axis=1)
            dynamics = audit.end_epoch(audit.record(dynamics, jnp.arange(1000), logits, labels))
        return audit.judge(dynamics, labels)

    plain = verdict_on(np.arange(1000) < 150)
    rate = audit.noise_rate(plain)
    assert 0.08 < rate.low < 0.15 < rate.high < 0.21
    assert jnp.all((plain.probability_wrong > 0.95) == (jnp.arange(1000) < 150))
    doubtful = verdict_on(rng.random((6, 1000)) < 0.15)
    assert audit.noise_rate(doubtful).low < 0.03
    assert jnp.mean(doubtful.probability_wrong > 0.5) < 0.05


def test_probabilities_sum_to_the_share():
    margin = jnp.asarray(margins_of(5000, 0.3, slope=3.0))
    counts = jnp.ones(5000, bool)
    share = _share.posterior(density(margin, counts))
    p = _share.probability_wrong(margin, counts, share)
    np.testing.assert_allclose(jnp.mean(p), np.sum(np.asarray(share) * _share.SHARES), atol=0.02)
    assert jnp.all(jnp.diff(p[jnp.argsort(margin)]) <= 1e-6)


def predicted(predictions, labels):
    """Dynamics of an epoch in which these classes were predicted."""
    logits = 3 * np.eye(max(*predictions, *labels) + 1, dtype=np.float32)[predictions]
    rows = np.arange(len(labels))
    return audit.end_epoch(audit.record(audit.init(len(labels)), rows, logits, np.asarray(labels)))


@pytest.mark.parametrize(
    ("predictions", "learnt"),
    [
        ([0] * 8 + [1] * 2, True),
        ([0] * 10, False),
        # Which examples are predicted so does not matter, only how many.
        ([1] * 2 + [0] * 8, True),
        ([0] * 9 + [1], False),
        ([1] * 10, False),
    ],
)
def test_a_model_has_learnt_if_it_predicts_each_class_as_often_as_the_labels_have_it(predictions, learnt):
    labels = np.array([0] * 8 + [1] * 2)
    assert audit.judge(predicted(predictions, labels), labels).learnt == learnt


def test_examples_that_were_never_recorded_say_nothing_about_learning():
    labels = np.arange(12) % 3
    logits = 3 * np.eye(3, dtype=np.float32)[labels[:6]]
    begun = audit.end_epoch(audit.record(audit.init(12), np.arange(6), logits, labels[:6]))
    assert audit.judge(begun, labels).learnt
    assert not audit.judge(audit.init(12), labels).learnt


def test_the_rate_is_that_of_the_shares():
    p = jnp.zeros(3)
    share = jnp.zeros(61).at[30].set(1.0)
    found = audit.noise_rate(audit.Verdict(p, p, jnp.zeros(3, jnp.int32), share, jnp.array(True)))
    np.testing.assert_allclose(found, _share.SHARES[30], rtol=1e-6)


def test_what_is_misshapen_is_told():
    with pytest.raises(TypeError, match="labels must be integers, got float32"):
        audit.judge(audit.init(N), np.zeros(N, np.float32))
    with pytest.raises(
        ValueError, match=r"expected labels of shape \(24,\), one for each example, got \(3,\)"
    ):
        audit.judge(audit.init(N), np.zeros(C, int))
