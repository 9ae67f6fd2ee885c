"""`predict`: what several seeds say together."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.commands import predict
from experiments.config import Experiment
from experiments.data import sources
from experiments.data.dataset import Examples
from experiments.runs import saved_model
from experiments.terminal import UserError

# By their mean both examples are of class 1; by the mean of the logarithms, or the first seed, of class 0.
OF_SEEDS = np.array(
    [[[0.5, 0.499, 0.001], [0.6, 0.4, 0.0]], [[0.15, 0.25, 0.6], [0.1, 0.4, 0.5]], [[0.2, 0.3, 0.5]] * 2],
    np.float32,
)


@pytest.fixture
def trained(monkeypatch):
    """A model of three seeds without its files."""
    resolved = {
        "input_shape": [2],
        "input_dtype": "float32",
        "num_classes": 3,
        "class_names": ["a", "b", "c"],
    }
    model = SimpleNamespace(resolved=resolved, experiment=Experiment(seeds=3), epoch=4, selected=False)
    examples = Examples(np.zeros((2, 2), np.float32), np.array([1, 0]), ["x", "y"])
    monkeypatch.setattr(saved_model, "restore", lambda run_dir: model)
    monkeypatch.setattr(sources, "load_images", lambda *_: examples)

    def predicts(probabilities):
        monkeypatch.setattr(saved_model, "probabilities", lambda *_: probabilities)

    return predicts


def test_seeds_predict_with_the_mean_of_their_probabilities(tmp_path, quiet, trained):
    trained(OF_SEEDS)
    mean = OF_SEEDS.mean(axis=0)
    with np.load(predict.predict(tmp_path, "new", tmp_path / "out.npz", quiet)) as found:
        np.testing.assert_allclose(found["probabilities"], mean, rtol=1e-6)
        np.testing.assert_array_equal(found["labels"], [2, 1])
    with predict.predict(tmp_path, "new", None, quiet).open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [("0", "2", f"{mean[0, 2]:.6f}", "x", "c"), ("1", "1", f"{mean[1, 1]:.6f}", "y", "b")]
    assert [tuple(row.values()) for row in rows] == expected


def test_a_seed_that_diverged_predicts_nothing(tmp_path, quiet, trained):
    trained(np.where(np.arange(3)[:, None, None] == 1, np.nan, OF_SEEDS))
    with pytest.raises(UserError, match="the training diverged"):
        predict.predict(tmp_path, "new", None, quiet)
    assert list(tmp_path.iterdir()) == []
