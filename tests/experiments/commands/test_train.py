"""`train` with its default, the method that needs no choice."""

import json

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
