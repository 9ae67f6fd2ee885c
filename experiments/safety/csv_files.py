"""CSV files of ours: what they quote of names and texts is no formula to the program that opens them.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula, and a name may come from
somebody else. Such a cell gets an apostrophe in front, as OWASP advises, and our own commands take it away
again. A corrected copy of the user's own data is not written by this module: it keeps the user's values.
"""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

# An apostrophe that was there before gets another one, so that taking one away gives the cell back. Some
# programs take the wide forms of the signs for the same. The page of `review` has both expressions too.
FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")


def harmless(cell: object) -> object:
    """A cell that no spreadsheet runs; numbers stay as they are.

    >>> [harmless(cell) for cell in ("=1+1", "-1.5", -1.5, "'=", "apple")]
    ["'=1+1", '-1.5', -1.5, "''=", 'apple']
    """
    if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def original(cell: str) -> str:
    """The inverse of `harmless`.

    >>> [original(cell) for cell in ("'=1+1", "-1.5", "''=", "'apple'")]
    ['=1+1', '-1.5', "'=", "'apple'"]
    """
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def write(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Writes rows into a file."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([harmless(cell) for cell in row] for row in rows)
