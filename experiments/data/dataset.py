"""What every source hands over: examples and labels, checked before anything is trained on them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.terminal import UserError

Images = NDArray[np.uint8] | NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Stream:
    """Images that are read when they are asked for; what an array of them knows without its content.

    Attributes:
      shape: `(N, H, W, C)` or `(N, D)`.
      dtype: uint8 or float32.
      read: from indices `[n]` to images `[n, ...]`; may be called from several threads at once.
      identity: differs where the content differs, as far as can be told without reading it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[NDArray[np.integer]], Images]
    identity: str

    def __len__(self) -> int:
        return self.shape[0]


class Dataset(NamedTuple):
    """Examples and labels; images are uint8 or float32, `[N, H, W, C]` or `[N, D]`, labels int32 `[N]`.

    Attributes:
      train_labels: as given, right or wrong.
      train_clean_labels: the true ones where they are known, else None.
      test_images: None if there are none.
      class_names: of class 0, 1, ..., if the source has names.
      numbered: whether the training examples are in the order in which others number them.
      train_names: what the source calls each training example, its file or the value of its id column.
      named_by: `file` or the name of the id column.
      columns: what was learnt from the columns of a table, a `tables.encoding.Encoding`.
      offset: what was subtracted from each column in float64, since float32 would have lost its variation.
      remarks: how the source was read, in sentences for who trains on it.
    """

    train_images: Images | Stream
    train_labels: Labels
    train_clean_labels: Labels | None
    test_images: Images | Stream | None
    test_labels: Labels | None
    num_classes: int
    class_names: tuple[str, ...] | None = None
    numbered: bool = True
    train_names: list[str] | None = None
    named_by: str = "file"
    columns: Any = None
    offset: NDArray[np.float64] | None = None
    remarks: tuple[str, ...] = ()


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """The names of the classes, their numbers where they have none."""
    return dataset.class_names or tuple(map(str, range(dataset.num_classes)))


class Examples(NamedTuple):
    """Images to predict; labels and names are None where there are none.

    Attributes:
      named_by: `file` or the name of the id column.
    """

    images: Images
    labels: Labels | None
    names: list[str] | None
    named_by: str = "file"


def check_images(source: Path | str, key: str, images: NDArray, first: int = 0) -> Images:
    """Byte images as they are, other numbers as float32; raises UserError for anything else.

    `first` is the index of the first of them, where they are a part of more.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim not in (2, 4):
        raise UserError(f"{source}: {key} must be [N, H, W, C] or [N, D], got shape {list(images.shape)}")
    if 0 in images.shape:
        raise UserError(f"{source}: {key} is empty, its shape is {list(images.shape)}")
    if images.dtype.kind in "iub" and images.dtype != np.uint8:
        images = _from_integers(source, key, images)
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{source}: {key} must be numbers, got {images.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        images = images.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(axis=1))
    if bad.size:
        raise UserError(
            f"{source}: {key} has a value that is not a finite float32 at index {first + bad[0]}; fill "
            f"the gaps, or give the table as csv:FILE, whose gaps are filled"
        )
    return images


def _from_integers(source: Path | str, key: str, images: NDArray) -> NDArray:
    """Integers and booleans: pictures as bytes, vectors as floats."""
    if images.ndim == 2:
        return images.astype(np.float64)
    if images.min() < 0 or images.max() > 255:
        raise UserError(
            f"{source}: {key} has pictures of {images.dtype} from {images.min()} to {images.max()}; expected "
            f"0 to 255, or floats"
        )
    return images.astype(np.uint8)


def check_labels(
    source: Path | str, key: str, labels: NDArray, length: int, num_classes: int | None = None
) -> Labels:
    """`length` class indices as int32; raises UserError for anything else."""
    if labels.ndim != 1:
        raise UserError(f"{source}: {key} must be [N], got shape {list(labels.shape)}")
    # NumPy counts spans of time among the integers.
    if labels.dtype.kind not in "iu":
        raise UserError(f"{source}: {key} must be integers, got {labels.dtype}")
    if len(labels) != length:
        raise UserError(f"{source}: {key} has {len(labels)} entries for {length} examples")
    # Without a class count from elsewhere: what a mistaken negative or huge label would look like.
    limit = num_classes if num_classes is not None else 1_000_000
    bad = np.flatnonzero((labels < 0) | (labels >= limit))
    if bad.size:
        raise UserError(f"{source}: {key} must be in [0, {limit}), got {labels[bad[0]]} at index {bad[0]}")
    return labels.astype(np.int32)
