"""The recipe that needs no choice, beside fixed methods, on data of several kinds.

Each finished run is a line of a committed file, experiments/results/recipe/PART.jsonl, and is not run
again, so that the hours can be spread. Some cells were used to choose the recipe: they are marked and do not
count for the verdict.
"""

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.commands.compare import under_noise
from experiments.config import Augmentation, Data, Experiment, Model, Optimization, as_record
from experiments.runs import run_folder
from experiments.studies import data_sets, digits
from experiments.studies.data_sets import Examples, Sources
from experiments.terminal import Progress
from experiments.training.loop import train

RESULTS = Path(__file__).parents[2] / "results" / "recipe"

RECIPE = "recommended"
USUAL_DECAY, LARGER_DECAY = 5e-4, 2e-3
OGC = digits.SMALL_OGC
# The second is cross-entropy with the larger weight decay.
METHODS = (
    "cross_entropy",
    "cross_entropy larger decay",
    "generalized_cross_entropy",
    "dal",
    OGC,
    "elr",
    RECIPE,
)
# What is kept of each epoch, as means over the seeds.
CURVES = {"curve": "test_accuracy", "memorised_share": "memorised_share"}
LONG_METHODS = ("cross_entropy", "elr", "dal", RECIPE)

LABEL_SETS = (
    "clean", "cifar10n_aggregate", "cifar10n_random1", "cifar10n_random2", "cifar10n_random3",
    "cifar10n_worst",
    "symmetric_20", "symmetric_40", "symmetric_60", "symmetric_80", "asymmetric_20", "asymmetric_40",
    "instance_20", "instance_40",
)  # fmt: skip
THREE_SEEDS = ("clean", "cifar10n_worst", "cifar10n_aggregate", "asymmetric_40")
NORMS: tuple[Literal["batch", "group"], ...] = ("batch", "group")
LEARNING_RATES: dict[Literal["sgd", "adamw"], float] = {"sgd": 0.1, "adamw": 1e-3}
BATCH_SIZES, EPOCHS = (32, 512), (10, 200)
TABLE_CLASSES, TABLE_NOISES = (2, 5, 20), ("none", "symmetric-0.2", "symmetric-0.4")
# What was looked at while the recipe was chosen.
CHOSEN_ON = {
    "digits": ("none", "symmetric-0.4", "symmetric-0.6", "pair-0.3"),
    "features": ("clean", "cifar10n_worst", "symmetric_60"),
    "pictures": ("short", "long"),
    "text": ("clean", "rules"),
}


class Cell(NamedTuple):
    """One setting in which all methods are compared.

    Attributes:
      seeds: groups of consecutive seeds, `(first, number)`, each a run of its own.
    """

    name: str
    experiment: Experiment
    methods: tuple[str, ...]
    seeds: tuple[tuple[int, int], ...]


def measure(parts: tuple[str, ...], sources: Sources, progress: Progress) -> None:
    """Trains what is not finished yet, part by part, and adds a line to the part's file for each run."""
    for part in parts:
        with tempfile.TemporaryDirectory() as work:
            jobs = _jobs(part, sources, Path(work), progress)
            run_folder.add_missing(RESULTS / f"{part}.jsonl", jobs, key_of)


def _jobs(part: str, sources: Sources, work: Path, progress: Progress) -> Iterator[tuple[Any, Any]]:
    """The key and the training of each run of a part."""
    for cell in PARTS[part](sources, work):
        for (first, number), method in itertools.product(cell.seeds, cell.methods):
            key = cell.name, method, first
            yield key, functools.partial(run, cell, method, first, number, work, progress)


def key_of(row: dict[str, Any]) -> tuple[str, str, int]:
    """What tells a run from the others of its part."""
    return row["cell"], row["method"], row["seeds"][0]


def run(cell: Cell, method: str, first: int, number: int, work: Path, progress: Progress) -> dict[str, Any]:
    """Trains one method in a cell; the line of its results."""
    progress.say(f"{cell.name}, {method}, seeds {first} to {first + number - 1}")
    spec, _, larger = method.partition(" ")
    optimization = dataclasses.replace(
        cell.experiment.optimization, weight_decay=LARGER_DECAY if larger else USUAL_DECAY
    )
    experiment = dataclasses.replace(
        cell.experiment, optimization=optimization, seeds=number, first_seed=first
    )
    with tempfile.TemporaryDirectory(dir=work) as folder:
        run_dir = Path(folder) / "run"
        summary = train(spec, experiment, run_dir, progress)
        epochs = run_folder.read_metrics(run_dir, summary["epochs"])
    curve = [row["test_accuracy"] for row in epochs]
    noise, record = summary["realised_noise"], as_record(spec, experiment)
    # Names of temporary files would only make equal runs look different.
    record["data"] |= {
        key: Path(value).name for key, value in record["data"].items() if key in FILES and value
    }
    return {
        "cell": cell.name,
        "method": method,
        "seeds": summary["seeds"],
        "last": last_epochs(curve),
        "best": np.max(curve, axis=0).tolist(),
        **{
            name: [round(float(np.mean(row[metric])), 4) for row in epochs]
            for name, metric in CURVES.items()
            if metric in epochs[0]
        },
        "noticed": summary["noticed"],
        "wrong": None if noise is None else noise["rate"],
        "seconds": round(summary["seconds"], 1),
        "commit": summary["provenance"]["commit"],
        "config": record,
    }


