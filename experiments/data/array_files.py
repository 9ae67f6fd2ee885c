"""Examples in the arrays of an npz or npy file."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.data import cache, class_labels
from experiments.data.class_labels import Classes
from experiments.data.dataset import Dataset, Examples, Images, Stream, check_images
from experiments.safety import files, memory
from experiments.terminal import QUIET, Progress, UserError, one_line


def load(
    path: Path, progress: Progress = QUIET, *, streamed: bool = False, num_classes: int | None = None
) -> Dataset:
    """An npz file with train_images, train_labels and what `_OPTIONAL` names."""
    arrays = read(
        path,
        ("train_images", "train_labels"),
        _OPTIONAL,
        map_images=(lambda archive, name: _map(path, archive, name, progress)) if streamed else None,
    )
    if ("test_images" in arrays) != ("test_labels" in arrays):
        raise UserError(f"{path}: expected test_images and test_labels together, found only one of them")
    if "test_images" in arrays and len(arrays["test_images"]) == 0:
        raise UserError(f"{path}: test_images are empty; leave out test_images and test_labels")
    images, offset = to_images(path, {k: v for k, v in arrays.items() if k.endswith("images")}, streamed)
    train_images, test_images = images["train_images"], images.get("test_images")
    if test_images is not None and (
        (test_images.shape[1:], test_images.dtype) != (train_images.shape[1:], train_images.dtype)
    ):
        raise UserError(
            f"{path}: each of test_images is {test_images.dtype} {list(test_images.shape[1:])}, "
            f"of train_images {train_images.dtype} {list(train_images.shape[1:])}; expected the same"
        )
    labels, classes = class_labels.to_indices(
        path,
        {key: array for key, array in arrays.items() if key.endswith("labels")},
        {
            "train_labels": len(train_images),
            "train_clean_labels": len(train_images),
            "test_labels": 0 if test_images is None else len(test_images),
        },
        names=_class_names(path, arrays.get("class_names")),
        num_classes=num_classes,
    )
    train_labels = labels["train_labels"]
    if train_labels.min() == train_labels.max():
        raise UserError(f"{path}: train_labels hold a single class; expected at least two")
    # Noise may have emptied a class, which the clean labels still have.
    of_training = [array for key, array in labels.items() if key.startswith("train")]
    class_labels.check_empty_classes(path, np.concatenate(of_training), classes, num_classes)
    return Dataset(
        train_images,
        train_labels,
        labels.get("train_clean_labels"),
        test_images,
        labels.get("test_labels"),
        classes.number,
        classes.names,
        offset=offset,
        remarks=offset_in_words(path, offset),
    )


_OPTIONAL = ("train_clean_labels", "test_images", "test_labels", "class_names")


def _class_names(path: Path, names: NDArray | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names)) != len(names):
        raise UserError(f"{path}: class_names must be different strings [C], got {names.dtype} {names.shape}")
    return tuple(map(str, names))


def load_npy(
    path: Path,
    labels: NDArray,
    labels_file: str,
    *,
    streamed: bool = False,
    num_classes: int | None = None,
) -> Dataset:
    """The examples of an npy file with given labels from another file."""
    key = "the array"
    images, offset = to_images(path, {key: read_npy(path, mapped=streamed)}, streamed)
    indices, classes = class_labels.to_indices(
        labels_file, {"labels": labels}, {"labels": len(images[key])}, num_classes=num_classes
    )
    if indices["labels"].min() == indices["labels"].max():
        raise UserError(f"{labels_file}: holds a single class; expected at least two")
    class_labels.check_empty_classes(labels_file, indices["labels"], classes, num_classes)
    return Dataset(
        images[key],
        indices["labels"],
        None,
        None,
        None,
        classes.number,
        classes.names,
        offset=offset,
        remarks=offset_in_words(path, offset),
    )


def to_images(
    path: Path, arrays: dict[str, NDArray], streamed: bool
) -> tuple[dict[str, Images | Stream], NDArray[np.float64] | None]:
    """Checked images of all parts, and what was subtracted from them in float64, by the first part."""
    if streamed:
        return {key: _stream(path, key, array) for key, array in arrays.items()}, None
    offset = needed_offset(next(iter(arrays.values())))
    moved = {key: array if offset is None else array - offset for key, array in arrays.items()}
    return {key: check_images(path, key, array) for key, array in moved.items()}, offset


# Where a column's mean is so many deviations from 0, float32 keeps too little of how it varies.
FAR_FROM_ZERO = 1000.0


def needed_offset(images: NDArray) -> NDArray[np.float64] | None:
    """The means of columns that float32 would round to nearly the same value, 0 for the others.

    >>> needed_offset(np.array([[1.7e9, 0.0], [1.7e9 + 60, 1.0]])).tolist()
    [1700000030.0, 0.0]
    """
    if images.ndim != 2 or images.dtype not in (np.float64, np.int64, np.uint64) or 0 in images.shape:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        mean, deviation = images.mean(axis=0, dtype=np.float64), images.std(axis=0, dtype=np.float64)
    far = np.isfinite(deviation) & (deviation > 0) & (np.abs(mean) > FAR_FROM_ZERO * deviation)
    return np.where(far, np.round(mean), 0.0) if far.any() else None


def offset_in_words(path: Path, offset: NDArray[np.float64] | None) -> tuple[str, ...]:
    """Which columns were moved, if any, as remarks."""
    if offset is None:
        return ()
    columns = np.flatnonzero(offset)
    return (
        f"{path}: columns of large numbers that vary little are centred in float64; number of columns "
        f"{len(columns)}, the first of them column {columns[0]}",
    )


def load_images(path: Path, classes: Classes, offset: NDArray[np.float64] | None = None) -> Examples:
    """What an npz or npy file has to predict, and labels if it has them.

    An npz file gives its array `images`, else `test_images`, else `train_images`.
    """
    labels = None
    if path.suffix == ".npy":
        key, images = "the array", read_npy(path)
    else:
        keys = ("images", "test_images", "train_images")
        arrays = read(path, (), (*keys, *(key.replace("images", "labels") for key in keys)))
        found = [name for name in keys if name in arrays]
        if not found:
            raise UserError(
                f"{path}: expected an array 'images', 'test_images' or 'train_images', found none"
            )
        key, images = found[0], arrays[found[0]]
        labels = arrays.get(key.replace("images", "labels"))
    checked = check_images(path, key, images if offset is None else images - offset)
    if labels is not None:
        labels = class_labels.known_to(path, key.replace("images", "labels"), labels, len(checked), classes)
    return Examples(checked, labels, None)


def read_npy(path: Path, *, mapped: bool = False) -> NDArray:
    """The array of an npy file; `mapped`, it stays on disk."""
    try:
        with files.regular(path).open("rb") as file:
            check_beginning(path, file.read(len(_NPY)), "npy")
        if not mapped:
            memory.check_fits(f"{path}: the array", path.stat().st_size, "see --stream")
        array = np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    # What NumPy and the parser of its headers raise depends on where the file is damaged.
    except Exception as error:
        objects = "pickle" in str(error)
        hint = "; it holds Python objects: save names with labels.astype(str)" if objects else ""
        raise UserError(f"{path}: cannot be read as an npy file ({one_line(error)}){hint}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path}: expected a single array, got an npz archive; rename it to FILE.npz")
    return array


def _stream(path: Path, key: str, images: NDArray) -> Stream:
    """Images of a memory map, checked where that means reading them."""
    example = check_images(path, key, images[:1] if images.ndim else images)
    if images.dtype != np.uint8:
        for start in range(0, len(images), 1000):
            check_images(path, key, images[start : start + 1000], start)
    identity = f"{images.dtype}{images.shape}, a file of {path.stat().st_size} bytes"
    shape = (len(images), *example.shape[1:])

    def read(indices):
        return images[indices].astype(example.dtype).reshape(len(indices), *shape[1:])

    return Stream(shape, example.dtype, read, identity)


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
        in_memory = [name for name in found if map_images is None or not name.endswith("images")]
        _check_size(path, archive, in_memory)
        return {
            name: map_images(archive, name)
            if map_images is not None and name.endswith("images")
            else _array(path, archive, name)
            for name in found
        }


def read_all(path: Path) -> dict[str, NDArray]:
    """All arrays of an npz file by name."""
    with _opened(path) as archive:
        _check_size(path, archive, archive.files)
        return {name: _array(path, archive, name) for name in archive.files}


_NPY, _ZIP = b"\x93NUMPY", b"PK"


def check_beginning(path: Path, beginning: bytes, expected: str) -> None:
    """Raises UserError for a file that NumPy did not write, which it would take for a pickle."""
    if beginning.startswith((_NPY, _ZIP)):
        return
    table = path.suffix in (".csv", ".tsv", ".txt", ".parquet")
    hint = "; a table is --dataset csv:FILE, and labels in it --labels-file FILE.csv" if table else ""
    raise UserError(f"{path}: is not an {expected} file, it does not begin like one{hint}")


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
    with _reading(path, "cannot be read as an npz file"), files.regular(path).open("rb") as file:
        check_beginning(path, file.read(len(_NPY)), "npz")
        file.seek(0)
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UserError(f"{path}: expected an npz archive of named arrays, got a single array")
        yield archive


def _check_size(path: Path, archive: np.lib.npyio.NpzFile, names: list[str]) -> None:
    """Raises UserError for arrays that do not fit the memory; no more is read than an archive says."""
    sizes = {entry.filename: entry.file_size for entry in archive.zip.infolist()}  # type: ignore[union-attr]
    size = sum(sizes.get(f"{name}.npy", 0) + sizes.get(name, 0) for name in names)
    memory.check_fits(f"{path}: the archive", size, "leave arrays out, or see --stream")


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> NDArray:
    with _reading(path, f"array {name!r} cannot be read"):
        try:
            array = archive[name]
        except ValueError as error:
            if "allow_pickle" in str(error):
                raise UserError(
                    f"{path}: array {name!r} holds Python objects, which are not read; save names with "
                    f"{name}.astype(str), and gaps as NaN in floats"
                ) from error
            raise
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name!r} is not an array")
    return array


def _map(path: Path, archive: np.lib.npyio.NpzFile, name: str, progress: Progress) -> NDArray:
    """A memory map of an array, by way of a copy in the cache; in an archive it may be compressed."""
    with _reading(path, f"array {name!r} cannot be read"):
        entry = archive.zip.getinfo(f"{name}.npy")  # type: ignore[union-attr]  # it is open
        room = cache.free_space()
        if entry.file_size > room:
            raise UserError(
                f"{path}: array {name!r} holds {entry.file_size / 2**30:,.1f} GiB, and the disk of the cache "
                f"has {room / 2**30:,.1f} GiB left; save it as an npy file, which is not copied, or name "
                f"another folder with the variable XDG_CACHE_HOME"
            )
        with archive.zip.open(entry) as source:  # type: ignore[union-attr]
            root = path.resolve()
            key = cache.fingerprint(entry.CRC, entry.file_size, *cache.state_of(path))
            kept_as = f"{root.stem[:100]}-{cache.fingerprint(root)[:12]}-{name}"
            return cache.mapped(kept_as, key, source, lambda: progress.say(f"{path}: copying {name} once"))
