"""Examples in the arrays of an npz file."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.data import cache
from experiments.data.dataset import Dataset, Examples, Stream, check_images, check_labels
from experiments.terminal import QUIET, Progress, UserError, one_line


def load(path: Path, progress: Progress = QUIET, *, streamed: bool = False) -> Dataset:
    """A file with train_images, train_labels and optionally train_clean_labels, test_images, test_labels."""
    arrays = read(
        path,
        ("train_images", "train_labels"),
        ("train_clean_labels", "test_images", "test_labels"),
        map_images=(lambda archive, name: _map(path, archive, name, progress)) if streamed else None,
    )
    read_images = _stream if streamed else check_images
    train_images = read_images(path, "train_images", arrays["train_images"])
    train_labels = check_labels(path, "train_labels", arrays["train_labels"], len(train_images))
    clean_labels = arrays.get("train_clean_labels")
    if clean_labels is not None:
        clean_labels = check_labels(path, "train_clean_labels", clean_labels, len(train_images))
    # Noise may have emptied a class, which the clean labels still have.
    num_classes = int(max(labels.max() for labels in (train_labels, clean_labels) if labels is not None)) + 1
    if train_labels.min() == train_labels.max():
        raise UserError(f"{path}: train_labels hold a single class; expected at least two")

    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise UserError(f"{path}: expected test_images and test_labels together, found only one of them")
    test_images = test_labels = None
    if "test_images" in arrays:
        test_images = read_images(path, "test_images", arrays["test_images"])
        if (test_images.shape[1:], test_images.dtype) != (train_images.shape[1:], train_images.dtype):
            raise UserError(
                f"{path}: each of test_images is {test_images.dtype} {list(test_images.shape[1:])}, "
                f"of train_images {train_images.dtype} {list(train_images.shape[1:])}; expected the same"
            )
        test_labels = check_labels(path, "test_labels", arrays["test_labels"], len(test_images), num_classes)
    return Dataset(train_images, train_labels, clean_labels, test_images, test_labels, num_classes)


def load_images(path: Path) -> Examples:
    """The arrays `images` or `test_images`, to predict, and their labels if the file has them."""
    arrays = read(path, (), ("images", "labels", "test_images", "test_labels"))
    key = "images" if "images" in arrays else "test_images"
    if key not in arrays:
        raise UserError(f"{path}: expected an array 'images' or 'test_images', found neither")
    images = check_images(path, key, arrays[key])
    label_key = key.replace("images", "labels")
    if label_key not in arrays:
        return Examples(images, None, None)
    try:
        labels = check_labels(path, label_key, arrays[label_key], len(images))
        return Examples(images, labels, None)
    except UserError as error:
        # They would only be compared with the predictions, and may stand for "unknown".
        warnings.warn(f"labels ignored: {error}", stacklevel=2)
        return Examples(images, None, None)


def _stream(path: Path, key: str, images: NDArray) -> Stream:
    """Images of a memory map, checked where that means reading them."""
    example = check_images(path, key, images[:1] if images.ndim else images)
    if images.dtype != np.uint8:
        for start in range(0, len(images), 1000):
            check_images(path, key, images[start : start + 1000], start)
    identity = f"{images.dtype}{images.shape}, a file of {path.stat().st_size} bytes"
    shape = (len(images), *example.shape[1:])
    return Stream(shape, example.dtype, lambda indices: images[indices].astype(example.dtype), identity)


def read(
    path: Path,
    required: tuple[str, ...],
    optional: tuple[str, ...],
    *,
    map_images: Callable[[np.lib.npyio.NpzFile, str], NDArray] | None = None,
) -> dict[str, NDArray]:
    """The arrays of an npz file by name, without those of `optional` that it does not have.

    Those that are called images are read by `map_images` if that is given.
    """
    with _opened(path) as archive:
        for name in required:
            if name not in archive:
                raise UserError(f"{path}: array {name!r} is missing; the file has {sorted(archive.files)}")
        found = [name for name in (*required, *optional) if name in archive]
        return {
            name: map_images(archive, name)
            if map_images is not None and name.endswith("images")
            else _array(path, archive, name)
            for name in found
        }


def read_all(path: Path) -> dict[str, NDArray]:
    """All arrays of an npz file by name."""
    with _opened(path) as archive:
        return {name: _array(path, archive, name) for name in archive.files}


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    # What NumPy, zipfile and the parser of NumPy's headers raise depends on where a file is damaged.
    except Exception as error:
        raise UserError(f"{path}: {what} ({one_line(error)})") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    # Opened here, so that it is closed here, whatever NumPy does with it. Pickled content could run code.
    with _reading(path, "cannot be read as an npz file"), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(f"{path}: expected an npz archive of named arrays, got a single array")
        yield archive


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> NDArray:
    with _reading(path, f"array {name!r} cannot be read"):
        array = archive[name]
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name!r} is not an array")
    return array


def _map(path: Path, archive: np.lib.npyio.NpzFile, name: str, progress: Progress) -> NDArray:
    """A memory map of an array, by way of a copy in the cache; in an archive it may be compressed."""
    with _reading(path, f"array {name!r} cannot be read"):
        entry = archive.zip.getinfo(f"{name}.npy")  # type: ignore[union-attr]  # it is open
        with archive.zip.open(entry) as source:  # type: ignore[union-attr]
            root, state = path.resolve(), path.stat()
            key = cache.fingerprint(entry.CRC, entry.file_size, state.st_size, state.st_mtime_ns)
            kept_as = f"{root.stem[:100]}-{cache.fingerprint(root)[:12]}-{name}"
            return cache.mapped(kept_as, key, source, lambda: progress.say(f"{path}: copying {name} once"))
