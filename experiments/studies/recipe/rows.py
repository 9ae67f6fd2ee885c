"""The lines of the benchmark's files, one for each finished run."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.config import Experiment, as_record
from experiments.runs import run_folder
from experiments.studies.recipe.cells import LARGER_DECAY, USUAL_DECAY, Cell
from experiments.training.training_data import seeds_of

# What is kept of each epoch besides the accuracy, as means over the seeds.
KEPT = ("memorised", "memorised_share")
FILES = ("dataset", "labels_file")


def by_cell(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The lines of each method in each cell, in the order of their seeds."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        found.setdefault(row["cell"], {}).setdefault(row["method"], []).append(row)
    for methods in found.values():
        for own in methods.values():
            own.sort(key=lambda row: row["seeds"][0])
    return found


def accuracies(rows: list[dict[str, Any]], name: str) -> NDArray[np.float64]:
    """`last` or `best` of all seeds of a method in a cell, in percent."""
    return 100 * np.concatenate([row[name] for row in rows])


def key_of(row: dict[str, Any]) -> tuple[str, str, int]:
    """What tells a run from the others of its part."""
    return row["cell"], row["method"], row["seeds"][0]


def of_method(cell: Cell, method: str) -> tuple[str, Experiment]:
    """How `--method` spells a method of `METHODS`, and the experiment with its weight decay."""
    spec, _, larger = method.partition(" ")
    optimization = dataclasses.replace(
        cell.experiment.optimization, weight_decay=LARGER_DECAY if larger else USUAL_DECAY
    )
    return spec, dataclasses.replace(cell.experiment, optimization=optimization)


def line(cell: Cell, method: str, experiment: Experiment, accuracies: NDArray) -> dict[str, Any]:
    """What every row says of runs with test accuracies `[seeds, epochs]`."""
    record = as_record(of_method(cell, method)[0], experiment)
    # Names of temporary files would only make equal runs look different.
    record["data"] |= {
        key: Path(value).name for key, value in record["data"].items() if key in FILES and value
    }
    provenance = run_folder.provenance()
    return {
        "cell": cell.name,
        "method": method,
        "seeds": list(seeds_of(experiment)),
        "last": last_epochs(accuracies),
        "best": np.max(accuracies, axis=1).tolist(),
        "curve": np.round(np.mean(accuracies, axis=0, dtype=np.float64), 4).tolist(),
        "commit": provenance["commit"],
        "device": provenance["device"],
        "config": record,
    }


def last_epochs(accuracies: NDArray) -> list[float]:
    """The mean accuracy of the last epochs, for each seed: ten of a hundred, five of forty, at least five."""
    last = max(5, accuracies.shape[1] // 10)
    return [float(np.mean(of_seed[-last:], dtype=np.float64)) for of_seed in accuracies]
