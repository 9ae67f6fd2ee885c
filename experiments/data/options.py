"""Which examples to train on, and what is done to their labels."""

import dataclasses
from typing import Literal, get_args

from experiments.terminal import UserError, check_range

Noise = Literal[
    "none", "symmetric", "uniform", "pair", "asymmetric", "superclass", "next_of_five", "instance"
]

NOISE_KINDS: tuple[str, ...] = get_args(Noise)[1:]


@dataclasses.dataclass(frozen=True)
class Data:
    """The examples, and what is done to their training labels."""

    dataset: str = "digits"
    """`digits`; `npz:FILE` with arrays train_images, train_labels and optionally test_images, test_labels,
    train_clean_labels; `folder:DIR` with a sub-folder of PNG, JPEG or WebP files for each class, or with
    such DIR/train and DIR/test; `tfds:NAME`, or just cifar10, cifar100, mnist or fashion_mnist, from
    TensorFlow Datasets (`prepare` it once)."""
    data_dir: str | None = None
    """Where TensorFlow Datasets are; by default what TFDS_DATA_DIR says."""
    image_size: int | None = None
    """Scale the images of folder: or tfds: to this height and width; needed if their sizes differ."""
    noise: Noise = "none"
    """What to change labels to: another class (symmetric), any class, the true one too (uniform), the next
    class (pair), by CIFAR-10's class map (asymmetric, five classes change), the next of CIFAR-100's
    superclass (superclass), the next of 0 to 4, 5 to 9 and so on (next_of_five), or a class that depends on
    what the example looks like (instance)."""
    noise_rate: float | None = None
    """Fraction of training labels to change, 0 to 1; for asymmetric noise, of the classes that change."""
    labels_file: str | None = None
    """In place of --noise, train on labels from FILE.npy or FILE.npz:KEY (no KEY if only one array fits),
    and measure their rate of error against the data set's own. An array `clean` or `clean_label` in the file
    must equal those."""
    stream: bool = False
    """Leave the images on disk, for data larger than the memory; one seed only. Those of an npz file are
    copied to ~/.cache/noisy_optax once."""
    validation_fraction: float = 0.0
    """Fraction of the training examples to hold out, with labels as given."""
    scaling: Literal["auto", "none", "standardize"] = "auto"
    """`auto`: bytes to 0..1, vectors to mean 0, norm 1; `standardize`: mean 0, deviation 1; `none`: bytes."""


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
    check_range("--noise-rate", data.noise_rate or 0, 0, 1)
    if data.image_size is not None:
        check_range("--image-size", data.image_size, 1)
    check_range("--validation-fraction", data.validation_fraction, 0, 1)
