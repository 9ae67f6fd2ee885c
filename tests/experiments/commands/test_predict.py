"""`predict`: what several seeds say together, and what if some of them diverged."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.commands import predict
from experiments.config import Experiment
from experiments.data import sources
from experiments.data.dataset import Examples
from experiments.runs import saved_model

# They are read as the person sees them.
pytestmark = pytest.mark.filterwarnings("always")


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_npz):
    folder = tmp_path_factory.mktemp("predict") / "run"
    flags = ["--dataset", f"npz:{tiny_npz}", "--epochs", "2", "--batch-size", "8", "--width", "16"]
    assert main(["train", *flags, "--seeds", "3", "--first-seed", "5", "--run-dir", str(folder)]) == 0
    return folder


def without_numbers(seeds, monkeypatch):
    """As if these, counted from 0, had parameters that are not numbers; returns what all predict."""
    real, found = saved_model.probabilities, []

    def probabilities(*args):
        found.append(np.array(real(*args)))
        found[-1][seeds] = np.nan
        return found[-1]

    monkeypatch.setattr(saved_model, "probabilities", probabilities)
    return found


@pytest.mark.parametrize("known_by", ["predictions", "summary"])
def test_diverged_seeds_are_left_out_and_named(known_by, run, tiny_npz, capsys, monkeypatch):
    found = without_numbers([0] if known_by == "predictions" else [], monkeypatch)
    summary = json.loads((run / "summary.json").read_text())
    diverged = [5] if known_by == "summary" else []
    (run / "summary.json").write_text(json.dumps(summary | {"diverged": diverged}))
    assert main(["predict", str(run), str(tiny_npz)]) == 0
    assert "left out, since their training diverged: seed 5 (of 3 seeds)" in capsys.readouterr().err
    with (run / "predictions.csv").open() as file:
        written = [float(row["probability"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(written, found[0][1:].mean(axis=0).max(axis=1), atol=1e-6)
    (run / "summary.json").write_text(json.dumps(summary))


def test_a_report_counts_only_the_seeds_that_did_not_diverge(run, capsys, monkeypatch):
    without_numbers([0, 1], monkeypatch)
    assert main(["report", str(run)]) == 0
    assert "left out, since their training diverged: seed 5, 6" in capsys.readouterr().err


def test_nothing_is_predicted_where_all_diverged(run, tiny_npz, tmp_path, capsys, monkeypatch):
    without_numbers([0, 1, 2], monkeypatch)
    output = tmp_path / "out.csv"
    assert main(["predict", str(run), str(tiny_npz), "--output", str(output)]) == 2
    assert "the training diverged" in capsys.readouterr().err
    assert not output.exists()


# By their mean both examples are of class 1; by the mean of the logarithms, or the first seed, of class 0.
OF_SEEDS = np.array(
    [[[0.5, 0.499, 0.001], [0.6, 0.4, 0.0]], [[0.15, 0.25, 0.6], [0.1, 0.4, 0.5]], [[0.2, 0.3, 0.5]] * 2],
    np.float32,
)


@pytest.fixture
def three_seeds(monkeypatch):
    """A model of three seeds without its files."""
    resolved = {
        "input_shape": [2],
        "input_dtype": "float32",
        "num_classes": 3,
        "class_names": ["a", "b", "c"],
    }
    model = SimpleNamespace(
        resolved=resolved, experiment=Experiment(seeds=3), epoch=4, selected=False, accuracy=None
    )
    examples = Examples(np.zeros((2, 2), np.float32), np.array([1, 0]), ["x", "y"])
    monkeypatch.setattr(saved_model, "restore", lambda run_dir: model)
    monkeypatch.setattr(sources, "load_images", lambda *_: examples)

    def predicts(probabilities):
        monkeypatch.setattr(saved_model, "probabilities", lambda *_: probabilities)

    return predicts


def test_seeds_predict_with_the_mean_of_their_probabilities(tmp_path, quiet, three_seeds):
    three_seeds(OF_SEEDS)
    mean = OF_SEEDS.mean(axis=0)
    with np.load(predict.predict(tmp_path, "new", tmp_path / "out.npz", quiet)) as found:
        np.testing.assert_allclose(found["probabilities"], mean, rtol=1e-6)
        np.testing.assert_array_equal(found["labels"], [2, 1])
    with predict.predict(tmp_path, "new", None, quiet).open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [("0", "2", f"{mean[0, 2]:.6f}", "x", "c"), ("1", "1", f"{mean[1, 1]:.6f}", "y", "b")]
    assert [tuple(row.values()) for row in rows] == expected
