"""Training labels from a file, such as those that people gave to CIFAR's images."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data import array_files, class_labels
from experiments.data.class_labels import Classes
from experiments.data.dataset import Labels
from experiments.data.tables import encoding
from experiments.data.tables import read as tables
from experiments.data.tables.read import Table
from experiments.safety import csv_files, files
from experiments.terminal import UserError

# What an npz file may call the labels that it takes for the true ones.
_CLEAN_KEYS = ("clean", "clean_label")


class Reference(NamedTuple):
    """`FILE` or `FILE.npz:KEY`, taken apart."""

    path: Path
    key: str | None


def parse(text: str) -> Reference:
    """Takes a `--labels-file` apart."""
    path, colon, key = text.rpartition(":")
    return Reference(Path(path), key) if colon and path.endswith(".npz") else Reference(Path(text), None)


def read(
    text: str,
    own: Labels,
    classes: Classes,
    *,
    column: str | None = None,
    numbered: bool = True,
) -> Labels:
    """The labels that `--labels-file` names, one for each of the source's `own`.

    If the file has the true labels too, they must be the source's own: else it is for other examples, or
    for these in another order. A source that is not `numbered` has an order of its own, so that it must.
    """
    path, _ = parse(text)
    key, raw, clean = raw_labels(text, len(own), column)

    def indices(key, labels):
        lengths = {key: len(own)}
        number, names = classes
        return class_labels.to_indices(path, {key: labels}, lengths, names=names, num_classes=number)[0][key]

    for name, array in clean.items():
        _check_clean(path, name, indices(name, array), own)
    if not numbered and not clean:
        raise UserError(
            f"{path}: the data set comes in an order of its own; expected an npz file that has its labels, "
            f"as 'clean', beside the others, to compare them"
        )
    return indices(key, raw)


# What the tables of `audit` and of the page of `review` have.
_OF_AUDIT = ("index", "suggested_label", "judged_wrong")
_OF_REVIEW = ("index", "decision", "label")


def read_corrections(text: str, own: Labels, classes: Classes, *, column: str | None = None) -> Labels:
    """The labels that `--corrections` names: the source's own where an audit or a review left them."""
    path, _ = parse(text)
    if path.suffix in tables.SUFFIXES and path.is_file():
        columns = tables.read(path).columns
        if set(_OF_AUDIT) <= columns.keys():
            suggested, wrong = columns["suggested_label"], columns["judged_wrong"].astype(bool)
            return _changed(path, own, columns["index"][wrong], suggested[wrong], classes.number)
        if set(_OF_REVIEW) <= columns.keys():
            return _reviewed(path, own, columns, classes)
    return read(text, own, classes, column=column)


def _reviewed(path: Path, own: Labels, columns: dict[str, NDArray], classes: Classes) -> Labels:
    if (columns["decision"] == "drop").any():
        raise UserError(
            f"{path}: leaves examples out; expected `clean RUN --reviewed {path} --output FILE`, and to "
            f"train on that file"
        )
    relabel = columns["decision"] == "relabel"
    names = classes.names or tuple(map(str, range(classes.number)))
    # Where all names are numbers, the column was read as numbers.
    chosen = [
        f"{label:g}" if isinstance(label, float) else csv_files.original(label or "")
        for label in columns["label"][relabel]
    ]
    unknown = [label for label in chosen if label not in names]
    if unknown:
        raise UserError(f"{path}: label {unknown[0]!r} is no class of the data set")
    labels = np.array([names.index(label) for label in chosen], np.float64)
    return _changed(path, own, columns["index"][relabel], labels, classes.number)


def _changed(path: Path, own: Labels, examples: NDArray, labels: NDArray, number: int) -> Labels:
    for name, values, limit in (("index", examples, len(own)), ("label", labels, number)):
        if (
            values.dtype == object
            or not ((values >= 0) & (values < limit) & (values == np.round(values))).all()
        ):
            raise UserError(f"{path}: expected {name} from 0 to {limit - 1}, as in the data set")
    changed = own.copy()
    changed[examples.astype(np.int64)] = labels.astype(np.int32)
    return changed


def raw_labels(text: str, length: int, column: str | None) -> tuple[str, NDArray, dict[str, NDArray]]:
    """The labels as the file has them and what it calls them, and what it says are the true ones, by name."""
    path, key = parse(text)
    if not files.regular(path).is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".npy":
        return "the array", array_files.read_npy(path), {}
    if path.suffix in tables.SUFFIXES:
        table = tables.read(path)
        if column is None and {"index", "suggested_label"} <= table.columns.keys():
            raise UserError(f"{path}: is the list of an audit; expected --corrections {path}")
        return column or "the column", labels_of_table(table, column), {}
    _refuse_pickle(path)
    arrays = array_files.read_all(path)
    clean = {name: arrays[name] for name in _CLEAN_KEYS if name in arrays}
    key = key or _only_key(path, arrays, length)
    if key not in arrays:
        raise UserError(f"{path}: array {key!r} is missing; the file has {sorted(arrays)}")
    return key, arrays[key], clean


def labels_of_table(table: Table, column: str | None) -> NDArray:
    """The labels of a table, from its only column if none is named."""
    if column is None:
        if len(table.columns) != 1:
            raise UserError(
                f"{table.path}: has {len(table.columns)} columns; expected --label COLUMN, one of "
                f"{tables.listed(table.columns)}"
            )
        column = next(iter(table.columns))
    return tables.labels_of(table, column)


def names_in(text: str, column: str | None, id_column: str | None) -> tuple[list[str] | None, str]:
    """What a table of labels calls its rows, and the column that does."""
    path, _ = parse(text)
    if path.suffix not in tables.SUFFIXES:
        return None, "file"
    table = tables.read(path)
    ids = encoding.id_column(table, id_column, column)
    return tables.names_of(table, ids), ids or "file"


def _refuse_pickle(path: Path) -> None:
    """PyTorch's files hold pickles, which may run any code when they are read."""
    archive = zipfile.is_zipfile(path)
    if path.suffix in (".pt", ".pth") or (archive and _has_pickle(path)):
        converted = path.with_suffix(".npz").name
        raise UserError(
            f"{path}: is a pickle of PyTorch, which could run code and is not read; if you trust it, convert "
            f'it with python -c "import numpy, torch; numpy.savez({converted!r}, '
            f'**torch.load({path.name!r}, weights_only=False))"'
        )


def _has_pickle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    # Damaged: reading its arrays will say how.
    except Exception:
        return False


def _check_clean(path: Path, name: str, clean: Labels, own: Labels) -> None:
    differing = np.flatnonzero(clean != own)
    if differing.size:
        first = differing[0]
        raise UserError(
            f"{path}: {name} differs from the data set's own labels in {len(differing)} places, the first at "
            f"index {first} ({clean[first]} there, {own[first]} here); expected labels of the same examples, "
            f"in the same order"
        )


def _only_key(path: Path, arrays: dict[str, NDArray], length: int) -> str:
    def fits(array):
        return array.shape == (length,) and array.dtype.kind in "iuU"

    found = [name for name, array in arrays.items() if name not in _CLEAN_KEYS and fits(array)]
    if len(found) != 1:
        raise UserError(
            f"{path}: expected one array of {length} labels, found {found or 'none'} among {sorted(arrays)}"
            f"{'; choose with --labels-file FILE.npz:KEY' if found else ''}"
        )
    return found[0]
