"""What the recommended loss is measured on, beside which methods: the cells of each part of the benchmark."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.commands.compare import under_noise
from experiments.config import Augmentation, Data, Experiment, Model, Optimization
from experiments.studies import data_sets, digits
from experiments.studies.data_sets import Examples, Sources

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
LONG_METHODS = ("cross_entropy", "elr", "dal", RECIPE)
MANY_PICTURES_METHODS = ("cross_entropy", OGC, "dal", "cross_entropy+saner:scale_epochs=10", "elr", RECIPE)

LABEL_SETS = (
    "clean", "cifar10n_aggregate", "cifar10n_random1", "cifar10n_random2", "cifar10n_random3",
    "cifar10n_worst",
    "symmetric_20", "symmetric_40", "symmetric_60", "symmetric_80", "asymmetric_20", "asymmetric_40",
    "instance_20", "instance_40",
)  # fmt: skip
# Methods that are measured on the most telling label sets only.
MORE_METHODS = (
    "phuber_cross_entropy:tau=2",
    f"{OGC}{digits.ON_GCE}",
    "mae_logit_bias",
    "nce_nnce",
    "cross_entropy+sam",
    "cross_entropy+saner:scale_epochs=10",
    "dal+saner:scale_epochs=10",
)
TELLING = ("clean", "cifar10n_aggregate", "cifar10n_worst", "symmetric_40", "asymmetric_40", "instance_40")
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
        methods = METHODS + MORE_METHODS if name in TELLING else METHODS
        yield Cell(name, experiment, methods, ((0, 1), (1, 1), (2, 1)))


def on_features(data: Data, epochs: int) -> Experiment:
    """How a network is trained on features of pictures, here and for the audit."""
    optimization = Optimization(epochs=epochs, batch_size=128, learning_rate=0.05)
    return Experiment(data, Model(width=512), optimization=optimization)


def pictures_cells(sources: Sources, work: Path) -> Iterator[Cell]:
    """A small convolutional network: 5,000 pictures, short and until it memorises; 10,000 unchanged ones."""
    examples, label_sets = data_sets.pictures(sources)
    optimization = Optimization(batch_size=128, learning_rate=0.05)

    def cell(name, pictures, labels, augment, epochs, methods, seeds):
        first = Examples(examples.train_x[:pictures], examples.train_y[:pictures], *examples[2:])
        data = Data(
            dataset=data_sets.write(work, f"pictures-{pictures}", first),
            labels_file=data_sets.write_labels(work, f"{labels}-{pictures}", label_sets[labels][:pictures]),
            scaling="standardize",
        )
        experiment = Experiment(
            data,
            Model(model="cnn", width=128),
            Augmentation(augment=augment),
            dataclasses.replace(optimization, epochs=epochs),
        )
        return Cell(name, experiment, methods, tuple((seed, 1) for seed in seeds))

    small, random_changes = (5000, "cifar10n_worst"), ("crop", "flip")
    yield cell("short", *small, random_changes, 15, METHODS, (1, 2, 3))
    yield cell("long", *small, random_changes, 60, LONG_METHODS, (1, 2, 3))
    for labels in ("cifar10n_worst", "symmetric_40"):
        yield cell(f"10,000, {labels}", 10_000, labels, (), 40, MANY_PICTURES_METHODS, (1, 2, 3))


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

# Parts whose runs differ in their labels and seeds only, or nearly so.
SIDE_BY_SIDE = ("features", "pictures")
