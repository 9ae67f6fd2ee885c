"""Names of classes, examples and columns: no formula, no escape and no markup where they are shown."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.__main__ import main
from experiments.commands import compare
from experiments.data.class_labels import Classes
from experiments.data.label_file import read_corrections
from experiments.pages import plots
from experiments.runs import contents, corrections
from experiments.safety import csv_files
from experiments.terminal import Progress, make_console, plain
from tests.experiments.untrusted.conftest import CLASSES

FORMULAS = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1", "'=1", "''=1")


@pytest.mark.parametrize("name", [*FORMULAS, "-1.5", "+3", "1e-5", "apple", "'apple'", "", "a=b", "-"])
def test_a_cell_comes_back_as_it_was_and_is_no_formula(name, tmp_path):
    csv_files.write(tmp_path / "x.csv", [[name, -1.5, 3]])
    with (tmp_path / "x.csv").open(newline="") as file:
        [[cell, number, whole]] = csv.reader(file)
    assert cell[:1] not in tuple("=+-@\t\r\n\uff1d") or re.fullmatch(r"[+-][\d.]+", cell)
    assert csv_files.original(cell) == name
    assert (number, whole) == ("-1.5", "3")


def test_the_page_of_a_review_has_the_same_rule(received):
    assert main(["review", "run"]) == 0
    page = Path("run/review.html").read_text()
    assert f"/^{csv_files.FORMULA.pattern}/.test" in page
    assert f"/^{csv_files.NUMBER.pattern}$/.test" in page


def rows(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_no_formula_in_a_report_and_the_names_as_they_were_in_the_data(received):
    assert main(["predict", "run", "data.csv"]) == 0
    assert main(["clean", "run", "--output", "new.csv", "--first", "5"]) == 0
    for name in ("run/labels.csv", "run/predictions.csv", "new-changes.csv", "run/results.csv"):
        cells = [cell for row in rows(name) for cell in row.values()]
        assert not [cell for cell in cells if re.match(r"[=+\-@]", cell) and not re.match(r"-?\d", cell)]
    assert "'@id0\x1b[1m" in [row["row_id"] for row in rows("run/labels.csv")]
    assert f"'{CLASSES[0]}" in [row["class"] for row in rows("run/predictions.csv")]
    # The user's own data, except for the labels that were changed.
    before, after = rows("data.csv"), rows("new.csv")
    assert [{**row, "kind": ""} for row in before] == [{**row, "kind": ""} for row in after]
    assert {row["kind"] for row in after} == set(CLASSES)


def test_decisions_are_read_with_and_without_the_apostrophe(tmp_path):
    path, names = tmp_path / "reviewed.csv", ("=a", "'=a", "b")
    cells = [csv_files.harmless(name) for name in names]
    lines = [f"{i},relabel,{cell}" for i, cell in enumerate(["=a", *cells])]
    path.write_text("\n".join(["index,decision,label", *lines]) + "\n")
    found = corrections.read_reviewed(path, 4, names)
    assert [decision.label for decision in found.values()] == [0, 0, 1, 2]
    own = np.array([2, 2, 2, 2], np.int32)
    assert read_corrections(str(path), own, Classes(3, names)).tolist() == [0, 0, 1, 2]


def test_the_file_of_a_suspect_is_read_as_it_is_called(tmp_path):
    heading = ["rank", "index", "given_label", "suggested_label", "probability_wrong", "file"]
    csv_files.write(tmp_path / "labels.csv", [heading, [1, 0, 1, 0, 0.5, "=a/1.png"]])
    [suspect] = contents.read_suspects(tmp_path / "labels.csv", 2)
    assert suspect.file == "=a/1.png"


UNSEEN = (
    "\x1b]0;title\x07",
    "\x9b2J",
    "\x07",
    "\r",
    "\x7f",
    "\u202e",
    "\u2066",
    "\u200f",
    "\u2028",
    "\udc9b",
)


def check_printed(said):
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\ud800-\udfff]", said)


@pytest.mark.parametrize("name", UNSEEN)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(name, capsys):
    console = make_console()
    Progress(console).say(f"a{name}b\nc")
    # Whatever is printed, and however.
    console.print(f"a{name}b", markup=False)
    Progress(console).counting(f"a{name}b", 3).__enter__()
    check_printed(capsys.readouterr().out)
    assert plain(f"a{name}b").isprintable()


def test_a_bar_shows_a_name_as_it_is(monkeypatch):
    shown = io.StringIO()
    progress = Progress(Console(file=shown, force_terminal=True, width=100, color_system=None))
    name = "[red]\x1b[2J\u202e[/]"
    with progress.counting(name, 3), progress.epochs(name, 0, 3) as report:
        report(1, "[/]")
    assert shown.getvalue().count("[red]\\x1b[2J\\u202e[/]") >= 2
    assert "\u202e" not in shown.getvalue()


@pytest.mark.filterwarnings("always:labels ignored")
@pytest.mark.parametrize(
    "command",
    [
        ("report", "run"),
        ("train", "--dataset", "csv:no\x1b[2J\u202ewhere.csv"),
        ("train", "--dataset", "csv:data.csv", "--label", "\x1b[2J"),
        ("train", "--method", "\x1b[2J"),
        ("train", "--epochs", "\x1b[2J"),
        ("predict", "\x1b[2J\n", "digits"),
        ("predict", "run", "other.csv"),
    ],
)
def test_no_command_prints_an_escape(command, received, capfd):
    # The labels are others than the run knows, which is a warning.
    Path("other.csv").write_text("row_id,a,b,kind\n1,1,2,\x1b[2J\u202e\n2,1,2,x\n")
    main(list(command))
    said = capfd.readouterr()
    check_printed(said.out + said.err)
    assert "\\x1b[" in said.out + said.err or command == ("report", "run")


def test_markup_in_a_table_is_shown_as_it_is(received, capfd):
    said = Path("said.txt").read_text()
    check_printed(said)
    assert "\\x1b[2J[red]x[/]" in said
    spread = {"mean": 0.5, "sd": None, "per_seed": [0.5]}
    own = {"last_10_mean": spread, "last": spread, "best_epoch": spread}
    result = {
        "metric": "test_accuracy",
        "epochs": 10,
        "seeds": [0],
        "config": {"data": {"dataset": "csv:[/]x.csv", "noise": "none"}},
        "methods": {"a[/]\x1b.py:b": own, "[red]": {**own, "diverged": [0]}},
    }
    make_console().print(compare.table(result))
    said = capfd.readouterr().out
    assert all(name in said for name in ("csv:[/]x.csv", "a[/]\\x1b.py:b", "[red]"))


class Page(HTMLParser):
    """The elements of a page, and the text of its JSON."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.json, self.inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.inside = dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        self.json += data if self.inside else ""


def test_names_are_no_markup_in_the_pages(received):
    assert main(["report", "run"]) == 0
    assert main(["review", "run"]) == 0
    report, review = (Page(Path("run", name).read_text()) for name in ("report.html", "review.html"))
    assert "script" not in report.elements
    assert review.elements.count("script") == 2
    # The one name that is markup is in both as text.
    for name in ("report.html", "review.html"):
        assert CLASSES[2][:9] not in Path("run", name).read_text().replace("</script>\n", "")
    assert sorted(json.loads(review.json)["classes"]) == sorted(CLASSES)


def test_names_are_no_markup_in_a_drawing():
    """A method may be called like its file, which may be called anything."""
    name = "</svg><script>alert(1)</script> $\\frac{x$"
    history = [{"test_accuracy": [0.5]}] * 2

    def panel(axes):
        plots.overlay({name: history}, "test_accuracy")(axes)
        # Without what Matplotlib would typeset as mathematics.
        axes.set_xlabel(name.partition("$")[0])

    drawing = plots.svg(panel, "x")
    assert "<script" not in drawing.element
    # In its words for those who do not see it, and in the drawing itself.
    assert drawing.element.count("&lt;script") == 2
