import jax
import numpy as np
import pytest

from experiments.config import Data
from experiments.data import sources
from experiments.data.labels import corrupt
from experiments.errors import UserError

KEYS = jax.random.split(jax.random.key(0), 3)


@pytest.fixture
def digits():
    return sources.digits()


def test_each_seed_has_wrong_labels_of_its_own_and_a_record_of_them(digits):
    labels = corrupt(Data(noise="symmetric", noise_rate=0.4), digits, KEYS)
    wrong = labels.given != digits.train_labels
    assert wrong.sum(axis=1).tolist() == [round(0.4 * 1347)] * 3
    assert (wrong[0] != wrong[1]).any()
    np.testing.assert_allclose(labels.rate, wrong.mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(labels.clean, digits.train_labels)
    assert labels.matrix.shape == (3, 10, 10)
    np.testing.assert_allclose(np.trace(labels.matrix, axis1=1, axis2=2) / 10, 0.6, atol=0.02)


def test_without_noise_the_labels_are_as_given(digits):
    labels = corrupt(Data(), digits, KEYS)
    np.testing.assert_array_equal(labels.given, np.tile(digits.train_labels, (3, 1)))
    assert labels.rate.tolist() == [0, 0, 0]


def test_unknown_truth_stays_unknown(digits):
    labels = corrupt(Data(), digits._replace(train_clean_labels=None), KEYS)
    assert (labels.clean, labels.rate, labels.matrix) == (None, None, None)


def test_noise_is_not_added_to_labels_that_are_wrong_already(digits):
    noisy = digits._replace(train_labels=(digits.train_labels + 1) % 10)
    with pytest.raises(UserError, match=r"has wrong labels of its own .*; use --noise none"):
        corrupt(Data(noise="pair", noise_rate=0.1), noisy, KEYS)
