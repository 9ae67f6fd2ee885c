"""The page of the recipe: its accuracy beside fixed methods, and where it holds."""

from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.runs import run_folder
from experiments.studies import digits, templates
from experiments.studies.recipe.benchmark import RESULTS
from experiments.studies.recipe.cells import CHOSEN_ON, METHODS, PARTS, RECIPE
from experiments.studies.recipe.rows import accuracies as accuracies_of
from experiments.studies.recipe.rows import by_cell as rows_by_cell
from experiments.studies.templates import markdown
from experiments.training import metrics

BASELINE = "cross_entropy"
# Cross-entropy memorises where its last epochs are so many points below its best epoch.
MEMORISES = 1.0
# By how much the recipe may be worse than cross-entropy, in points.
MAY_LOSE_ON_CLEAN, MAY_LOSE = 0.5, 1.0
WITHIN = 1.0

PAGE = RESULTS / "README.md"
HEADINGS = {
    "digits": "Digits, seeds 100 to 109",
    "combinations": "Other networks, optimizers and lengths, digits with 40 % wrong labels",
    "features": "Features of 50,000 pictures of CIFAR-10",
    "pictures": "A small convolutional network on 5,000 pictures of CIFAR-10",
    "text": "News titles in Yoruba",
    "tables": "Tables of 2,000 rows",
    "hundred": "A hundred classes",
}


class Measured(NamedTuple):
    """A method in a cell: accuracies in percent, by seed.

    Attributes:
      best: of the best epoch.
      noticed: what the method said after the training, None if it says nothing.
    """

    last: NDArray[np.float64]
    best: NDArray[np.float64]
    noticed: str | None


class Comparison(NamedTuple):
    """The recipe in one cell, beside the best other method and beside cross-entropy, in points.

    Attributes:
      best_other: the method that is best in hindsight.
      to_best: the recipe less that method, and half of the 95 % interval, None for less than three seeds.
      to_baseline: the recipe less cross-entropy, likewise.
      memorised: cross-entropy's best epoch less its last epochs.
    """

    best_other: str
    to_best: tuple[float, float | None]
    to_baseline: tuple[float, float | None]
    memorised: float


def by_cell(rows: list[dict[str, Any]]) -> dict[str, dict[str, Measured]]:
    """The finished runs of a part, the seeds of a method in a cell joined; only complete cells."""
    joined = {
        cell: {
            method: Measured(accuracies_of(own, "last"), accuracies_of(own, "best"), own[0]["noticed"])
            for method, own in methods.items()
        }
        for cell, methods in rows_by_cell(rows).items()
    }
    return {
        cell: methods
        for cell, methods in joined.items()
        if RECIPE in methods and len({len(own.last) for own in methods.values()}) == 1
    }


def compare(cell: dict[str, Measured]) -> Comparison:
    """The recipe beside the others in a cell.

    >>> cell = {name: Measured(np.array([last]), np.array([best]), None) for name, last, best in [
    ...     ("cross_entropy", 70.0, 80.0), ("elr", 82.0, 83.0), ("recommended", 81.5, 82.0)]}
    >>> compare(cell)
    Comparison(best_other='elr', to_best=(-0.5, None), to_baseline=(11.5, None), memorised=10.0)
    """
    others = {name: own for name, own in cell.items() if name != RECIPE}
    best = max(others, key=lambda name: float(others[name].last.mean()))
    own, baseline = cell[RECIPE].last, cell[BASELINE]
    memorised = float((baseline.best - baseline.last).mean())
    return Comparison(best, paired(own, others[best].last), paired(own, baseline.last), memorised)


def paired(own: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float | None]:
    """Mean of `own - other`, and half of its 95 % interval from three pairs on."""
    if len(own) < 3:
        return float((own - other).mean()), None
    return metrics.paired_difference(own, other)


def holds(cell: str, found: Comparison) -> bool:
    """Whether the recipe is as good against cross-entropy as it promises."""
    mean, half = found.to_baseline
    if cell.split(", ")[-1] in ("none", "clean"):
        return mean >= -MAY_LOSE_ON_CLEAN
    if found.memorised < MEMORISES:
        return mean >= -MAY_LOSE
    return mean > (half or 0)


def accuracies(cells: dict[str, dict[str, Measured]]) -> str:
    """Accuracy of the methods that were run everywhere, a row for each cell; the best is bold."""
    names = [name for name in METHODS if any(name in methods for methods in cells.values())]
    rows = [["", *(f"`{name.split(':')[0]}`" for name in names)], ["---"] + ["---:"] * len(names)]
    for cell, methods in cells.items():
        best = max(float(methods[name].last.mean()) for name in names if name in methods)
        rows.append([cell, *(_shown(methods.get(name), best) for name in names)])
    return markdown(rows).replace("`cross_entropy larger decay`", "`cross_entropy`, decay 0.002")


def _shown(own: Measured | None, best: float) -> str:
    if own is None:
        return ""
    mean = float(own.last.mean())
    spread = f" ± {own.last.std(ddof=1):.1f}" if len(own.last) > 1 else ""
    return f"**{mean:.1f}{spread}**" if mean == best else f"{mean:.1f}{spread}"


def verdicts(cells: dict[str, dict[str, Measured]], chosen_on: Collection[str]) -> str:
    """How far the recipe is from cross-entropy and from the best other method, a row for each cell."""
    heading = ["", "cross-entropy memorised", "less cross-entropy", "as promised", "best other", "less that"]
    rows = [
        [*heading, "within a point", "what it noticed"],
        ["---", *["---:"] * 3, "---", "---:", "---", "---"],
    ]
    for cell, methods in cells.items():
        found = compare(methods)
        chosen = " (chosen on)" if cell in chosen_on else ""
        best = found.best_other.replace(" larger decay", ", decay 0.002")
        rows.append(
            [
                f"{cell}{chosen}",
                f"{found.memorised:.1f}",
                _difference(found.to_baseline),
                "yes" if holds(cell, found) else "**no**",
                f"`{best}`",
                _difference(found.to_best),
                "yes" if found.to_best[0] >= -WITHIN else "**no**",
                methods[RECIPE].noticed or "",
            ]
        )
    return markdown(rows)


def _difference(difference: tuple[float, float | None]) -> str:
    mean, half = difference
    return f"{mean:+.1f}" if half is None else f"{mean:+.1f} ± {half:.1f}"


def pooled(cells: dict[str, dict[str, Measured]]) -> str:
    """The mean difference to cross-entropy over the cells of one seed, as a sentence; empty without them."""
    single = [own for own in cells.values() if len(own[RECIPE].last) == 1]
    if len(single) < 3:
        return ""
    of_recipe, of_baseline = (np.array([own[name].last[0] for own in single]) for name in (RECIPE, BASELINE))
    mean, half = metrics.paired_difference(of_recipe, of_baseline)
    return f"Over the {len(single)} rows of one seed, the mean difference is {mean:+.1f} ± {half:.1f} points."


def page() -> str:
    """experiments/results/recipe/README.md, of the parts and cells that are finished."""
    parts = []
    for part in PARTS:
        cells, chosen_on = by_cell(run_folder.read_lines(RESULTS / f"{part}.jsonl")), CHOSEN_ON.get(part, ())
        if part == "digits":
            cells = {digits.noise_name(cell): own for cell, own in cells.items()}
            chosen_on = tuple(map(digits.noise_name, chosen_on))
        if cells:
            tables = accuracies(cells), verdicts(cells, chosen_on), pooled(cells)
            parts.append((part, HEADINGS[part], *tables))
    return templates.render("recipe.md.jinja", parts=parts)
