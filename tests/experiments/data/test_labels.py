import jax
import numpy as np
import pytest

from experiments.config import Data
from experiments.data import digits as digits_source
from experiments.data.labels import CLASS_MAPS, corrupt
from experiments.terminal import UserError
from noisy_optax import noise

KEYS = jax.random.split(jax.random.key(0), 3)


@pytest.fixture
def digits():
    return digits_source.load()


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


def test_asymmetric_noise_is_cifar10s(digits):
    labels = corrupt(Data(noise="asymmetric", noise_rate=0.4), digits, KEYS)
    moves = np.array(noise.CIFAR10_MAP) != np.arange(10)
    expected = np.where(moves, 0.4, 0.0)
    found = labels.matrix[:, np.arange(10), noise.CIFAR10_MAP] * moves
    np.testing.assert_allclose(found, np.tile(expected, (3, 1)), atol=0.005)


@pytest.mark.parametrize("name", ["superclass", "next_of_five"])
def test_noise_of_cifar100_goes_by_its_class_map(name, digits):
    labels = np.repeat(np.arange(100, dtype=np.int32), 10)
    hundred = digits._replace(train_labels=labels, train_clean_labels=labels, num_classes=100)
    found = corrupt(Data(noise=name, noise_rate=0.4), hundred, KEYS)
    expected = 0.6 * np.eye(100) + 0.4 * np.eye(100)[list(CLASS_MAPS[name])]
    np.testing.assert_allclose(found.matrix, np.tile(expected, (3, 1, 1)), atol=1e-6)


def test_five_classes_in_a_row_are_a_circle():
    assert CLASS_MAPS["next_of_five"][:6] == (1, 2, 3, 4, 0, 6)
    assert CLASS_MAPS["next_of_five"][-5:] == (96, 97, 98, 99, 95)


def test_noise_of_another_number_of_classes_says_what_fits(digits):
    with pytest.raises(UserError, match="has 10; use --noise pair or asymmetric"):
        corrupt(Data(noise="superclass", noise_rate=0.4), digits, KEYS)


def test_asymmetric_noise_needs_ten_classes(digits):
    with pytest.raises(UserError, match="expected 10 classes, digits has 9"):
        corrupt(Data(noise="asymmetric", noise_rate=0.4), digits._replace(num_classes=9), KEYS)


def test_instance_dependent_noise_sees_the_images_scaled_to_one(digits):
    data = Data(noise="instance", noise_rate=0.4)
    labels = corrupt(data, digits, KEYS)
    assert np.sum(labels.given != digits.train_labels, axis=1).tolist() == [round(0.4 * 1347)] * 3
    # Pixels of digits are in [0, 1] as they are, and all of that range is used.
    flat = digits.train_images.reshape(-1, 64)
    expected = noise.instance_dependent(KEYS[1], flat, digits.train_labels, 0.4, num_classes=10)
    np.testing.assert_array_equal(labels.given[1], expected.labels)
    for images in (digits.train_images * 7 - 3, np.round(digits.train_images * 255).astype(np.uint8)):
        same = corrupt(data, digits._replace(train_images=images), KEYS).given
        assert np.mean(same == labels.given) > 0.99
    blank = digits._replace(train_images=np.ones_like(digits.train_images))
    assert corrupt(data, blank, KEYS).given.max() < 10


def test_bytes_are_scaled_alike_whatever_range_they_span(digits):
    dark = np.round(100 + 50 * digits.train_images).astype(np.uint8)
    found = corrupt(Data(noise="instance", noise_rate=0.4), digits._replace(train_images=dark), KEYS[:1])
    features = dark.reshape(-1, 64).astype(np.float32) / np.float32(255)
    expected = noise.instance_dependent(KEYS[0], features, digits.train_labels, 0.4, num_classes=10)
    assert np.mean(found.given[0] == np.asarray(expected.labels)) > 0.99
