import types

import numpy as np
import pytest
from rich.console import Console

from experiments.studies.__main__ import main
from experiments.studies.claims import report
from experiments.studies.claims.check import Check, exceeds, verdict


def test_a_difference_counts_when_its_interval_is_above_zero():
    first = np.array([2.0, 3.0, 4.0])
    # Student's t for two degrees of freedom is 4.303: 1 ± 4.303 / sqrt(3) * 0.1
    found = exceeds("more", first, first - np.array([0.9, 1.0, 1.1]))
    assert found == Check("more", "+1.00 ± 0.25 points", True)
    assert not exceeds("more", first, first - np.array([-1.0, 1.0, 3.0])).held
    assert verdict([found, found]) == "held"
    assert verdict([found._replace(held=False)]) == "not held"


def test_what_was_measured_is_shown_and_written(tmp_path, monkeypatch, capsys):
    claim = types.ModuleType("claim", "Two is more than one.")
    claim.measure = lambda: {"what": "numbers", "two": np.float32(2)}
    claim.checks = lambda measured: [
        Check("two is more than one", f"{measured['two']:g}", measured["two"] > 1),
        Check("and than three", f"{measured['two']:g}", measured["two"] > 3),
    ]
    claim.rows = lambda measured: [["number"], [str(measured["two"])]]
    claim.PAPER = "A paper"
    monkeypatch.setattr(report, "CLAIMS", {"two": claim})
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    report.run(["two"], tmp_path, Console(width=100))
    line = "two: held in part (1 of 2). Two is more than one. Not so: and than three: 2"
    assert line in capsys.readouterr().out
    assert "| and than three | 2 | **no** |" in report.page()


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_measured(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["claims", "--output", str(tmp_path / "file")]) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", report.CLAIMS)
def test_every_claim_says_where_it_is_from(name):
    claim = report.CLAIMS[name]
    assert "arXiv" in claim.PAPER or "ICLR" in claim.PAPER
    assert report.headline(claim).endswith(".")
