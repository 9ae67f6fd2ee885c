"""The calibration of the audit: what is run, and what the page says of it."""

from collections import Counter

import numpy as np
import pytest

from experiments.runs import run_folder
from experiments.studies.audit import calibration, calibration_page
from experiments.studies.audit.calibration import Run
from experiments.studies.data_sets import Sources
from experiments.terminal import QUIET, UserError

NOWHERE = Sources(None, None, None, None)


def test_every_kind_of_run_comes_often_and_in_both_halves():
    runs = list(calibration.runs())
    assert len(runs) == len(set(runs)) == 308
    kinds = {
        "data": [run.data for run in runs if run.data != "features 50000"],
        "method": [run.method for run in runs],
        "epochs": [run.epochs for run in runs],
        "rate": [run.noise.rpartition("-")[2] for run in runs if "-" in run.noise],
    }
    for values in kinds.values():
        assert min(Counter(values).values()) >= 40
    for kind in ("data", "method", "epochs"):
        counts = Counter((getattr(run, kind), run.half) for run in runs)
        for value in {value for value, _ in counts}:
            assert abs(counts[value, "design"] - counts[value, "reported"]) <= 1


@pytest.mark.parametrize("data", ["digits 300", "digits 1500", "table 300", "table 1500"])
def test_data_are_the_same_in_every_session_and_others_for_other_seeds(data):
    def drawn(seed):
        return calibration.examples_of(Run(data, "none", "cross_entropy", 10, seed), NOWHERE)[0]

    first, again, other = drawn(3), drawn(3), drawn(15)
    assert len(first.train_y) == int(data.split()[1])
    for own, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(own, same)
    assert not np.array_equal(first.train_x, other.train_x)


def test_a_finished_run_is_a_line_and_is_not_run_again(tmp_path, monkeypatch):
    run = Run("digits 300", "symmetric-0.2", "cross_entropy", 1, 3)
    monkeypatch.setattr(calibration, "runs", lambda: iter([run, run._replace(seed=4)]))
    monkeypatch.setattr(calibration, "RESULTS", tmp_path)
    calibration.measure("reported", NOWHERE, QUIET)
    path = tmp_path / "reported.jsonl"
    (row,) = run_folder.read_lines(path)
    assert row["wrong"] == pytest.approx(0.2)
    assert sum(count for count, _, _ in row["bins"]) == row["examples"] == 300
    assert sum(wrong for _, _, wrong in row["bins"]) == 60
    before = path.read_bytes()
    calibration.measure("reported", NOWHERE, QUIET)
    assert path.read_bytes() == before


def test_files_that_are_needed_are_asked_for():
    for data, flag in (("text", "--text"), ("features 5000", "--features")):
        with pytest.raises(UserError, match=flag):
            calibration.examples_of(Run(data, "none", "dal", 10, 1), NOWHERE)


def row(low, high, wrong, learnt=True, bins=((4, 0.25, 1),)):
    return {
        "data": "d", "noise": "pair-0.2", "method": "m", "epochs": 10, "examples": 4, "learnt": learnt,
        "wrong": wrong, "estimate": {"low": low, "high": high}, "bins": [list(own) for own in bins],
    }  # fmt: skip


def test_the_table_counts_intervals_of_models_that_have_learnt():
    rows = [row(0.0, 0.1, 0.0), row(0.1, 0.3, 0.05), row(0.0, 0.1, 0.9, learnt=False)]
    lines = calibration_page.table(rows).splitlines()
    assert lines[2] == "| all | 3 | 2 | 50 | 15 | 0.000 |"
    assert "| wrong labels: more | 1 | 0 |  |  |  |" in lines


def test_the_calibration_error_by_hand():
    rows = [row(0, 1, 0.5, bins=[(2, 0.1, 1), (2, 0.9, 2)]), row(0, 1, 0.5, bins=[(4, 0.3, 0), (0, 0.0, 0)])]
    # Over 8 examples: |0.2 + 1.2 - 1| + |1.8 - 2|.
    assert calibration_page.calibration_error(rows) == pytest.approx((0.4 + 0.2) / 8)
    rows[1]["examples"] = 400
    once = (abs((0.2 - 1) / 4 + 1.2 / 400) + 0.2 / 4) / (1 + 4 / 400)
    assert calibration_page.calibration_error(rows, each_run_once=True) == pytest.approx(once)
