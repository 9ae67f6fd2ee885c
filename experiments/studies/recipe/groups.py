"""Runs of the benchmark that differ in their labels and seeds only, measured side by side."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.config import Experiment
from experiments.runs import run_folder
from experiments.studies.gpu.programs import Programs
from experiments.studies.recipe import rows
from experiments.studies.recipe.cells import Cell
from experiments.studies.whole_runs import side_by_side
from experiments.studies.whole_runs.side_by_side import Measured
from experiments.studies.whole_runs.whole_run import Pictures
from experiments.terminal import QUIET, Progress
from experiments.training import training_data


class Group(NamedTuple):
    """A method, and the cells and seeds in which the same compiled program trains it."""

    method: str
    experiment: Experiment
    runs: list[tuple[Cell, int]]


def measure(cells: Iterable[Cell], path: Path, progress: Progress) -> None:
    """Trains what the file lacks and adds a line for each run; programs are compiled in threads meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    finished, programs = set(map(rows.key_of, run_folder.read_lines(path))), Programs()
    groups, load = list(grouped(cells, finished)), functools.lru_cache(maxsize=None)(load_pictures)
    for number, group in enumerate(groups):
        arguments = rows.of_method(group.runs[0][0], group.method)[0], group.experiment
        at_once = side_by_side.runs_at_once(group.experiment, len(group.runs))
        pictures, classes = load(group.runs[0][0].experiment)
        compile = functools.partial(side_by_side.compile_program, *arguments, pictures, classes, at_once)
        programs.begin(number, compile)
    for number, group in enumerate(groups):
        program = programs.get(number)
        at_once = program.experiment.seeds
        for first in range(0, len(group.runs), at_once):
            taken = group.runs[first : first + at_once]
            progress.say(f"{group.method}: {', '.join(f'{cell.name} seed {seed}' for cell, seed in taken)}")
            loaded = [load(cell.experiment)[0] for cell, _ in taken]
            pictures = loaded[0]._replace(given=np.concatenate([own.given for own in loaded]))
            measured = side_by_side.train(program, pictures, [seed for _, seed in taken])
            for (cell, seed), own, found in zip(taken, loaded, measured, strict=True):
                run_folder.append_line(path, line(cell, group.method, seed, own, found))


def grouped(cells: Iterable[Cell], finished: set[tuple[str, str, int]]) -> Iterator[Group]:
    """What is not finished, method by method; the cells of a group differ in their labels only."""
    found: dict[tuple[str, Experiment], list[tuple[Cell, int]]] = {}
    for cell in cells:
        for method in cell.methods:
            _, experiment = rows.of_method(cell, method)
            alike = dataclasses.replace(
                experiment, data=dataclasses.replace(experiment.data, labels_file=None)
            )
            runs = found.setdefault((method, alike), [])
            runs += [(cell, seed) for seed, _ in cell.seeds if (cell.name, method, seed) not in finished]
    return (Group(*key, runs) for key, runs in found.items() if runs)


def load_pictures(experiment: Experiment) -> tuple[Pictures, int]:
    """The data set with its given labels, and the number of classes."""
    dataset, _, split = training_data.load(experiment, QUIET)
    of_training = split.train_images, split.train_given, split.train_clean
    arrays: tuple[Any, ...] = (*of_training, dataset.test_images, dataset.test_labels)
    return Pictures(*arrays), dataset.num_classes


def line(cell: Cell, method: str, seed: int, pictures: Pictures, found: Measured) -> dict[str, Any]:
    """The line of a run's results."""
    _, experiment = rows.of_method(cell, method)
    experiment = dataclasses.replace(experiment, seeds=1, first_seed=seed)
    return {
        **rows.line(cell, method, experiment, found.test_accuracy[None]),
        "memorised": np.round(found.memorised.astype(float), 4).tolist(),
        "noticed": found.noticed,
        "wrong": np.mean(pictures.given != pictures.clean, axis=1).tolist(),
        "seconds": round(found.seconds, 1),
    }
