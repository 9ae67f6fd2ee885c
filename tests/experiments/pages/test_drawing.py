"""Pictures of odd names and of runs that diverged; and a picture that fails, which costs a run nothing."""

import json
import warnings

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.pages import drawing, plots

HISTORY = [{"train_loss": [1.0], "train_accuracy": [0.5], "accuracy": [0.5]}] * 2
# Formulas that are none, a byte that is no text, a script that the font does not have, and a line break.
ODD = r"$\q$ a$b 50$_{$", "caf\udce9 \ud800", "猫", "two\nlines", "_mine", "x^2 {"


def test_any_name_can_be_drawn(tmp_path):
    plots.comparison(dict.fromkeys(ODD, HISTORY), "accuracy", tmp_path / "legend.png", title=" ".join(ODD))
    ticks = {name: {name: np.array([1.0]) for name in ODD} for name in ODD}
    plots.matrix(ticks, tmp_path / "ticks.png")
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_a_formula_is_shown_as_it_was_typed():
    panel = plots.overlay({"a$x$b": HISTORY, "_mine": HISTORY}, "accuracy")
    drawn = plots.svg(panel, "x").element
    assert "a$x$b from 0.5 to 0.5" in drawn
    figure = plots._side_by_side([panel], (4, 3), "a$x$b")
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert len(labels) == 2
    assert [figure.texts[0].get_text()] == [r"a\$x\$b"]


@pytest.mark.parametrize("nothing", [np.nan, None])
def test_the_mixture_of_a_diverged_run(nothing, tmp_path):
    measured = {f"mixture_{name}": [[nothing] * 2] for name in ("means", "variances", "weights")}
    measured["probability_threshold"] = [nothing]
    queue, valid = np.array([[np.nan, np.nan]]), np.ones((1, 2), bool)
    plots.mixture(queue, valid, measured, tmp_path / "mixture.png", title="ogc")
    history = [{"tau": [nothing], "mixture_means": [[nothing] * 2], "probability_threshold": [nothing]}]
    plots.threshold(history, tmp_path / "threshold.png", title="ogc")


def test_a_picture_that_fails_costs_a_run_nothing(tmp_path, tiny_npz, capsys, monkeypatch):
    def fail(*_, **__):
        raise ValueError("Axis limits\ncannot be NaN")

    monkeypatch.setattr(plots, "curves", fail)
    monkeypatch.setattr(plots, "comparison", fail)
    command = [
        "compare",
        "--dataset",
        f"npz:{tiny_npz}",
        "--epochs",
        "1",
        "--batch-size",
        "8",
        "--seeds",
        "1",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main([*command, "--methods", "cross_entropy", "--run-dir", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert said.err.count("cannot be drawn") == said.err.count("\n") == 2
    for folder in (tmp_path / "run", tmp_path / "run" / "cross_entropy"):
        assert "seeds" in json.loads((folder / "summary.json").read_text())
    assert "\npicture " not in said.out


def test_what_is_shown_to_people_is_what_they_typed():
    for name in ("a$b$c", "_mine", "plain"):
        assert drawing.read(drawing.as_it_is(name)) == name
