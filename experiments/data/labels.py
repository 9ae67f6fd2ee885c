"""The training labels of each seed: corrupted with a key of its own, with a record of what was drawn."""

from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from experiments.config import Data
from experiments.data.sources import Dataset
from experiments.errors import UserError
from noisy_optax import noise


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
    """Adds the configured noise to the training labels, once per key in `keys`."""
    labels, clean, num_classes = dataset.train_labels, dataset.train_clean_labels, dataset.num_classes
    if data.noise == "none" or data.noise_rate is None:
        given = np.broadcast_to(labels, (len(keys), len(labels)))
    else:
        if clean is not None and not np.array_equal(labels, clean):
            raise UserError(
                f"{data.dataset} has wrong labels of its own (train_labels differ from train_clean_labels); "
                f"use --noise none"
            )
        model = {"symmetric": noise.symmetric, "uniform": noise.uniform, "pair": noise.pair}[data.noise]
        clean = labels
        given = np.stack(
            [model(key, labels, data.noise_rate, num_classes=num_classes).labels for key in keys]
        )
    if clean is None:
        return GivenLabels(given, None, None, None)
    records = [noise.realised(clean, one_seed, num_classes) for one_seed in given]
    return GivenLabels(
        given,
        clean,
        rate=np.stack([record.rate for record in records]),
        matrix=np.stack([record.matrix for record in records]),
    )
