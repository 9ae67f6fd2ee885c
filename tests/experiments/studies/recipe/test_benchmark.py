"""The benchmark of the recipe: finished runs are kept, and the verdicts are those of their definitions."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.config import Data, Experiment, Model, Optimization
from experiments.runs import run_folder
from experiments.studies import data_sets
from experiments.studies.data_sets import Sources
from experiments.studies.recipe import benchmark, cells, page, rows
from experiments.studies.recipe.page import Comparison, Measured
from experiments.studies.whole_runs import side_by_side
from experiments.terminal import QUIET, UserError

NOWHERE = Sources(None, None, None, None)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A part with one cell of two methods, a run of an epoch each."""
    experiment = Experiment(data=Data(noise="symmetric", noise_rate=0.4), optimization=Optimization(epochs=1))
    cell = cells.Cell("cell", experiment, ("cross_entropy", "cross_entropy larger decay"), ((3, 2),))
    monkeypatch.setattr(benchmark, "PARTS", {"small": lambda sources, work: iter([cell])})
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    return tmp_path / "small.jsonl"


def test_each_finished_run_is_a_line_and_is_not_run_again(small):
    benchmark.measure(("small",), NOWHERE, QUIET)
    found = run_folder.read_lines(small)
    assert [rows.key_of(row) for row in found] == [
        ("cell", "cross_entropy", 3),
        ("cell", "cross_entropy larger decay", 3),
    ]
    assert [row["config"]["optimization"]["weight_decay"] for row in found] == [5e-4, 2e-3]
    assert found[0]["wrong"] == pytest.approx([0.4, 0.4], abs=1e-3)
    # As if the second run had been interrupted.
    small.write_text(json.dumps(found[0] | {"seconds": -1}) + "\n")
    benchmark.measure(("small",), NOWHERE, QUIET)
    again = run_folder.read_lines(small)
    assert [row["seconds"] < 0 for row in again] == [True, False]
    assert again[1]["last"] == found[1]["last"]


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """A part whose two cells differ in their given labels; one of the two methods has a memory."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    features = rng.normal(size=(3, 8))[labels] + rng.normal(size=(300, 8))
    examples = data_sets.Examples(features[:200], labels[:200], features[200:], labels[200:])
    written = data_sets.write(tmp_path, "features", examples)

    def parts(sources, work):
        for name, wrong in (("clean", 0), ("tenth", 20)):
            given = labels[:200].copy()
            given[:wrong] = (given[:wrong] + 1) % 3
            data = Data(
                dataset=written, labels_file=data_sets.write_labels(tmp_path, name, given), scaling="none"
            )
            optimization = Optimization(epochs=6, batch_size=32)
            experiment = Experiment(data, Model(width=16), optimization=optimization)
            yield cells.Cell(name, experiment, ("cross_entropy", "recommended"), ((0, 1), (1, 1)))

    monkeypatch.setattr(benchmark, "PARTS", {"features": parts, "one by one": parts})
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    return tmp_path


@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_runs_side_by_side_are_the_runs_of_train(labelled, monkeypatch, at_once):
    monkeypatch.setattr(side_by_side, "runs_at_once", lambda experiment, runs: min(runs, at_once))
    benchmark.measure(("features",), NOWHERE, QUIET)
    benchmark.measure(("one by one",), NOWHERE, QUIET)
    together, alone = (
        {rows.key_of(row): row for row in run_folder.read_lines(labelled / f"{part}.jsonl")}
        for part in ("features", "one by one")
    )
    assert together.keys() == alone.keys()
    assert len(together) == 8
    for key, expected in alone.items():
        found = together[key]
        for name in ("curve", "memorised"):
            # The summing order differs, and with it, now and then, one of the hundred predictions.
            np.testing.assert_allclose(found[name], expected[name], atol=0.011)
        assert found["wrong"] == pytest.approx(expected["wrong"])
        for name in ("noticed", "seeds", "config"):
            assert found[name] == expected[name]
    # Runs that the file lacks are measured, and no others.
    path = labelled / "features.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]))
    benchmark.measure(("features",), NOWHERE, QUIET)
    again = path.read_text().splitlines(keepends=True)
    assert again[:-2] == lines[:-2]
    assert sorted(rows.key_of(json.loads(line)) for line in again) == sorted(together)


def test_files_that_are_needed_are_asked_for(tmp_path):
    for part, flag in (("features", "--features"), ("pictures", "--pictures"), ("text", "--text")):
        with pytest.raises(UserError, match=flag):
            next(cells.PARTS[part](NOWHERE, tmp_path))


def test_the_last_epochs_are_a_tenth_and_at_least_five():
    curves = np.stack([np.arange(100.0), np.zeros(100)])
    assert rows.last_epochs(curves) == [94.5, 0.0]
    assert rows.last_epochs(curves[:, :40]) == [37.0, 0.0]


def test_tables_and_classes_are_the_same_in_every_session(tmp_path):
    for part in ("tables", "hundred"):
        once = list(cells.PARTS[part](NOWHERE, tmp_path))
        first = {path.name: dict(np.load(path)) for path in tmp_path.glob("*.npz")}
        assert [dataclasses.replace(c.experiment) for c in cells.PARTS[part](NOWHERE, tmp_path)] == [
            c.experiment for c in once
        ]
        for name, arrays in first.items():
            for key, array in np.load(tmp_path / name).items():
                np.testing.assert_array_equal(array, arrays[key])
            assert len(np.unique(arrays["train_labels"])) == len(np.unique(arrays["test_labels"]))


def row(method, seed, last, best, cell="cell"):
    return {"cell": cell, "method": method, "seeds": [seed], "last": [last], "best": [best], "noticed": None}


def test_seeds_are_joined_and_cells_that_are_not_finished_left_out():
    rows = [row("cross_entropy", seed, 0.7, 0.8) for seed in (1, 0)]
    rows += [row("recommended", seed, 0.8 + seed / 100, 0.8) for seed in (1, 0)]
    rows += [row("cross_entropy", 0, 0.7, 0.8, "half"), row("cross_entropy", 0, 0.7, 0.8, "uneven")]
    rows += [row("recommended", seed, 0.7, 0.8, "uneven") for seed in (0, 1)]
    cells = page.by_cell(rows)
    assert list(cells) == ["cell"]
    np.testing.assert_allclose(cells["cell"]["recommended"].last, [80, 81])


@pytest.mark.parametrize(
    ("cell", "memorised", "difference", "expected"),
    [
        ("clean", 3.0, (-0.5, 0.1), True),
        ("5 classes, none", 0.0, (-0.6, 0.1), False),
        ("noisy", 0.9, (-1.0, 0.1), True),
        ("noisy", 0.9, (-1.1, 0.1), False),
        ("noisy", 1.0, (0.3, 0.2), True),
        ("noisy", 1.0, (0.3, 0.4), False),
        ("noisy", 1.0, (-0.1, None), False),
    ],
)
def test_what_is_promised(cell, memorised, difference, expected):
    found = Comparison("elr", (0.0, None), difference, memorised)
    assert page.holds(cell, found) == expected


def test_the_interval_is_students():
    mean, half = page.paired(np.array([1.0, 2.0, 3.0]), np.zeros(3))
    assert (mean, half) == pytest.approx((2.0, 2.484), abs=1e-3)
    assert page.paired(np.array([1.0, 2.0]), np.zeros(2)) == (1.5, None)


def test_a_row_of_the_verdicts():
    cell = {
        name: Measured(np.array(last), np.array(best), noticed)
        for name, last, best, noticed in [
            ("cross_entropy", [70.0], [80.0], None),
            ("elr", [83.0], [83.0], None),
            ("recommended", [81.5], [82.0], "memorising began at epoch 9"),
        ]
    }
    table = page.verdicts({"noisy": cell}, ["noisy"])
    assert table.splitlines()[-1] == (
        "| noisy (chosen on) | 10.0 | +11.5 | yes | `elr` | -1.5 | **no** | memorising began at epoch 9 |"
    )
