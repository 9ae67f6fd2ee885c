"""A table as a data set: a row for each example, one column with the labels."""

from pathlib import Path

from experiments.data import class_labels
from experiments.data.class_labels import Classes
from experiments.data.dataset import Dataset, Examples
from experiments.data.tables import encoding
from experiments.data.tables.encoding import Encoding
from experiments.data.tables.read import labels_of, listed, missing, names_of, read
from experiments.terminal import UserError


def load(path: Path, label: str | None, id_column: str | None) -> Dataset:
    """All columns but the label and the id as inputs; every value of the label column is a class."""
    table = read(path)
    if label is None:
        raise UserError(f"csv:{path} needs --label COLUMN; its columns are {listed(table.columns)}")
    names = labels_of(table, label)
    indices, classes = class_labels.to_indices(path, {label: names}, {label: len(table)})
    if classes.number < 2:
        raise UserError(f"{path}: column {label!r} holds a single class; expected at least two")
    if classes.number > max(20, len(table) // 2):
        raise UserError(
            f"{path}: column {label!r} has {classes.number} different values in {len(table)} rows; expected "
            f"a column of classes"
        )
    ids = encoding.id_column(table, id_column, label)
    learnt = encoding.fit(table, [name for name in table.columns if name not in (label, ids)])
    return Dataset(
        encoding.encode(learnt, table),
        indices[label],
        None,
        None,
        None,
        classes.number,
        classes.names,
        train_names=names_of(table, ids),
        named_by=ids or "file",
        columns=learnt,
        remarks=(encoding.in_words(learnt, table) + (f"; {ids!r} names the rows" if ids else ""),),
    )


def load_rows(
    path: Path, columns: Encoding, label: str | None, named_by: str | None, classes: Classes
) -> Examples:
    """Rows to predict, for a run that was trained on a table; the label column may be missing."""
    table = read(path)
    labels = None
    if label in table.columns and not missing(table.columns[label]).any():
        labels = class_labels.known_to(path, label, labels_of(table, label), len(table), classes)
    ids = named_by if named_by in table.columns else None
    return Examples(encoding.encode(columns, table), labels, names_of(table, ids), ids or "file")
