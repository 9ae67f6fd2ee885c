"""Every method under every kind of noise: one run each, one table, one heat map."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments import config
from experiments.commands import compare
from experiments.config import Experiment
from experiments.pages import plots
from experiments.runs import run_folder
from experiments.terminal import QUIET, Progress, UserError
from experiments.training import metrics
from experiments.training.loop import train
from experiments.training.metrics import percent

MOST_METHODS = 15


def measure(command: config.Matrix, console: Console) -> dict[str, Any]:
    """Trains each method in each cell, in a folder of its own, and writes matrix.json and matrix.png."""
    check(command)
    run_dir, progress = command.run_dir, Progress(console)
    cells = {name: of_cell(command.experiment, name) for name in cells_of(command)}
    run_folder.claim(run_dir, config.shared_record(command.experiment))

    results = {}
    for cell, experiment in cells.items():
        summaries = {}
        for method in command.methods:
            folder = run_dir / cell / config.folder_name(method)
            folder.parent.mkdir(exist_ok=True)
            summaries[method] = train(method, experiment, folder, QUIET)
            progress.say(f"{cell}  {method}  {percent(summaries[method]['last_10_mean'])}")
        results[cell] = compare.collect(summaries)

    measured = {"cells": results, "provenance": run_folder.provenance()}
    console.print(table(measured))
    plots.matrix(accuracies(measured), run_dir / "matrix.png")
    run_folder.write_json(run_dir / "matrix.json", measured)
    progress.say(f"results {run_dir / 'matrix.json'}")
    progress.say(f"picture {run_dir / 'matrix.png'}")
    return measured


def check(command: config.Matrix) -> None:
    """Raises UserError for what would otherwise come up after some methods have been trained."""
    if len(command.methods) > MOST_METHODS:
        raise UserError(f"--methods takes at most {MOST_METHODS}, got {len(command.methods)}")
    data = command.experiment.data
    if data.noise != "none" or data.noise_rate is not None:
        raise UserError("matrix has the noise in --cells; leave out --noise and --noise-rate")
    for cell in cells_of(command):
        compare.check(command.methods, of_cell(command.experiment, cell))


def cells_of(command: config.Matrix) -> tuple[str, ...]:
    """The columns: the kinds of noise, or the labels of a file."""
    return command.cells if command.experiment.data.labels_file is None else ("labels-file",)


def of_cell(experiment: Experiment, cell: str) -> Experiment:
    """The experiment with the noise that a cell's name spells, `none`, `labels-file` or `KIND-RATE`."""
    if cell in ("none", "labels-file"):
        return experiment
    kind, _, rate = cell.rpartition("-")
    try:
        data = dataclasses.replace(
            experiment.data,
            noise=kind,  # type: ignore[arg-type]  # checked below
            noise_rate=float(rate),
        )
    except ValueError:
        raise UserError(f"--cells has {cell}; expected none or KIND-RATE, e.g. symmetric-0.4") from None
    if kind not in config.NOISE_KINDS:
        raise UserError(f"--cells has {cell}; the kinds are {', '.join(config.NOISE_KINDS)}")
    return dataclasses.replace(experiment, data=data)


def accuracies(measured: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """Last-10 mean accuracy in percent, `[seeds]`, by cell and method."""
    return {
        cell: {
            method: 100 * np.asarray(own["last_10_mean"]["per_seed"])
            for method, own in result["methods"].items()
        }
        for cell, result in measured["cells"].items()
    }


def table(measured: dict[str, Any]) -> Table:
    """The matrix for a person to read, in percent."""
    shown = accuracies(measured)
    title = "accuracy in %, mean of the last 10 epochs, mean over seeds"
    # Narrow: seven columns of numbers leave just room for names on a terminal of 80 columns.
    printed = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    printed.add_column("method", overflow="fold")
    for cell in shown:
        kind, _, rate = cell.partition("-")
        heading = kind if len(kind) <= 5 else f"{kind[:4]}."
        printed.add_column(f"{heading}\n{rate}", justify="right", no_wrap=True)
    for method in next(iter(shown.values())):
        printed.add_row(method, *(f"{np.mean(of_cell[method]):.2f}" for of_cell in shown.values()))
    return printed


class Regret(NamedTuple):
    """How a fixed method compares with the best single method of a cell, both scored on the same seeds.

    Attributes:
      best: the method that was best on the choosing seeds.
      of_best: its accuracy on the scoring seeds, in percent.
      of_fixed: that of the fixed method.
      difference: `of_fixed - of_best` and half of its 95 % interval, paired by seed.
    """

    best: str
    of_best: float
    of_fixed: float
    difference: tuple[float, float]


FIXED = "recommended"
# Of the ten seeds the first choose the best method of a cell, the others score it.
CHOOSING = 3


def regrets(measured: dict[str, Any], *, one_gradient: bool) -> dict[str, Regret]:
    """How `recommended` does in each cell, beside all other methods or those that cost no second gradient."""

    def rivals(of_cell):
        return {name: own for name, own in of_cell.items() if not (one_gradient and "+" in name)}

    return {cell: regret(rivals(of_cell), FIXED, CHOOSING) for cell, of_cell in accuracies(measured).items()}


def regret(of_cell: dict[str, np.ndarray], fixed: str, choosing: int) -> Regret:
    """Compares `fixed` with the best other method, chosen on the first `choosing` seeds, on the others.

    >>> import numpy as np
    >>> of_cell = {"a": np.array([90.0, 80.0, 82.0]), "b": np.array([80.0, 85.0, 89.0])}
    >>> regret(of_cell | {"mine": np.array([0.0, 81.0, 81.0])}, "mine", choosing=1).best
    'a'
    """
    others = {name: values for name, values in of_cell.items() if name != fixed}
    best = max(others, key=lambda name: float(np.mean(others[name][:choosing])))
    scored, own = others[best][choosing:], of_cell[fixed][choosing:]
    return Regret(best, float(scored.mean()), float(own.mean()), metrics.paired_difference(own, scored))
