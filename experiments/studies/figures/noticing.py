"""The figure of the recipe: how it notices that memorising begins, and what follows."""

import re
import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np

from experiments.pages import plots
from experiments.runs import run_folder
from experiments.studies.recipe.benchmark import RESULTS
from experiments.studies.recipe.cells import RECIPE
from noisy_optax import _recommended

PICTURE = Path(__file__).parents[3] / "docs" / "methods" / "noticing.png"
BASELINE = "cross_entropy"
# Cells of the benchmark, and what the figure calls them.
CELLS = {"none": "clean labels", "symmetric-0.2": "20 % wrong", "symmetric-0.6": "60 % wrong"}
Rows = dict[tuple[str, str], dict[str, Any]]


def read() -> Rows:
    """The benchmark's rows on digits, by cell and method."""
    rows = run_folder.read_lines(RESULTS / "digits.jsonl")
    return {(row["cell"], row["method"]): row for row in rows}


def noticed(row: dict[str, Any]) -> tuple[int, int] | None:
    """The first and the last epoch at which one of the seeds noticed memorising.

    >>> noticed({"noticed": "memorising began at epoch 10 to 25"})
    (10, 25)
    """
    found = [int(number) for number in re.findall(r"epoch (\d+)(?: to (\d+))?", row["noticed"])[0] if number]
    return (found[0], found[-1]) if found else None


def draw(path: Path) -> None:
    """Left the memorised share, right the test accuracy; the bands are where the seeds noticed memorising."""
    rows = read()
    with matplotlib.rc_context({"font.size": 13}):
        figure = matplotlib.figure.Figure(figsize=(11, 5), layout="constrained")
        left, right = figure.subplots(1, 2)
        for colour, (cell, name) in zip(plots.COLOURS, CELLS.items(), strict=False):
            row = rows[cell, RECIPE]
            _curve(left, row["memorised_share"], colour, name)
            _curve(right, 100 * np.array(row["curve"]), colour, name)
            _curve(right, 100 * np.array(rows[cell, BASELINE]["curve"]), colour, None)
            found = noticed(row)
            if found:
                left.axvspan(*found, color=colour, alpha=0.12, linewidth=0)
        left.axhline(_recommended.NOTICED_ABOVE, color="grey", linewidth=1)
        left.set_title("memorised share, until it is noticed", fontsize="medium", loc="left")
        right.set_title("test accuracy, %; cross-entropy dashed", fontsize="medium", loc="left")
        right.set(ylim=(0, 101))
        left.set(ylim=(0, 1.01))
        for axes in (left, right):
            axes.set(xlabel="epoch", xlim=(1, 100))
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        right.legend(loc="lower right", frameon=False)
        figure.suptitle(textwrap.fill(claim(rows), 84), x=0.01, ha="left", fontweight="bold")
        with run_folder.whole(path) as unfinished:
            figure.savefig(unfinished, dpi=150, format="png")


def _curve(axes: Any, values: Any, colour: str, name: str | None) -> None:
    style = {"linestyle": "--", "linewidth": 1.5} if name is None else {"linewidth": 2.5, "label": name}
    axes.plot(np.arange(1, len(values) + 1), values, color=colour, **style)


def claim(rows: Rows) -> str:
    """What the figure shows, in a sentence, with its numbers."""
    first, last = noticed(rows["symmetric-0.6", RECIPE]) or (0, 0)
    own, plain = (100 * np.mean(rows["symmetric-0.6", name]["last"]) for name in (RECIPE, BASELINE))
    return (
        f"With 60 % wrong labels, memorising is noticed at epoch {first} to {last}. The accuracy then rises "
        f"to {own:.0f} %, where that of cross-entropy falls to {plain:.0f} %."
    )
