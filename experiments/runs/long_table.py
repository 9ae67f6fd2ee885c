"""The metrics of runs as one long table, which pandas reads in a line: results.csv."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import Data
from experiments.runs import run_folder
from experiments.safety import csv_files

COLUMNS = ("method", "noise", "rate", "seed", "epoch", "metric", "value")
Row = tuple[str, str, float | None, int, int, str, float]


def rows(method: str, data: Data, seeds: list[int], history: list[dict[str, Any]]) -> Iterator[Row]:
    """One row for each seed, epoch and metric.

    Args:
      method: as the command line names it.
      data: of the run; `labels-file` stands for the noise of labels from a file.
      seeds: in the order of the metrics.
      history: the metrics of each epoch, as metrics.jsonl has them.
    """
    noise = "labels-file" if data.labels_file is not None else data.noise
    for measured in history:
        for metric, of_seeds in by_seed(measured, len(seeds)):
            for seed, value in zip(seeds, of_seeds, strict=True):
                yield method, noise, data.noise_rate, seed, measured["epoch"], metric, float(value)


def write(path: Path, table: Iterator[Row]) -> None:
    """Writes the table, whole or not at all."""
    with run_folder.whole(path) as unfinished:
        csv_files.write(unfinished, itertools.chain([COLUMNS], table))


def by_seed(measured: dict[str, Any], num_seeds: int) -> Iterator[tuple[str, np.ndarray]]:
    """The metrics of an epoch, each `[seeds]`, under their names.

    What is the same for all seeds is repeated, and a list for each seed is numbered.
    """
    for name, values in measured.items():
        if name == "epoch":
            continue
        array = np.asarray(values, float)
        if array.ndim == 0:
            yield name, np.full(num_seeds, array)
        elif array.ndim == 1:
            yield name, array
        else:
            for i, column in enumerate(array.reshape(num_seeds, -1).T):
                yield f"{name}_{i}", column
