"""The training labels of each seed, corrupted with a key of its own or from a file, and their error rate."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.config import Data
from experiments.data import label_file
from experiments.data.class_labels import Classes
from experiments.data.dataset import Dataset, Images, Stream
from experiments.terminal import UserError
from noisy_optax import noise

# The wrong label of each class, by the name of the noise.
CLASS_MAPS: dict[str, tuple[int, ...]] = {
    "asymmetric": noise.CIFAR10_MAP,
    "superclass": noise.CIFAR100_SUPERCLASS_MAP,
    # CIFAR-100's classes are numbered by the alphabet: five in a row are not a superclass, although the
    # published code of OGC and of active negative losses takes them for one.
    "next_of_five": tuple(y - y % 5 + (y + 1) % 5 for y in range(100)),
}


class GivenLabels(NamedTuple):
    """Labels to train on, for `seeds` runs.

    Attributes:
      given: int32, `[seeds, N]`.
      clean: int32, `[N]`, or None where the true labels are unknown.
      rate: realised share of wrong labels per seed, `[seeds]`, or None.
      matrix: realised transition matrix per seed, `[seeds, C, C]`, or None.
    """

    given: NDArray[np.int32]
    clean: NDArray[np.int32] | None
    rate: NDArray[np.float32] | None
    matrix: NDArray[np.float32] | None


def corrupt(data: Data, dataset: Dataset, keys: jax.Array) -> GivenLabels:
    """The training labels with the configured noise, once per key in `keys`, or from the labels file."""
    labels, clean, num_classes = dataset.train_labels, dataset.train_clean_labels, dataset.num_classes
    if data.labels_file is not None and not data.dataset.startswith("npy:"):
        clean = labels if clean is None else clean
        from_file = label_file.read(
            data.labels_file,
            clean,
            Classes(num_classes, dataset.class_names),
            column=data.label,
            numbered=dataset.numbered,
        )
        given = np.broadcast_to(from_file, (len(keys), len(clean)))
    elif data.corrections is not None:
        corrected = label_file.read_corrections(
            data.corrections, labels, Classes(num_classes, dataset.class_names), column=data.label
        )
        given = np.broadcast_to(corrected, (len(keys), len(labels)))
    elif data.noise == "none" or data.noise_rate is None:
        given = np.broadcast_to(labels, (len(keys), len(labels)))
    else:
        if clean is not None and not np.array_equal(labels, clean):
            raise UserError(
                f"{data.dataset} has wrong labels of its own (train_labels differ from train_clean_labels); "
                f"use --noise none"
            )
        model = _noise_model(data, dataset)
        clean = labels
        given = np.stack([model(key, labels, data.noise_rate).labels for key in keys])
    if clean is None:
        return GivenLabels(given, None, None, None)
    records = [noise.realised(clean, one_seed, num_classes) for one_seed in given]
    return GivenLabels(
        given,
        clean,
        rate=np.stack([record.rate for record in records]),
        matrix=np.stack([record.matrix for record in records]),
    )


def _noise_model(data: Data, dataset: Dataset) -> Callable[..., noise.NoisyLabels]:
    """The configured noise as a function of key, labels and rate."""
    num_classes = dataset.num_classes
    if data.noise in CLASS_MAPS:
        class_map = CLASS_MAPS[data.noise]
        if num_classes != len(class_map):
            fitting = [name for name, other in CLASS_MAPS.items() if num_classes == len(other)]
            raise UserError(
                f"--noise {data.noise} uses a class map of CIFAR-{len(class_map)}; expected {len(class_map)} "
                f"classes, {data.dataset} has {num_classes}; use --noise {' or '.join(['pair', *fitting])}"
            )
        return functools.partial(noise.asymmetric, class_map=class_map)
    if data.noise == "instance":
        if isinstance(dataset.train_images, Stream):
            raise UserError("--noise instance looks at all images at once; leave out --stream")
        features = _features(dataset.train_images)
        return lambda key, labels, rate: noise.instance_dependent(
            key, features, labels, rate, num_classes=num_classes
        )
    models = {"symmetric": noise.symmetric, "uniform": noise.uniform, "pair": noise.pair}
    return functools.partial(models[data.noise], num_classes=num_classes)


def _features(images: Images) -> NDArray[np.float32]:
    """Images flattened and scaled to [0, 1]: bytes by 255, numbers by the range that they span."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    low, high = (0.0, 255.0) if images.dtype == np.uint8 else (float(flat.min()), float(flat.max()))
    return (flat - np.float32(low)) / np.float32(high - low or 1.0)
