"""`train` with its default, the method that needs no choice."""

import json

import pytest

from experiments.__main__ import main

SHORT = ["--noise", "symmetric", "--noise-rate", "0.4", "--epochs", "2", "--seeds", "2"]


def test_what_the_default_noticed_is_said_stored_and_reported(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", *SHORT, "--group-statistics", "--run-dir", str(run)]) == 0
    noticed = "nothing was memorised: trained like cross-entropy"
    assert f"recommended: {noticed}" in " ".join(capsys.readouterr().out.split())
    summary = json.loads((run / "summary.json").read_text())
    assert summary["noticed"] == noticed
    assert summary["config"]["method"] == "recommended"
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert len(last["memorised_share"]) == len(last["memorised_share_error"]) == 2
    assert last["regularization"] == [0, 0]
    assert main(["report", str(run)]) == 0
    assert noticed in (run / "report.html").read_text()


DIVERGING = ["--epochs", "2", "--learning-rate", "1e5", "--gradient-norm-clip", "None"]


@pytest.mark.filterwarnings("ignore:cross_entropy", "ignore:focal")
def test_a_diverged_run_is_marked_and_nothing_is_derived_from_it(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--method", "cross_entropy", *DIVERGING, "--run-dir", str(run)]) == 0
    assert json.loads((run / "summary.json").read_text())["diverged"] == [0]
    # As if it had been killed before it was summed up: what is not a number is then read from a file.
    (run / "summary.json").unlink()
    assert main(["train", "--method", "cross_entropy", *DIVERGING, "--run-dir", str(run)]) == 0
    assert json.loads((run / "summary.json").read_text())["diverged"] == [0]
    for command in (["predict", str(run), "digits"], ["audit", str(run)]):
        assert main(command) == 2
        assert "the training diverged" in capsys.readouterr().err
    assert not (run / "predictions.csv").exists()
    both = ["--methods", "cross_entropy", "focal", "--seeds", "1"]
    assert main(["compare", *both, *DIVERGING, "--run-dir", str(tmp_path / "both")]) == 0
    table = capsys.readouterr().out
    assert "(diverged: 1 of 1 seeds)" in table
    well = ["train", "--epochs", "1", "--run-dir", str(tmp_path / "well")]
    assert main(well) == 0
    assert json.loads((tmp_path / "well" / "summary.json").read_text())["diverged"] == []


@pytest.mark.filterwarnings("always:ogc")
def test_a_queue_that_is_never_full_is_told_before_training(tmp_path, capsys):
    flags = ["train", "--epochs", "2", "--run-dir", str(tmp_path / "run"), "--method"]
    assert main([*flags, "ogc"]) == 0
    error = " ".join(capsys.readouterr().err.split())
    assert "its queue of 4,096 examples is not full before the run ends (2,688 examples)" in error
    assert "use ogc:queue_size=672" in error
    assert main([*flags[:-2], str(tmp_path / "other"), "--method", "ogc:queue_size=672,update_every=8"]) == 0
    assert "warning" not in capsys.readouterr().err
