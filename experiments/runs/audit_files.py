"""The files of an audit in a run folder: labels.csv, audit.npz and audit.json."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data.dataset import Dataset
from experiments.runs import run_folder
from experiments.safety import csv_files
from experiments.terminal import Progress

# A label is judged wrong from this probability on.
CUT = 0.5


class Verdict(NamedTuple):
    """A `nox.audit.Verdict` on the host."""

    probability_wrong: NDArray[np.floating]
    score: NDArray[np.floating]
    suggested: NDArray[np.int32]
    share: NDArray[np.floating]
    learnt: NDArray[np.bool_]


def is_wrong(verdict: Verdict) -> NDArray[np.bool_]:
    """Which labels are judged wrong."""
    return verdict.probability_wrong > CUT


def write(
    run_dir: Path,
    order: NDArray[np.integer],
    given: NDArray[np.integer],
    verdict: Verdict,
    probabilities: NDArray[np.floating],
    dataset: Dataset,
    result: dict[str, Any],
    progress: Progress,
) -> None:
    """The three files, each whole or not at all."""

    def csv_file(path):
        csv_files.write(path, rows(order, given, verdict, dataset))

    def npz_file(path):
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                given_labels=given.astype(np.int32),
                probabilities=probabilities.astype(np.float32),
                probability_wrong=verdict.probability_wrong.astype(np.float32),
            )

    for name, make in (("labels.csv", csv_file), ("audit.npz", npz_file)):
        with run_folder.whole(run_dir / name) as unfinished:
            make(unfinished)
            if name == "labels.csv":
                keep_other(run_dir / name, unfinished, progress)
    # Last: with it the audit is finished.
    run_folder.write_json(run_dir / "audit.json", result)


def keep_other(path: Path, new: Path, progress: Progress) -> None:
    """Keeps a file that says something else than the new one, under a name with a number."""
    if not path.exists() or path.read_bytes() == new.read_bytes():
        return
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    path.rename(kept)
    progress.say(f"the earlier {path.name} is kept as {kept}")


def rows(
    order: NDArray[np.integer], given: NDArray[np.integer], verdict: Verdict, dataset: Dataset
) -> Iterator[list[object]]:
    """The lines of labels.csv."""
    known_as, names = dataset.train_names, dataset.class_names
    yield [
        *("rank", "index", "given_label", "suggested_label", "probability_wrong", "judged_wrong"),
        *[dataset.named_by] * bool(known_as),
        *["given_class", "suggested_class"] * bool(names),
    ]
    wrong = is_wrong(verdict)
    for rank, index in enumerate(order, 1):
        labels = int(given[index]), int(verdict.suggested[index])
        yield [
            *(rank, int(index), *labels, f"{verdict.probability_wrong[index]:.6f}"),
            "true" if wrong[index] else "false",
            *([known_as[index]] if known_as else []),
            *([names[label] for label in labels] if names else []),
        ]
