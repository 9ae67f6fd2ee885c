"""Pictures: names of the user's in them, how they are written, and one that fails in a run that goes on."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from experiments.runs import run_folder
from experiments.terminal import UserError, one_line


def as_it_is(name: str) -> str:
    r"""A name of the user's as a text for Matplotlib that shows it, without formulas.

    >>> print(as_it_is("a$b$"), as_it_is("_mine"))
    a\$b\$  _mine
    """
    # A byte that is no text, or a line break, would be an error or a box.
    printable = "".join(character if character.isprintable() else "?" for character in name)
    # What begins with an underscore is left out of legends.
    return (" " if printable.startswith("_") else "") + printable.replace("$", r"\$")


def read(text: str) -> str:
    """The inverse of `as_it_is`, for what people hear instead of see."""
    return text.strip().replace(r"\$", "$")


@contextlib.contextmanager
def in_any_script() -> Iterator[None]:
    """Within the `with`, no warning is given of a character that the font does not have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


@contextlib.contextmanager
def spared(path: Path) -> Iterator[None]:
    """Within the `with`, a picture is drawn; if that fails, a warning says so and nothing else is lost."""
    try:
        yield
    # What Matplotlib raises depends on what it is given, and a full disk is no reason to lose a run either.
    except Exception as error:
        reason = (
            str(error) if isinstance(error, UserError) else f"{path}: cannot be drawn ({one_line(error)})"
        )
        warnings.warn(f"{reason}; all that was measured is saved", stacklevel=2)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure whole or not at all, in the format of the file's name."""
    with run_folder.whole(path) as unfinished, in_any_script():
        figure.savefig(unfinished, dpi=120, format=path.suffix.removeprefix("."))
