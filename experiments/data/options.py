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
    """`digits` (scikit-learn's, embedded); `npz:FILE` with the arrays train_images, train_labels and
    optionally test_images, test_labels, train_clean_labels; `folder:DIR` with a sub-folder of PNG, JPEG or
    WebP files for each class, or DIR/train and DIR/test with them; `tfds:NAME`, or just cifar10, cifar100,
    mnist or fashion_mnist, from TensorFlow Datasets (`prepare` it once)."""
    data_dir: str | None = None
    """Where TensorFlow Datasets are; by default the variable TFDS_DATA_DIR, or its own default."""
    image_size: int | None = None
    """Scale the images of a folder or a TensorFlow data set to this height and width, whatever their shape;
    needed if sizes differ."""
    noise: Noise = "none"
    """What wrong labels to add: to another class (symmetric), to any class, the true one included
    (uniform), to the next class (pair), by CIFAR-10's class map (asymmetric; of ten classes five change), to
    the next class of CIFAR-100's superclass (superclass) or of the same five class numbers, 0 to 4, 5 to 9
    and so on (next_of_five), to a class that depends on what the example looks like (instance)."""
    noise_rate: float | None = None
    """Fraction of training labels to change, 0 to 1; needed unless the noise is `none`. Of asymmetric noise,
    the fraction within the classes that change."""
    labels_file: str | None = None
    """Train on labels from FILE.npy or FILE.npz:KEY, such as CIFAR-N's, whose rate of error is then measured
    against the data set's own; KEY may be left out where only one array fits. If the file has an array
    `clean` or `clean_label`, it must equal the data set's own labels. In place of --noise."""
    stream: bool = False
    """Leave the images on disk and read each batch when it is needed, for data larger than the memory; one
    seed only. The images of an npz file are copied to ~/.cache/noisy_optax once."""
    validation_fraction: float = 0.0
    """Fraction of the training examples held out, with the labels as given, for validation."""
    standardize: bool = False
    """Subtract the training mean and divide by the standard deviation, per channel (images) or feature."""


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
