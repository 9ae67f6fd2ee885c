"""scikit-learn's digits, which come with it."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from experiments.data.dataset import Dataset


def load() -> Dataset:
    """scikit-learn's digits: 8x8 images in [0, 1], 1347 for training and 450, stratified, for testing."""
    pixels, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1),
        labels.astype(np.int32),
        test_size=450,
        stratify=labels,
        random_state=0,
    )
    return Dataset(train_x, train_y, train_y, test_x, test_y, num_classes=10)
