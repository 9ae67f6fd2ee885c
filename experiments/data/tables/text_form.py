"""How a table of text was written: its encoding, what separates its cells, and how its lines end."""

import csv
from pathlib import Path
from typing import NamedTuple

from experiments.terminal import UserError

# Excel writes semicolons where the decimal separator is a comma.
_SEPARATORS = ",;\t"
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class TextForm(NamedTuple):
    """What is needed to read a table, and to write one like it.

    Attributes:
      encoding: `utf-8`, or with a byte-order mark `utf-8-sig` or `utf-16`.
      separator: a comma, a semicolon or a tab.
      line_end: what ends the first line.
    """

    encoding: str
    separator: str
    line_end: str


def text_and_form(path: Path) -> tuple[str, TextForm]:
    """The text of a file and its form; a UserError if the text is in an encoding without a mark."""
    raw = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: line {line} has the byte 0x{raw[error.start]:02X}, which is not {encoding.upper()}; "
            f"save the table as UTF-8 (in Excel: CSV UTF-8)"
        ) from error
    first = text.partition("\n")[0]
    if path.suffix.lower() == ".tsv":
        separator = "\t"
    else:
        # The first of those that make the most columns, so that one column is read with a comma.
        separator = max(_SEPARATORS, key=lambda mark: _columns(first, mark))
    return text, TextForm(encoding, separator, "\r\n" if first.endswith("\r") else "\n")


def _columns(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    # A cell is too long.
    except csv.Error:
        return 0
