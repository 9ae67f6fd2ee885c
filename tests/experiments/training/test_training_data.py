"""Which examples a run trains on, and that what is drawn for it is drawn apart."""

import jax
import numpy as np
import pytest

from experiments.config import Experiment
from experiments.data.dataset import Dataset
from experiments.data.labels import GivenLabels
from experiments.training import training_data
from experiments.training.training_data import Fold

IMAGES = np.arange(11, dtype=np.float32)[:, None]
GIVEN = GivenLabels(
    np.stack([np.arange(11), 100 + np.arange(11)]).astype(np.int32), np.arange(11), None, None
)


def test_each_seed_and_purpose_has_a_key_of_its_own_whatever_else_is_run():
    keys = training_data.seed_keys(Experiment(seeds=3, first_seed=4))
    assert list(training_data.seeds_of(Experiment(seeds=3, first_seed=4))) == [4, 5, 6]
    together = {name: np.asarray(jax.random.key_data(key)) for name, key in keys.items()}
    assert len(np.unique(np.concatenate(list(together.values())), axis=0)) == 3 * 4
    alone = training_data.seed_keys(Experiment(seeds=1, first_seed=5))
    for name, key in alone.items():
        np.testing.assert_array_equal(jax.random.key_data(key)[0], together[name][1])


@pytest.mark.parametrize("fold", [None, Fold(0, 3), Fold(2, 3)])
def test_an_example_keeps_its_labels_on_either_side(fold):
    split = training_data.hold_out(IMAGES, GIVEN, 0.0 if fold else 0.3, fold)
    assert sorted([*split.training, *split.validation]) == list(range(11))
    assert len(split.validation) in (3, 4)
    np.testing.assert_array_equal(split.train_images[:, 0], split.training)
    np.testing.assert_array_equal(split.validation_images[:, 0], split.validation)
    np.testing.assert_array_equal(split.train_given, [split.training, 100 + split.training])
    np.testing.assert_array_equal(split.validation_given, [split.validation, 100 + split.validation])
    np.testing.assert_array_equal(split.train_clean, split.training)


def test_each_example_is_in_one_fold():
    parts = [training_data.hold_out(IMAGES, GIVEN, 0.0, Fold(i, 3)).validation for i in range(3)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(11))


@pytest.mark.parametrize("changed", [None, 0, 1, 2, 3, 4])
def test_data_are_the_same_only_if_every_array_is(changed):
    arrays = [IMAGES, np.arange(11) % 3, np.arange(11) % 3, IMAGES[:4], np.arange(4) % 2]
    arrays = [x.astype(np.int32) if x.ndim == 1 else x for x in arrays]
    other = [x[::-1] if i == changed else x for i, x in enumerate(arrays)]
    found, expected = (training_data.resolved(Dataset(*x, 3), 11)["data_hash"] for x in (other, arrays))
    assert (found == expected) == (changed is None)
