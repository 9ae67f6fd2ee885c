"""The page of what was measured at real size: features of 50,000 pictures, pictures, and a GPU."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.pages import plots
from experiments.runs import run_folder
from experiments.studies import digits, templates
from experiments.studies.gpu import page as gpu_page
from experiments.studies.gpu import results as gpu_results
from experiments.studies.recipe import rows
from experiments.studies.recipe.benchmark import RESULTS
from experiments.studies.recipe.cells import OGC, TELLING
from experiments.studies.templates import markdown
from experiments.training import metrics

PAGE = RESULTS.parent / "real_size" / "README.md"
PICTURE = Path(__file__).parents[3] / "docs" / "results" / "real_size.png"

ON_GCE = f"{OGC}{digits.ON_GCE}"
SAM, SANER = "cross_entropy+sam", "cross_entropy+saner:scale_epochs=10"
# What the tables call methods and label sets.
NAMES = {
    "cross_entropy larger decay": "`cross_entropy`, weight decay 0.002",
    OGC: "`ogc`",
    ON_GCE: "`ogc` on `generalized_cross_entropy`",
    "phuber_cross_entropy:tau=2": "`phuber_cross_entropy`",
    SANER: "`cross_entropy+saner`",
    "dal+saner:scale_epochs=10": "`dal+saner`",
}
LABELS = {
    "clean": "clean",
    "cifar10n_aggregate": "people, 9 %",
    "cifar10n_worst": "people, 40 %",
    "symmetric_40": "symmetric 40 %",
    "asymmetric_40": "asymmetric 40 %",
    "instance_40": "instance 40 %",
    "short": "5,000 pictures, 15 epochs",
    "long": "5,000 pictures, 60 epochs",
    "10,000, cifar10n_worst": "10,000 pictures, people",
    "10,000, symmetric_40": "10,000 pictures, symmetric 40 %",
}
# The first is claimed to be better than the second.
CLAIMS = {
    "OGC over a fixed threshold (PHuber)": (OGC, "phuber_cross_entropy:tau=2"),
    "OGC over its base, cross-entropy": (OGC, "cross_entropy"),
    "OGC over its base, generalized cross-entropy": (ON_GCE, "generalized_cross_entropy"),
    "SAM over SGD": (SAM, "cross_entropy"),
    "SANER over SAM": (SANER, SAM),
    "DAL over generalized cross-entropy": ("dal", "generalized_cross_entropy"),
}


class Runs(NamedTuple):
    """The runs of a method on a label set, in the order of their seeds, in percent.

    Attributes:
      last: accuracy of the last epochs.
      best: accuracy of the best epoch, which an oracle would choose.
      memorised: share of the wrong labels that are predicted at the end, mean over the seeds.
    """

    last: NDArray[np.float64]
    best: NDArray[np.float64]
    memorised: float


# By label set and method.
Cells = dict[str, dict[str, Runs]]


def read(part: str) -> Cells:
    """The finished runs of a part of the benchmark."""
    found = rows.by_cell(run_folder.read_lines(RESULTS / f"{part}.jsonl"))
    return {cell: {method: _runs(own) for method, own in methods.items()} for cell, methods in found.items()}


def _runs(own: list[dict[str, Any]]) -> Runs:
    last, best = (rows.accuracies(own, name) for name in ("last", "best"))
    return Runs(last, best, 100 * float(np.mean([row["memorised"][-1] for row in own])))


def methods_everywhere(cells: Cells) -> list[str]:
    """The methods that were run with the same seeds on all label sets."""
    seeds = max(len(own.last) for methods in cells.values() for own in methods.values())
    return [
        method
        for method in next(iter(cells.values()))
        if all(method in methods and len(methods[method].last) == seeds for methods in cells.values())
    ]


def accuracy_table(cells: Cells) -> str:
    """Accuracy of each method in the last epochs; in brackets the share of wrong labels it memorised."""
    lines = [["method", *(LABELS.get(cell, cell) for cell in cells)], ["---"] + ["---:"] * len(cells)]
    methods = methods_everywhere(cells)
    best = {cell: max(float(own[method].last.mean()) for method in methods) for cell, own in cells.items()}
    for method in methods:
        row = [NAMES.get(method, f"`{method}`")]
        for cell, own in cells.items():
            runs = own[method]
            text = f"{runs.last.mean():.1f} ± {runs.last.std(ddof=1):.1f}"
            text = f"**{text}**" if runs.last.mean() == best[cell] else text
            row.append(text if cell == "clean" else f"{text} ({runs.memorised:.0f})")
        lines.append(row)
    return markdown(lines)


def regret_table(cells: Cells) -> str:
    """How far each method is behind the best of each label set, the smallest largest distance first."""
    lines = [
        ["method", *(LABELS.get(cell, cell) for cell in cells), "mean", "largest"],
        ["---"] + ["---:"] * (len(cells) + 2),
    ]
    methods = methods_everywhere(cells)
    means = np.array([[own[method].last.mean() for own in cells.values()] for method in methods])
    regrets = means.max(axis=0) - means
    for i in np.argsort(regrets.max(axis=1), kind="stable"):
        values = [*regrets[i], regrets[i].mean(), regrets[i].max()]
        lines.append([NAMES.get(methods[i], f"`{methods[i]}`"), *(f"{value:.1f}" for value in values)])
    return markdown(lines)


def claims_table(cells: Cells) -> str:
    """The differences that the papers claim, paired by seed, and whether they held."""
    lines = [["claim", *(LABELS[cell] for cell in cells)], ["---"] + ["---"] * len(cells)]
    for claim, (first, second) in CLAIMS.items():
        differences = [_verdict(own[first].last, own[second].last) for own in cells.values()]
        lines.append([claim, *differences])
    return markdown(lines)


def _verdict(first: NDArray[np.float64], second: NDArray[np.float64]) -> str:
    mean, half = metrics.paired_difference(first, second)
    verdict = "undecided" if abs(mean) <= half else "held" if mean > 0 else "failed"
    return f"{mean:+.1f} ± {half:.1f}, {verdict}"


def draw(path: Path) -> None:
    """The accuracies as a heat map."""
    cells = telling()
    methods = methods_everywhere(cells)
    plots.matrix(
        {
            LABELS[cell].replace(" ", "\n", 1): {
                NAMES.get(method, method).replace("`", "").replace(", ", ",\n"): own[method].last
                for method in methods
            }
            for cell, own in cells.items()
        },
        path,
        title="test accuracy in %, mean over three seeds of the last epochs",
    )


def telling() -> Cells:
    """The runs on features, on the label sets that all methods were run on."""
    cells = read("features")
    return {cell: cells[cell] for cell in TELLING}


def page() -> str:
    """experiments/results/real_size/README.md."""
    pictures, on_gpu = read("pictures"), gpu_results.read(gpu_page.RESULTS)
    runs = [result for result in on_gpu if result["kind"] == "run" and result["epochs"] > 10]
    return templates.render(
        "real_size.md.jinja",
        features=accuracy_table(telling()),
        regrets=regret_table(telling()),
        claims=claims_table(telling()),
        pictures={cell: accuracy_table({cell: own}) for cell, own in pictures.items()},
        gpu=gpu_page.matrix_table(runs),
        speed=gpu_page.speed_table([result for result in on_gpu if result["kind"] == "speed"]),
    )