FILES = ("dataset", "labels_file")


def last_epochs(curve: list[list[float]]) -> list[float]:
    """The mean accuracy of the last epochs, for each seed: ten of a hundred, five of forty, at least five."""
    last = max(5, len(curve) // 10)
    return np.mean(curve[-last:], axis=0).tolist()


def digits_cells(sources: Sources, work: Path) -> Iterator[Cell]:
    """Digits as in the matrix, on seeds that nothing was chosen on."""
    for methods in (METHODS, digits.METHODS):
        for noise in digits.NOISES:
            yield Cell(noise, under_noise(Experiment(), noise), methods, ((100, 10),))


def combinations_cells(sources: Sources, work: Path) -> Iterator[Cell]:
    """Digits with 40 % wrong labels, with other normalisations, optimizers, batches and numbers of epochs."""
    for norm, optimizer, batch_size, epochs in itertools.product(NORMS, LEARNING_RATES, BATCH_SIZES, EPOCHS):
        experiment = Experiment(
            model=Model(norm=norm),
            optimization=Optimization(
                epochs=epochs,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=LEARNING_RATES[optimizer],
            ),
        )
        name = f"{norm} norm, {optimizer}, batches of {batch_size}, {epochs} epochs"
        yield Cell(name, under_noise(experiment, "symmetric-0.4"), ("cross_entropy", RECIPE), ((100, 3),))


def features_cells(sources: Sources, work: Path) -> Iterator[Cell]:
    """A network on features of 50,000 pictures, with each label set."""
    examples, label_sets = data_sets.features(sources)
    written = data_sets.write(work, "features", examples)
    for name in LABEL_SETS:
        given = data_sets.write_labels(work, name, label_sets[name])
        experiment = on_features(Data(dataset=written, labels_file=given, scaling="none"), epochs=40)
        more = ((1, 1), (2, 1)) if name in THREE_SEEDS else ()
        yield Cell(name, experiment, METHODS, ((0, 1), *more))


def on_features(data: Data, epochs: int) -> Experiment:
    """How a network is trained on features of pictures, here and for the audit."""
    optimization = Optimization(epochs=epochs, batch_size=128, learning_rate=0.05)
    return Experiment(data, Model(width=512), optimization=optimization)


def pictures_cells(sources: Sources, work: Path) -> Iterator[Cell]:
    """A small convolutional network on 5,000 pictures with people's labels: short, and until it memorises."""
    examples, label_sets = data_sets.pictures(sources)
    written = data_sets.write(work, "pictures", examples)
    given = data_sets.write_labels(work, "cifar10n_worst", label_sets["cifar10n_worst"])
    for name, epochs, seeds in (("short", 15, ((1, 1), (2, 1), (3, 1))), ("long", 60, ((1, 1),))):
        experiment = Experiment(
            data=Data(dataset=written, labels_file=given, scaling="standardize"),
            model=Model(model="cnn", width=128),
            augmentation=Augmentation(augment=("crop", "flip")),
            optimization=Optimization(epochs=epochs, batch_size=128, learning_rate=0.05),
        )
        yield Cell(name, experiment, METHODS if name == "short" else LONG_METHODS, seeds)


def text_cells(sources: Sources, work: Path) -> Iterator[Cell]:
    """News titles in Yoruba that keyword rules labelled: frequencies of letters, in 256 components."""
    examples, by_rules = data_sets.text(sources)
    written = data_sets.write(work, "text", examples)
    given = data_sets.write_labels(work, "rules", by_rules)
    for name, file in (("clean", None), ("rules", given)):
        experiment = Experiment(data=Data(dataset=written, labels_file=file, scaling="none"))
        yield Cell(name, experiment, METHODS, ((0, 5),))


def tables_cells(sources: Sources, work: Path) -> Iterator[Cell]:
    """Tables made by scikit-learn, of 2,000 rows, with few and with many classes."""
    for classes in TABLE_CLASSES:
        written = data_sets.write(work, f"table-{classes}", data_sets.table(2000, classes, seed=0))
        for noise in TABLE_NOISES:
            experiment = under_noise(Experiment(data=Data(dataset=written, scaling="none")), noise)
            yield Cell(f"{classes} classes, {noise}", experiment, METHODS, ((0, 3),))


def hundred_cells(sources: Sources, work: Path) -> Iterator[Cell]:
    """A hundred Gaussian classes in 64 dimensions, 20 examples of each."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(100, 64))

    def drawn(of_each: int) -> tuple[NDArray, NDArray]:
        labels = rng.permutation(np.repeat(np.arange(100), of_each))
        return (centres[labels] + 1.5 * rng.normal(size=(len(labels), 64))) / 2, labels

    written = data_sets.write(work, "hundred", Examples(*drawn(20), *drawn(10)))
    for noise in ("none", "symmetric-0.2", "symmetric-0.4"):
        experiment = under_noise(Experiment(data=Data(dataset=written, scaling="none")), noise)
        yield Cell(noise, experiment, METHODS, ((0, 3),))


PARTS: dict[str, Callable[[Sources, Path], Iterator[Cell]]] = {
    "digits": digits_cells,
    "combinations": combinations_cells,
    "features": features_cells,
    "pictures": pictures_cells,
    "text": text_cells,
    "tables": tables_cells,
    "hundred": hundred_cells,
}
