"""The data set that a name stands for: the table of contents of this package."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data import array_files, digits, label_file, tfds_sets
from experiments.data.class_labels import Classes
from experiments.data.dataset import Dataset, Examples
from experiments.data.options import Data
from experiments.data.pictures import folder, image_files
from experiments.data.tables import read as tables
from experiments.data.tables import source as table_source
from experiments.data.tables.encoding import Encoding
from experiments.terminal import QUIET, Progress, UserError

KINDS = "csv:FILE, folder:DIR, npy:FILE, npz:FILE"


def load(data: Data, progress: Progress = QUIET) -> Dataset:
    """The data set that `--dataset` and the flags beside it name; with `--stream` its images stay on disk."""
    kind, _, where = data.dataset.partition(":")
    if data.dataset in tfds_sets.SHORT_NAMES:
        kind, where = "tfds", data.dataset
    if data.image_size is not None and kind not in ("folder", "tfds"):
        raise UserError(
            f"--image-size scales images of folder:DIR and tfds:NAME only, --dataset is {data.dataset}"
        )
    if data.stream and kind in ("digits", "csv"):
        raise UserError(f"--stream is for images on disk; {data.dataset} is in memory, leave it out")
    path = Path(where)
    match kind:
        case "digits" if not where:
            return digits.load()
        case "csv" if where:
            return table_source.load(path, data.label, data.id)
        case "npy" if where and data.labels_file is not None:
            return load_npy(path, data)
        case "npz" if where:
            return array_files.load(path, progress, streamed=data.stream, num_classes=data.num_classes)
        case "folder" if where:
            return folder.load(path, progress, image_size=data.image_size, streamed=data.stream)
        case "tfds" if where:
            return tfds_sets.load(
                where, progress, data_dir=data.data_dir, image_size=data.image_size, streamed=data.stream
            )
    raise UserError(
        f"--dataset {data.dataset!r} is not known; expected {_meant(data.dataset) or ''}digits, {KINDS}, "
        f"tfds:NAME, {', '.join(tfds_sets.SHORT_NAMES[:-1])} or {tfds_sets.SHORT_NAMES[-1]}"
    )


def load_npy(path: Path, data: Data) -> Dataset:
    """The array of a file with the labels, and perhaps the names, of another."""
    assert data.labels_file is not None
    length = len(array_files.read_npy(path, mapped=True))
    _, labels, _ = label_file.raw_labels(data.labels_file, length, data.label)
    dataset = array_files.load_npy(
        path, labels, data.labels_file, streamed=data.stream, num_classes=data.num_classes
    )
    names, named_by = label_file.names_in(data.labels_file, data.label, data.id)
    return dataset._replace(train_names=names, named_by=named_by)


def _meant(name: str) -> str | None:
    """What a name without a kind was probably meant to be, for a message."""
    path = Path(name)
    kind = "folder" if path.is_dir() else kind_of_file(path)
    return f"{kind}:{name} perhaps, or " if kind and path.exists() else None


def kind_of_file(path: Path) -> str | None:
    """The source that reads files of this name."""
    suffix = path.suffix.lower()
    return "csv" if suffix in tables.SUFFIXES else suffix[1:] if suffix in (".npy", ".npz") else None


class Known(NamedTuple):
    """What `predict` knows of a run.

    Attributes:
      channels: of its pictures.
      image_size: what they were scaled to.
      classes: its classes.
      columns: what it learnt from the columns of a table.
      offset: what it subtracted from each column.
      label: the column of its labels.
      named_by: the column that named its examples, or `file`.
    """

    channels: int
    image_size: int | None
    classes: Classes
    columns: Encoding | None = None
    offset: NDArray[np.float64] | None = None
    label: str | None = None
    named_by: str | None = None


def load_images(data: str, run: Known, progress: Progress = QUIET) -> Examples:
    """The examples that `predict` was given, a name as for `--dataset` or just a path."""
    if data == "digits":
        found = digits.load()
        return Examples(found.test_images, found.test_labels, None)  # type: ignore[arg-type]  # it has them
    if data.startswith("tfds:") or data in tfds_sets.SHORT_NAMES:
        raise UserError(f"cannot predict {data}; expected digits, {KINDS}, a picture or just a path")
    kind, colon, where = data.partition(":")
    if kind not in ("csv", "folder", "npy", "npz") or not colon:
        where = data
        kind = "folder" if Path(data).is_dir() else kind_of_file(Path(data)) or ""
    path = Path(where)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if not kind and path.suffix.lower() in image_files.SUFFIXES:
        return folder.load_picture(path, progress, channels=run.channels, image_size=run.image_size)
    if kind == "folder":
        return folder.load_images(
            path,
            progress,
            channels=run.channels,
            image_size=run.image_size,
            classes=run.classes.names or (),
        )
    if kind == "csv":
        if run.columns is None:
            raise UserError(f"{path}: is a table, and the run was not trained on one")
        return table_source.load_rows(path, run.columns, run.label, run.named_by, run.classes)
    if run.columns is not None:
        raise UserError(f"{path}: the run was trained on a table; expected a file of the same columns")
    return array_files.load_images(path, run.classes, run.offset)
