"""Which examples to train on, and what is done to their labels."""

import dataclasses
from typing import Literal, get_args

from experiments.data.tables import read as tables
from experiments.terminal import UserError, check_range

Noise = Literal[
    "none", "symmetric", "uniform", "pair", "asymmetric", "superclass", "next_of_five", "instance"
]

NOISE_KINDS: tuple[str, ...] = get_args(Noise)[1:]


@dataclasses.dataclass(frozen=True)
class Data:
    """The examples, and what is done to their training labels."""

    dataset: str = "digits"
    """A table `csv:FILE` with --label; pictures `folder:DIR`, a sub-folder for each class; vectors or
    pictures `npy:FILE` with --labels-file; arrays `npz:FILE`; `digits`; `tfds:NAME`, cifar10, cifar100,
    mnist or fashion_mnist (`prepare` them)."""
    label: str | None = None
    """Column of a table that holds the labels."""
    id: str | None = None
    """Column of a table that names the examples; by default one called id."""
    num_classes: int | None = None
    """Number of classes of npz: or npy:; by default what its labels show."""
    data_dir: str | None = None
    """Where TensorFlow Datasets are; by default what TFDS_DATA_DIR says."""
    image_size: int | None = None
    """Scale the images of folder: or tfds: to this height and width."""
    noise: Noise = "none"
    """What to change labels to: another class (symmetric), any class, the true one too (uniform), the next
    class (pair), by CIFAR-10's class map (asymmetric, five classes change), the next of CIFAR-100's
    superclass (superclass), the next of 0 to 4, 5 to 9 and so on (next_of_five), or a class that depends on
    what the example looks like (instance)."""
    noise_rate: float | None = None
    """Fraction of training labels to change, 0 to 1; for asymmetric noise, of the classes that change."""
    labels_file: str | None = None
    """In place of --noise, train on labels from FILE.npy, FILE.npz:KEY or FILE.csv, and measure their
    errors against the data set's own, which an array `clean` in the file must equal."""
    corrections: str | None = None
    """Corrected labels: an audit's labels.csv, a reviewed.csv, or as --labels-file."""
    stream: bool = False
    """Leave the images on disk, for data larger than memory; one seed only."""
    validation_fraction: float = 0.0
    """Fraction of the training examples to hold out."""
    scaling: Literal["auto", "center", "standardize", "none"] = "auto"
    """`auto`: pictures to 0..1, vectors to mean 0, norm 1; `center`: the same, with one scale for all
    columns; `standardize`: mean 0, deviation 1 each; `none`: only bytes to 0..1."""


def check(data: Data) -> None:
    """Raises UserError for values that no single flag's type can rule out."""
    if data.noise == "none" and data.noise_rate:
        raise UserError(
            f"--noise-rate {data.noise_rate} has no effect with --noise none; choose a noise model"
        )
    if data.noise != "none" and data.noise_rate is None:
        raise UserError(f"--noise {data.noise} needs --noise-rate, a fraction from 0 to 1")
    if data.noise != "none" and data.labels_file is not None:
        raise UserError(
            f"--noise {data.noise} and --labels-file {data.labels_file} both choose the labels; leave out one"
        )
    if data.corrections is not None and (data.noise != "none" or data.labels_file is not None):
        raise UserError(
            f"--corrections {data.corrections} chooses the labels; leave out --noise and --labels-file"
        )
    check_range("--noise-rate", data.noise_rate or 0, 0, 1)
    if data.image_size is not None:
        check_range("--image-size", data.image_size, 1)
    check_range("--validation-fraction", data.validation_fraction, 0, 1)
    kind = data.dataset.partition(":")[0]
    if data.num_classes is not None:
        check_range("--num-classes", data.num_classes, 2)
        if kind not in ("npz", "npy"):
            raise UserError(f"--num-classes is for npz: and npy: only, --dataset is {data.dataset}")
    if kind == "npy" and data.labels_file is None:
        raise UserError(f"{data.dataset} needs --labels-file FILE, a table, an npy file or FILE.npz:KEY")
    of_table = kind == "csv" or label_column_of_file(data)
    for flag, value in (("--label", data.label), ("--id", data.id)):
        # A name without its kind is told when it is loaded.
        if value is not None and not of_table and kind != data.dataset:
            raise UserError(
                f"{flag} {value} names a column; expected --dataset csv:FILE or a table as --labels-file"
            )


def label_column_of_file(data: Data) -> bool:
    """Whether --labels-file is a table."""
    return data.labels_file is not None and data.labels_file.endswith(tables.SUFFIXES)
