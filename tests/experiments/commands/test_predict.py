"""`predict` from a run of which some seeds diverged."""

import csv
import json

import numpy as np
import pytest

from experiments.__main__ import main
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
