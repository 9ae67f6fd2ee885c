"""CIFAR-10 and its label sets from a folder of lossless picture sheets, which is how they travel."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.data import array_files
from experiments.data.dataset import Labels, check_labels
from experiments.terminal import UserError, one_line

SIZE, CLASSES = 32, 10


class Sheets(NamedTuple):
    """The pictures of a folder; example i has the same index in all label sets.

    Attributes:
      train_images: `[N, 32, 32, 3]`.
      labels: each set of training labels `[N]` by name; `clean` are the true ones.
      test_images: `[M, 32, 32, 3]`.
    """

    train_images: NDArray[np.uint8]
    labels: dict[str, Labels]
    test_images: NDArray[np.uint8]
    test_labels: Labels


def load(folder: Path) -> Sheets:
    """The pictures of `folder`: sheets train-*.webp and test-*.webp, and labels.npz.

    A sheet is a square grid of 32x32 pictures, row by row, the sheets in the order of their numbers. The
    first training sheets are enough: labels.npz may have labels for pictures that are not there. All test
    sheets have to be there, since the test pictures may be sorted by class.
    """
    arrays = array_files.read_all(folder / "labels.npz")
    for name in ("clean", "test"):
        if name not in arrays:
            raise UserError(f"{folder / 'labels.npz'}: array {name!r} is missing; it has {sorted(arrays)}")
    train_images, test_images = read_sheets(folder, "train"), read_sheets(folder, "test")
    count = len(train_images)
    labels = {
        name: check_labels(folder / "labels.npz", name, array[:count], count, CLASSES)
        for name, array in arrays.items()
        if name != "test"
    }
    test_labels = check_labels(folder / "labels.npz", "test", arrays["test"], len(test_images), CLASSES)
    return Sheets(train_images, labels, test_images, test_labels)


def read_sheets(folder: Path, part: str) -> NDArray[np.uint8]:
    """The pictures of all sheets of a part."""
    paths = sorted(folder.glob(f"{part}-*.webp"))
    numbers = [path.stem.removeprefix(f"{part}-") for path in paths]
    if (
        not paths
        or not all(number.isdecimal() for number in numbers)
        or [*map(int, numbers)] != [*range(len(paths))]
    ):
        raise UserError(
            f"{folder}: expected {part}-0.webp, {part}-1.webp and so on without a gap, found "
            f"{', '.join(numbers) or 'none'}"
        )
    return np.concatenate([_pictures(path) for path in paths])


def _pictures(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            sheet = np.asarray(image.convert("RGB"))
    # Which exception Pillow raises depends on where a file is damaged.
    except Exception as error:
        raise UserError(f"{path}: cannot be read as a picture ({one_line(error)})") from error
    rows, columns = (length // SIZE for length in sheet.shape[:2])
    if rows != columns or sheet.shape[:2] != (rows * SIZE, columns * SIZE):
        raise UserError(
            f"{path}: expected a square grid of {SIZE}x{SIZE} pictures, got {sheet.shape[1]}x{sheet.shape[0]}"
        )
    grid = sheet.reshape(rows, SIZE, columns, SIZE, 3).swapaxes(1, 2)
    return grid.reshape(-1, SIZE, SIZE, 3)


def write_sheets(folder: Path, part: str, images: NDArray[np.uint8], side: int) -> int:
    """Writes as many whole sheets of `side` times `side` pictures as `images` fill; returns their number."""
    count = len(images) // side**2
    for number in range(count):
        grid = images[number * side**2 :][: side**2].reshape(side, side, SIZE, SIZE, 3)
        sheet = grid.swapaxes(1, 2).reshape(side * SIZE, side * SIZE, 3)
        Image.fromarray(sheet).save(folder / f"{part}-{number:02d}.webp", lossless=True)
    return count


def to_pictures(images: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Grey images `[N, h, w, 1]` in [0, 1], enlarged to colour pictures of 32x32."""
    factor = math.ceil(SIZE / images.shape[1])
    enlarged = images.repeat(factor, axis=1).repeat(factor, axis=2)[:, :SIZE, :SIZE]
    return np.round(255 * enlarged).astype(np.uint8).repeat(3, axis=3)
