"""scikit-learn's digits, kept beside this file: to import scikit-learn takes longer than a short training.

They are the test set of Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository 1998, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0), split here by `train_test_split` as
tests/experiments/test_sources.py does.
"""

from pathlib import Path

import numpy as np

from experiments.data.dataset import Dataset


def load() -> Dataset:
    """8x8 images in [0, 1], 1347 for training and 450, stratified, for testing."""
    with np.load(Path(__file__).with_suffix(".npz")) as arrays:
        train_x, test_x = (arrays[f"{part}_images"].astype(np.float32) / 16 for part in ("train", "test"))
        train_y, test_y = (arrays[f"{part}_labels"].astype(np.int32) for part in ("train", "test"))
    return Dataset(train_x, train_y, train_y, test_x, test_y, num_classes=10)
