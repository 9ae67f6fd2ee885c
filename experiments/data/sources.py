"""Data sets as arrays in memory, checked before anything is trained on them."""

import warnings
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from experiments.errors import UserError

Images = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int32]


class Dataset(NamedTuple):
    """Examples and labels; images are uint8 or float32, `[N, H, W, C]` or `[N, D]`, labels int32 `[N]`.

    Attributes:
      train_labels: as given, right or wrong.
      train_clean_labels: the true ones where they are known, else None.
      test_images: None if there are none.
    """

    train_images: Images
    train_labels: Labels
    train_clean_labels: Labels | None
    test_images: Images | None
    test_labels: Labels | None
    num_classes: int


def load(dataset: str) -> Dataset:
    """The data set that `--dataset` names."""
    if dataset == "digits":
        return digits()
    if dataset.startswith("npz:"):
        return npz(Path(dataset.removeprefix("npz:")))
    raise UserError(f"--dataset {dataset!r} is not known; expected digits or npz:FILE")


def load_images(data: str) -> tuple[Images, Labels | None]:
    """Images to predict, and their labels if the source has them."""
    if data == "digits":
        return digits().test_images, digits().test_labels  # type: ignore[return-value]  # digits has a test part
    path = Path(data.removeprefix("npz:"))
    arrays = _read(path, (), ("images", "labels", "test_images", "test_labels"))
    key = "images" if "images" in arrays else "test_images"
    if key not in arrays:
        raise UserError(f"{path}: expected an array 'images' or 'test_images', found neither")
    images = _images(path, key, arrays[key])
    label_key = key.replace("images", "labels")
    if label_key not in arrays:
        return images, None
    try:
        return images, _labels(path, label_key, arrays[label_key], len(images))
    except UserError as error:
        # They would only be compared with the predictions, and may stand for "unknown".
        warnings.warn(f"labels ignored: {error}", stacklevel=2)
        return images, None


def digits() -> Dataset:
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


def npz(path: Path) -> Dataset:
    """A file with train_images, train_labels and optionally train_clean_labels, test_images, test_labels."""
    arrays = _read(
        path, ("train_images", "train_labels"), ("train_clean_labels", "test_images", "test_labels")
    )
    train_images = _images(path, "train_images", arrays["train_images"])
    train_labels = _labels(path, "train_labels", arrays["train_labels"], len(train_images))
    clean_labels = arrays.get("train_clean_labels")
    if clean_labels is not None:
        clean_labels = _labels(path, "train_clean_labels", clean_labels, len(train_images))
    # Noise may have emptied a class, which the clean labels still have.
    num_classes = int(max(labels.max() for labels in (train_labels, clean_labels) if labels is not None)) + 1
    if train_labels.min() == train_labels.max():
        raise UserError(f"{path}: train_labels hold a single class; expected at least two")

    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise UserError(f"{path}: expected test_images and test_labels together, found only one of them")
    test_images = test_labels = None
    if "test_images" in arrays:
        test_images = _images(path, "test_images", arrays["test_images"])
        if (test_images.shape[1:], test_images.dtype) != (train_images.shape[1:], train_images.dtype):
            raise UserError(
                f"{path}: each of test_images is {test_images.dtype} {list(test_images.shape[1:])}, "
                f"of train_images {train_images.dtype} {list(train_images.shape[1:])}; expected the same"
            )
        test_labels = _labels(path, "test_labels", arrays["test_labels"], len(test_images), num_classes)
    return Dataset(train_images, train_labels, clean_labels, test_images, test_labels, num_classes)


_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def _read(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, NDArray]:
    """The arrays of an npz file by name, without those of `optional` that it does not have."""
    try:
        # Opened here, so that it is closed here, whatever NumPy makes of it. Pickled content could run code.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise UserError(f"{path}: expected an npz archive of named arrays, got a single array")
            for name in required:
                if name not in archive:
                    raise UserError(
                        f"{path}: array {name!r} is missing; the file has {sorted(archive.files)}"
                    )
            return {name: _array(path, archive, name) for name in (*required, *optional) if name in archive}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except _UNREADABLE as error:
        raise UserError(f"{path}: cannot be read as an npz file ({_one_line(error)})") from error


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> NDArray:
    try:
        array = archive[name]
    except _UNREADABLE as error:
        raise UserError(f"{path}: array {name!r} cannot be read ({_one_line(error)})") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name!r} is not an array")
    return array


def _images(path: Path, key: str, images: NDArray) -> Images:
    if images.ndim not in (2, 4) or 0 in images.shape:
        raise UserError(f"{path}: {key} must be [N, H, W, C] or [N, D], got shape {list(images.shape)}")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{path}: {key} must be uint8 (0 to 255) or floating, got {images.dtype}")
    images = images.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(axis=1))
    if bad.size:
        raise UserError(f"{path}: {key} has a value that is not a finite float32 at index {bad[0]}")
    return images


def _labels(path: Path, key: str, labels: NDArray, length: int, num_classes: int | None = None) -> Labels:
    if labels.ndim != 1:
        hint = "; one-hot labels are not supported, pass class indices" if labels.ndim == 2 else ""
        raise UserError(f"{path}: {key} must be [N], got shape {list(labels.shape)}{hint}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{path}: {key} must be integers, got {labels.dtype}")
    if len(labels) != length:
        raise UserError(f"{path}: {key} has {len(labels)} entries for {length} images")
    # Without a class count from elsewhere: what a mistaken negative or huge label would look like.
    limit = num_classes if num_classes is not None else 1_000_000
    bad = np.flatnonzero((labels < 0) | (labels >= limit))
    if bad.size:
        raise UserError(f"{path}: {key} must be in [0, {limit}), got {labels[bad[0]]} at index {bad[0]}")
    return labels.astype(np.int32)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
