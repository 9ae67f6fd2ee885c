"""A table from a file: comma- or tab-separated text, or Parquet."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data.tables import text_form
from experiments.safety import files, memory
from experiments.terminal import UserError, one_line

SUFFIXES = (".csv", ".tsv", ".parquet")
_DAY = 24 * 60 * 60 * 1_000_000


class Table(NamedTuple):
    """Columns by name, all of the same length.

    Attributes:
      columns: numbers and dates (in days since 1970) as float64 with NaN where a value is missing, and text
        as objects with None there.
      dates: the columns that are dates.
    """

    path: Path
    columns: dict[str, NDArray]
    dates: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def read(path: Path) -> Table:
    """The table of a .csv, .tsv or .parquet file, whose columns have names."""
    # Here, since it takes a third of a second to import and few commands read tables.
    import pyarrow

    if path.is_dir():
        raise UserError(f"{path}: is a folder; pictures in folders are folder:DIR")
    if not files.regular(path).is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: expected a file whose name ends in {', '.join(SUFFIXES)}")
    try:
        found = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_text(path)
    # What Arrow raises depends on where the file is damaged.
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a table ({one_line(error)})") from error
    names = list(found.column_names)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{path}: two columns are called {twice[0]!r}; rename one")
    if not len(found) or not names:
        raise UserError(f"{path}: has no rows below its heading")
    dates = frozenset(name for name in names if _is_date(found[name].type))
    return Table(path, {name: _values(path, name, found[name]) for name in names}, dates)


def _read_text(path: Path) -> Any:
    import io

    from pyarrow import csv, types

    memory.check_fits(f"{path}: the table", path.stat().st_size, "split it")
    text, form = text_form.text_and_form(path)
    content = text.encode()

    def read_with(decimal_point: str) -> Any:
        return csv.read_csv(
            io.BytesIO(content),
            # One block: the type of a column is judged by all of its values.
            read_options=csv.ReadOptions(block_size=max(1, min(len(content) + 1, 2**31 - 1))),
            parse_options=csv.ParseOptions(delimiter=form.separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(strings_can_be_null=True, decimal_point=decimal_point),
        )

    def numbers(table: Any) -> int:
        return sum(types.is_integer(own.type) or types.is_floating(own.type) for own in table.columns)

    table = read_with(".")
    # "1,5" is a number only where the comma separates no cells.
    return max(table, read_with(","), key=numbers) if form.separator != "," else table


def _read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    said = parquet.read_metadata(path)
    groups = sum(said.row_group(i).total_byte_size for i in range(said.num_row_groups))
    # One value that is repeated takes no room in the file.
    size = max(groups, 8 * said.num_rows * said.num_columns)
    memory.check_fits(f"{path}: the table", size, "split it")
    return parquet.read_table(path)


def _is_date(kind: Any) -> bool:
    from pyarrow import types

    return types.is_date(kind) or types.is_timestamp(kind)


def as_text(table: Table, column: str, row: int) -> str:
    """A cell as text, empty where it is missing."""
    value = table.columns[column][row]
    if value is None or value != value:
        return ""
    if column in table.dates:
        moment = np.datetime64(round(value * _DAY), "us")
        return str(moment.astype("datetime64[D]" if value == round(value) else "datetime64[s]"))
    return value if isinstance(value, str) else f"{value:.10g}"


def _values(path: Path, name: str, column: Any) -> NDArray:
    import pyarrow
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if _is_date(kind):
        days = column.cast(pyarrow.timestamp("us")).cast(pyarrow.int64())
        return days.cast(pyarrow.float64(), safe=False).to_numpy() / _DAY
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind):
        if types.is_boolean(kind):
            column = column.cast(pyarrow.int8())
        return column.cast(pyarrow.float64(), safe=False).to_numpy()
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if types.is_string(kind) or types.is_large_string(kind):
        return np.array(column.to_pylist(), object)
    raise UserError(
        f"{path}: column {name!r} holds {kind}; expected numbers, text or dates, or leave the column out"
    )


def missing(values: NDArray) -> NDArray[np.bool_]:
    """Where a column has no value."""
    return np.array([value is None or value != value for value in values])


def labels_of(table: Table, column: str) -> NDArray:
    """The labels of a column, as integers or names."""
    values = column_of(table, column)
    if values.dtype != object and (np.nan_to_num(values) != np.round(np.nan_to_num(values))).any():
        raise UserError(
            f"{table.path}: column {column!r} holds numbers with fractions; expected a column of classes"
        )
    gaps = np.flatnonzero(missing(values))
    if gaps.size:
        raise UserError(
            f"{table.path}: column {column!r} has no label in {len(gaps)} rows, the first of them row "
            f"{gaps[0]} (counted from 0); move these rows to a file of their own, and predict them"
        )
    if values.dtype == object:
        return values.astype(str)
    whole = (values == np.round(values)).all()
    return values.astype(np.int64).astype(str) if whole else values.astype(str)


def names_of(table: Table, ids: str | None) -> list[str] | None:
    """What the id column calls the rows."""
    if ids is None:
        return None
    values = column_of(table, ids)
    if values.dtype != object and (values == np.round(values)).all():
        values = values.astype(np.int64)
    return [str(value) for value in values]


def column_of(table: Table, column: str) -> NDArray:
    """A column by its name."""
    if column not in table.columns:
        raise UserError(f"{table.path}: has no column {column!r}; its columns are {listed(table.columns)}")
    return table.columns[column]


def listed(names: Iterable[str]) -> str:
    """Up to twelve names."""
    names = list(names)
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
