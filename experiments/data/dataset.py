"""What every source hands over: examples and labels, checked before anything is trained on them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

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
      train_files: the training examples' files, relative to the source's folder, if each has one.
    """

    train_images: Images | Stream
    train_labels: Labels
    train_clean_labels: Labels | None
    test_images: Images | Stream | None
    test_labels: Labels | None
    num_classes: int
    class_names: tuple[str, ...] | None = None
    numbered: bool = True
    train_files: list[str] | None = None


class Examples(NamedTuple):
    """Images to predict; labels and the names of their files are None where there are none."""

    images: Images
    labels: Labels | None
    names: list[str] | None


def check_images(source: Path | str, key: str, images: NDArray, first: int = 0) -> Images:
    """Byte images as they are, other numbers as float32; raises UserError for anything else.

    `first` is the index of the first of them, where they are a part of more.
    """
    if images.ndim not in (2, 4) or 0 in images.shape:
        raise UserError(f"{source}: {key} must be [N, H, W, C] or [N, D], got shape {list(images.shape)}")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{source}: {key} must be uint8 (0 to 255) or floating, got {images.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        images = images.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(axis=1))
    if bad.size:
        raise UserError(f"{source}: {key} has a value that is not a finite float32 at index {first + bad[0]}")
    return images


def check_labels(
    source: Path | str, key: str, labels: NDArray, length: int, num_classes: int | None = None
) -> Labels:
    """`length` class indices as int32; raises UserError for anything else."""
    if labels.ndim != 1:
        hint = "; one-hot labels are not supported, pass class indices" if labels.ndim == 2 else ""
        raise UserError(f"{source}: {key} must be [N], got shape {list(labels.shape)}{hint}")
    # NumPy counts spans of time among the integers.
    if labels.dtype.kind not in "iu":
        raise UserError(f"{source}: {key} must be integers, got {labels.dtype}")
    if len(labels) != length:
        raise UserError(f"{source}: {key} has {len(labels)} entries for {length} images")
    # Without a class count from elsewhere: what a mistaken negative or huge label would look like.
    limit = num_classes if num_classes is not None else 1_000_000
    bad = np.flatnonzero((labels < 0) | (labels >= limit))
    if bad.size:
        raise UserError(f"{source}: {key} must be in [0, {limit}), got {labels[bad[0]]} at index {bad[0]}")
    return labels.astype(np.int32)
