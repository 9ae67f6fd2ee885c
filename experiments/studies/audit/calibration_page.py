"""The page of the audit's calibration: how often its intervals hold, and what its probabilities mean."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
from numpy.typing import NDArray

from experiments.pages import plots
from experiments.runs import run_folder
from experiments.studies import templates
from experiments.studies.audit.calibration import OF_PEOPLE, RESULTS
from experiments.studies.templates import markdown

PAGE = RESULTS / "README.md"
PICTURE = Path(__file__).parents[3] / "docs" / "results" / "calibration.png"
Rows = list[dict[str, Any]]
TRUE_SHARES = {"none": 0.01, "to 4 %": 0.04, "to 15 %": 0.15, "to 30 %": 0.3, "more": 1.0}


def page() -> str:
    """experiments/results/calibration/README.md, of the reported half."""
    rows = run_folder.read_lines(RESULTS / "reported.jsonl")
    learnt = [row for row in rows if row["learnt"]]
    return templates.render(
        "calibration.md.jinja",
        runs=len(rows),
        learnt=len(learnt),
        coverage=f"{100 * np.mean([holds(row) for row in learnt]):.0f}",
        error=f"{calibration_error(learnt):.3f}",
        of_runs=f"{calibration_error(learnt, each_run_once=True):.3f}",
        table=table(rows),
        not_learnt=markdown(_not_learnt(rows)),
    )


def _not_learnt(rows: Rows) -> list[list[str]]:
    return [
        ["data", "labels", "method", "epochs", "test accuracy"],
        ["---"] * 3 + ["---:"] * 2,
        *(
            [
                *(row["data"], row["noise"], f"`{row['method']}`", str(row["epochs"])),
                f"{100 * row['test_accuracy']:.0f}",
            ]
            for row in rows
            if not row["learnt"]
        ),
    ]


def holds(row: dict[str, Any]) -> bool:
    """Whether a run's interval holds the true share, which it has to five digits."""
    estimate = row["estimate"]
    return estimate["low"] - 1e-5 <= row["wrong"] <= estimate["high"] + 1e-5


def calibration_error(rows: Rows, *, each_run_once: bool = False) -> float:
    """The expected calibration error in ten bins, over all examples of the runs.

    >>> rows = [{"examples": 4, "bins": [[2, 0.0, 0], [2, 0.7, 1]]}]
    >>> calibration_error(rows)
    0.1
    """
    counts, sums, wrong = of_bins(rows, each_run_once)
    return round(float(np.abs(sums - wrong).sum() / counts.sum()), 10)


def of_bins(
    rows: Rows, each_run_once: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """In each bin of probability the examples, the sum of their probabilities, and the wrong labels."""
    found = np.array([row["bins"] for row in rows], float)
    weight = np.array([1 / row["examples"] if each_run_once else 1.0 for row in rows])[:, None]
    counts, means, wrong = np.moveaxis(found, -1, 0)
    return (weight * counts).sum(axis=0), (weight * counts * means).sum(axis=0), (weight * wrong).sum(axis=0)


def table(rows: Rows) -> str:
    """Coverage, width and calibration error, for each value of what the runs differ in."""
    heading = ["", "runs", "learnt", "intervals that hold, %", "median width, points", "calibration error"]
    lines = [heading, ["---", *["---:"] * 5], _line("all", rows)]
    for kind, name_of in KINDS.items():
        names = dict.fromkeys(name_of(row) for row in sorted(rows, key=lambda row: _order(kind, row)))
        lines += [_line(f"{kind}: {name}", [row for row in rows if name_of(row) == name]) for name in names]
    return markdown(lines)


def _order(kind: str, row: dict[str, Any]) -> Any:
    return {"epochs": row["epochs"], "wrong labels": row["wrong"]}.get(kind, 0)


def _line(name: str, rows: Rows) -> list[str]:
    learnt = [row for row in rows if row["learnt"]]
    if not learnt:
        return [name, str(len(rows)), "0", "", "", ""]
    widths = [row["estimate"]["high"] - row["estimate"]["low"] for row in learnt]
    return [
        name,
        str(len(rows)),
        str(len(learnt)),
        f"{100 * np.mean([holds(row) for row in learnt]):.0f}",
        f"{100 * np.median(widths):.0f}",
        f"{calibration_error(learnt):.3f}",
    ]


def _kind_of_noise(row: dict[str, Any]) -> str:
    of_people = {name for names in OF_PEOPLE.values() for name in names}
    return "people's" if row["noise"] in of_people else row["noise"].split("-")[0]


def _true_share(row: dict[str, Any]) -> str:
    return next(name for name, most in TRUE_SHARES.items() if row["wrong"] <= most)


KINDS: dict[str, Any] = {
    "data": lambda row: row["data"],
    "noise": _kind_of_noise,
    "wrong labels": _true_share,
    "method": lambda row: f"`{row['method']}`",
    "epochs": lambda row: str(row["epochs"]),
}


def draw(path: Path) -> None:
    """The reliability diagram and the intervals of the reported half."""
    rows = [row for row in run_folder.read_lines(RESULTS / "reported.jsonl") if row["learnt"]]
    with matplotlib.rc_context({"font.size": 12}):
        figure = matplotlib.figure.Figure(figsize=(11, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        _reliability(left, rows)
        _intervals(right, sorted(rows, key=lambda row: (row["wrong"], row["estimate"]["high"])))
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        with run_folder.whole(path) as unfinished:
            figure.savefig(unfinished, dpi=150, format="png")


def _reliability(axes: Any, rows: Iterable[dict[str, Any]]) -> None:
    counts, sums, wrong = of_bins(list(rows), each_run_once=True)
    some = counts > 0
    axes.plot([0, 100], [0, 100], color="grey", linewidth=1)
    x, y = 100 * sums[some] / counts[some], 100 * wrong[some] / counts[some]
    axes.scatter(x, y, s=20 + 900 * counts[some] / counts.sum(), color=plots.COLOURS[0], alpha=0.7)
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="probability that the label is wrong, %")
    axes.set_title("labels that are wrong, %", fontsize="medium", loc="left")


def _intervals(axes: Any, rows: Rows) -> None:
    for place, row in enumerate(rows):
        colour = plots.COLOURS[2] if holds(row) else plots.COLOURS[1]
        low, high = (100 * row["estimate"][name] for name in ("low", "high"))
        axes.plot([place, place], [low, high], color=colour, linewidth=1.5)
    axes.plot(range(len(rows)), [100 * row["wrong"] for row in rows], ".", color="black", markersize=3)
    axes.set(ylim=(0, 100), xlabel="runs, by the true share (points)")
    axes.set_title("95 % intervals of the share of wrong labels, %", fontsize="medium", loc="left")
