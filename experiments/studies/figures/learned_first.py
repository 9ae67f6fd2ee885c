"""The first figure of README and documentation: what is learned first, and what is memorised later."""

import csv
import re
import textwrap
from pathlib import Path

import matplotlib
import matplotlib.figure
import numpy as np

from experiments.pages import plots
from experiments.runs import long_table, run_folder

METHODS = {
    "cross_entropy": "cross-entropy",
    "generalized_cross_entropy": "generalized cross-entropy",
    "dal": "dynamics-aware loss",
    "elr": "early-learning regularization",
}
CURVES = Path(__file__).parents[2] / "results" / "digits" / "curves.csv"
PICTURE = Path(__file__).parents[3] / "docs" / "learned-first.png"
METRICS = {"test_accuracy": "test accuracy", "memorised": "wrong training labels memorised"}
Curves = dict[tuple[str, str], np.ndarray]


def write_curves(results: Path, target: Path) -> None:
    """Means over seeds, from the results.csv of a comparison, as a file of the same columns without seeds."""
    with results.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] in METHODS and row["metric"] in METRICS]
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("method", "noise", "rate", "epoch", "metric"))
        values.setdefault(key, []).append(float(row["value"]))
    with run_folder.whole(target) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([name for name in long_table.COLUMNS if name != "seed"])
        writer.writerows((*key, f"{np.mean(own):.6f}") for key, own in values.items())


def read_curves(path: Path) -> Curves:
    """Values over the epochs, by method and metric."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {(row["method"], row["metric"]) for row in rows}
    return {
        name: np.array([float(row["value"]) for row in rows if (row["method"], row["metric"]) == name])
        for name in names
    }


def claim(curves: Curves) -> str:
    """What the figure shows, in a sentence, with its numbers."""
    plain = 100 * curves["cross_entropy", "test_accuracy"]
    others = [name for name in METHODS if name != "cross_entropy"]
    robust = min(100 * curves[name, "test_accuracy"][-10:].mean() for name in others)
    return (
        f"Cross-entropy reaches {plain.max():.0f} % and falls to {plain[-10:].mean():.0f} % while it "
        f"memorises the wrong labels; the robust losses end above {np.floor(robust):.0f} %."
    )


def with_claim(text: str) -> str:
    """A page whose picture of the figure is described by the claim."""
    pattern = rf"!\[[^\]]*\]\(((?:docs/)?{re.escape(PICTURE.name)})\)"
    return re.sub(pattern, lambda found: f"![{claim(read_curves(CURVES))}]({found[1]})", text)


def apart(values: list[float], gap: float) -> list[float]:
    """Places for labels of these values, in the same order from low to high and at least `gap` apart.

    >>> apart([5.0, 6.0, 99.0], gap=5.0)
    [5.0, 10.0, 99.0]
    """
    places = dict.fromkeys(range(len(values)), 0.0)
    last = -np.inf
    for i in sorted(places, key=lambda i: values[i]):
        last = places[i] = max(values[i], last + gap)
    return [float(place) for place in places.values()]


def draw(curves: Curves, path: Path) -> None:
    """Two panels with the claim above; lines are named at their ends, and the same colours serve both."""
    with matplotlib.rc_context({"font.size": 14}):
        figure = matplotlib.figure.Figure(figsize=(11, 5), layout="constrained")
        for axes, (metric, label) in zip(figure.subplots(1, 2), METRICS.items(), strict=True):
            for colour, method in zip(plots.COLOURS, METHODS, strict=False):
                values = 100 * curves[method, metric]
                axes.plot(np.arange(1, len(values) + 1), values, color=colour, linewidth=2.5)
            axes.set(xlabel="epoch", ylim=(0, 101), xlim=(1, len(values)))
            axes.set_title(f"{label}, %", fontsize="medium", loc="left")
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        places = apart([float(100 * curves[method, metric][-1]) for method in METHODS], gap=13.0)
        for colour, name, place in zip(plots.COLOURS, METHODS.values(), places, strict=False):
            axes.annotate(
                name.replace(" ", "\n"),
                (len(values), place),
                xytext=(8, 0),
                textcoords="offset points",
                color=colour,
                va="center",
                annotation_clip=False,
            )
        figure.suptitle(textwrap.fill(claim(curves), 78), x=0.01, ha="left", fontweight="bold")
        with run_folder.whole(path) as unfinished:
            figure.savefig(unfinished, dpi=150, format="png")
