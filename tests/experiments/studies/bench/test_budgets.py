import io
import json

import pytest
from rich.console import Console

from experiments.runs import run_folder
from experiments.studies.bench import budgets, page
from experiments.terminal import UserError


@pytest.fixture
def measured():
    return run_folder.read_json(page.RESULTS / "all.json")


def shown(rows, old):
    console = Console(width=200, file=io.StringIO())
    console.print(budgets.table(rows, old))
    return console.file.getvalue()


def test_every_promise_has_a_row(measured):
    rows = budgets.rows(measured)
    assert len({row.what for row in rows}) == len(rows)
    assert [row.reach for row in rows if "OGC step" in row.what] == [1.03]
    slowest = max(t["ratio"] for t in measured["losses"]["losses"].values() if t["target"] == 1.5)
    assert [row.reached for row in rows if row.what.startswith("slowest loss of p alone")] == [slowest]


def test_what_is_missed_is_said(measured):
    measured["ogc"]["step"]["ratio"] = 1.04
    (line,) = (line for line in shown(budgets.rows(measured), None).splitlines() if "OGC step" in line)
    assert line.rstrip().endswith("MISSED")
    measured["ogc"]["step"]["ratio"] = 1.03
    (line,) = (line for line in shown(budgets.rows(measured), None).splitlines() if "OGC step" in line)
    assert "MISSED" not in line


def test_a_line_is_compared_with_the_last_one_of_such_a_machine(measured, tmp_path):
    path = tmp_path / "folder" / "history.jsonl"
    assert budgets.read_history(path) == []
    new = budgets.entry(measured, measured["provenance"])
    elsewhere, older = (
        {**new, "device": "tpu v5"},
        {**new, "rows": {"import noisy_optax / import optax": 7.25}},
    )
    for line in (new, older, elsewhere):
        budgets.append_history(path, line)
    old = budgets.before(budgets.read_history(path), new)
    assert old == older
    assert "7.25" in shown(budgets.rows(measured), old)
    assert budgets.before([elsewhere], new) is None


@pytest.mark.parametrize("content", ["{", "[]\n", "3\n", json.dumps({"machine": "m", "device": "d"})])
def test_a_history_of_another_form(content, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"history.jsonl: expected lines that `bench all` has written"):
        budgets.read_history(path)
