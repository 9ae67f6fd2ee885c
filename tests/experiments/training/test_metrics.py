import io

import numpy as np
import pytest
from rich.console import Console
from scipy import stats
from sklearn.metrics import accuracy_score, recall_score

from experiments import methods
from experiments.commands import compare
from experiments.training import metrics


def test_training_metrics_by_hand():
    losses = np.array([[1.0, 3.0]])
    clean = np.array([[0, 1, 2, 0]])
    given = np.array([[0, 2, 0, 0]])  # the second and third are wrong
    predictions = np.array([[0, 2, 2, 1]])  # reproduces the first wrong label, corrects the second
    measured = metrics.train_metrics(losses, predictions, given, clean)
    assert {name: value.tolist() for name, value in measured.items()} == {
        "train_loss": [2.0],
        "train_accuracy": [0.5],
        "train_clean_accuracy": [0.5],
        "memorised": [0.5],
    }


def test_nothing_is_memorised_where_nothing_is_wrong():
    labels = np.array([[0, 1]])
    assert metrics.train_metrics(np.ones((1, 1)), labels, labels, labels)["memorised"].tolist() == [0.0]


def test_without_clean_labels_there_is_no_such_metric():
    labels = np.array([[0, 1]])
    assert set(metrics.train_metrics(np.ones((1, 1)), labels, labels, None)) == {
        "train_loss",
        "train_accuracy",
    }


def test_accuracy_and_recall_are_scikit_learns():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, 50), rng.integers(0, 4, (2, 50))
    recall = metrics.per_class_recall(predictions, labels, 4)
    for seed in range(2):
        assert metrics.accuracy(predictions, labels)[seed] == accuracy_score(labels, predictions[seed])
        np.testing.assert_allclose(recall[seed], recall_score(labels, predictions[seed], average=None))


def test_recall_of_an_absent_class_is_undefined():
    recall = metrics.per_class_recall(np.array([[0, 0]]), np.array([0, 0]), 2)
    np.testing.assert_array_equal(recall, [[1.0, np.nan]])


def test_summary_takes_the_last_ten_epochs_of_the_best_data_there_is():
    history = [{"train_accuracy": [0.0, 0.0], "test_accuracy": [i / 100, 2 * i / 100]} for i in range(20)]
    summary = metrics.summarize(history)
    assert summary["metric"] == "test_accuracy"
    np.testing.assert_allclose(summary["last_10_mean"]["per_seed"], [0.145, 0.29])
    np.testing.assert_allclose(summary["last_10_mean"]["sd"], np.std([0.145, 0.29], ddof=1))
    np.testing.assert_allclose(summary["last"]["mean"], 0.285)
    np.testing.assert_allclose(summary["best_epoch"]["per_seed"], [0.19, 0.38])


def test_one_seed_has_no_spread():
    assert metrics.summarize([{"validation_accuracy": [0.5], "train_accuracy": [1.0]}])["last"] == {
        "mean": 0.5,
        "sd": None,
        "per_seed": [0.5],
    }


@pytest.mark.parametrize(
    "name", [max(methods.METHODS, key=len), "ogc:base=generalized_cross_entropy,mode=published+friendly_sam"]
)
def test_the_longest_name_leaves_room_for_the_numbers_on_80_columns(name):
    spread = {"mean": 0.98765, "sd": 0.12345, "per_seed": []}
    own = dict.fromkeys(("last_10_mean", "last", "best_epoch"), spread)
    result = {
        "metric": "test_accuracy",
        "epochs": 100,
        "seeds": [0, 1],
        "config": {"data": {"dataset": "digits", "noise": "pair", "noise_rate": 0.3}},
        "methods": {name: own},
    }
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(compare.table(result))
    said = console.export_text()
    assert "…" not in said
    assert said.count("98.77 ± 12.35") == 3
    in_column = "".join(line[:32].strip() for line in said.splitlines()[3:])
    assert name in in_column


def test_paired_difference_is_scipys_interval():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 1, 10), rng.normal(0, 1, 10)
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    mean, half = metrics.paired_difference(first, second)
    np.testing.assert_allclose((mean - half, mean + half), (interval.low, interval.high))
