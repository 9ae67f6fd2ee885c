"""The recipe that needs no choice, beside fixed methods, on data of several kinds.

Each finished run is a line of a committed file, experiments/results/recipe/PART.jsonl, and is not run
again, so that the hours can be spread. Some cells were used to choose the recipe: they are marked and do not
count for the verdict.
"""

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.runs import run_folder
from experiments.studies.data_sets import Sources
from experiments.studies.recipe import groups, rows
from experiments.studies.recipe.cells import PARTS, SIDE_BY_SIDE, Cell
from experiments.terminal import Progress
from experiments.training.loop import train

RESULTS = Path(__file__).parents[2] / "results" / "recipe"


def measure(parts: tuple[str, ...], sources: Sources, progress: Progress) -> None:
    """Trains what is not finished yet, part by part, and adds a line to the part's file for each run."""
    for part in parts:
        with tempfile.TemporaryDirectory() as work:
            cells, path = PARTS[part](sources, Path(work)), RESULTS / f"{part}.jsonl"
            if part in SIDE_BY_SIDE:
                groups.measure(cells, path, progress)
            else:
                run_folder.add_missing(path, _jobs(cells, Path(work), progress), rows.key_of)


def _jobs(cells: Iterator[Cell], work: Path, progress: Progress) -> Iterator[tuple[Any, Any]]:
    """The key and the training of each run of a part."""
    for cell in cells:
        for (first, number), method in itertools.product(cell.seeds, cell.methods):
            key = cell.name, method, first
            yield key, functools.partial(run, cell, method, first, number, work, progress)


def run(cell: Cell, method: str, first: int, number: int, work: Path, progress: Progress) -> dict[str, Any]:
    """Trains one method in a cell; the line of its results."""
    progress.say(f"{cell.name}, {method}, seeds {first} to {first + number - 1}")
    spec, experiment = rows.of_method(cell, method)
    experiment = dataclasses.replace(experiment, seeds=number, first_seed=first)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        run_dir = Path(folder) / "run"
        summary = train(spec, experiment, run_dir, progress)
        epochs = run_folder.read_metrics(run_dir, summary["epochs"])
    noise = summary["realised_noise"]
    return {
        **rows.line(cell, method, experiment, np.array([row["test_accuracy"] for row in epochs]).T),
        **{
            name: [round(float(np.mean(row[name])), 4) for row in epochs]
            for name in rows.KEPT
            if name in epochs[0]
        },
        "noticed": summary["noticed"],
        "wrong": None if noise is None else noise["rate"],
        "seconds": round(summary["seconds"], 1),
    }
