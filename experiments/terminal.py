"""What a person at a terminal is told: progress, as a bar or as plain lines, and errors."""

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text


class UserError(Exception):
    """Something the user can mend: the message says what was expected, what came and what to do."""


class Stopped(Exception):
    """The time that the user gave is over, and what was done is saved; the message says how to go on."""


def one_line(error: Exception) -> str:
    """What another library says, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


# Control characters, those that turn the direction of writing or end a line, and bytes that are no text.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    r"""The text with what a terminal would obey, and not show, as escapes: a name may come from anywhere.

    >>> plain("a\x1b[2Jb\u202e\udc9b\n")
    'a\\x1b[2Jb\\u202e\\x9b\\x0a'
    """
    return _UNSEEN.sub(_as_escape, text)


def _as_escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    # Python reads a byte that is no text as this surrogate.
    number -= 0xDC00 if 0xDC80 <= number <= 0xDCFF else 0
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


class _Plainly:
    """A renderable, with every text in it plain."""

    def __init__(self, shown: RenderableType):
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._shown, options):
            text = segment.text if segment.control else "\n".join(map(plain, segment.text.split("\n")))
            yield segment._replace(text=text)


class _AllPlainly(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Plainly(shown) for shown in renderables]


def make_console(**options: Any) -> Console:
    """A console that prints no control character of ours or of anybody else's, whatever is printed."""
    console = Console(**options)
    console.push_render_hook(_AllPlainly())
    return console


def say(console: Console, text: str) -> None:
    """One line as it is, however long, without markup."""
    console.print(plain(text), markup=False, highlight=False, soft_wrap=True)


def name_cell(name: str, style: str = "") -> Text:
    """A name for a table; in a string, Rich would look for markup."""
    return Text(plain(name), style=style)


def parse(kind: Any, args: Sequence[str] | None, prog: str, **options: Any) -> Any:
    """`tyro.cli`, with its account of a mistake in one line of ours."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=args, prog=prog, **options)
    except SystemExit as stopped:
        if stopped.code != 2:
            raise
        raise UserError(_shortened(said.getvalue(), prog)) from None


def _shortened(box: str, prog: str) -> str:
    r"""The first paragraph of tyro's box, and the flags or commands that it says were meant.

    >>> _shortened("Title\n Unknown: --a\n ----\n Perhaps you meant:\n     --b INT", "prog")
    'unknown: --a; perhaps you meant --b; see prog --help'
    """
    lines = [line.strip("│|").rstrip() for line in box.splitlines()[1:] if line.strip("│| ")]
    is_rule = [set(line.strip()) <= set("─-╰╯+ ") for line in lines]
    # Without Unicode, the title has a rule below.
    start = 1 if is_rule[:1] == [True] else 0
    lines, is_rule = lines[start:], is_rule[start:]
    first = lines[: is_rule.index(True)] if True in is_rule else lines
    rest = lines[len(first) :]
    # The least indented of the indented lines are names, the others their help.
    depths = [len(line) - len(line.lstrip()) for line in first]
    names = min((depth for depth in depths if depth > 2), default=0)
    kept = " ".join(line for line, depth in zip(first, depths, strict=True) if depth in (*range(3), names))
    message = " ".join(kept.split()).rstrip(".").removeprefix("Error parsing ")
    hints = [
        line.strip().replace("Available subcommands: ", "expected ") for line in rest if "subcommands" in line
    ]
    if any("erhaps you meant" in line for line in rest):
        meant = [match[0] for line in rest if (match := re.match(r"--[a-z][\w-]*", line.strip()))]
        hints.append(f"perhaps you meant {' or '.join([*dict.fromkeys(meant)][:3])}")
    return "; ".join([message[:1].lower() + message[1:], *hints, f"see {prog} --help"])


def check_range(
    flag: str,
    value: float,
    least: float,
    most: float = float("inf"),
    *,
    exclude: tuple[float, ...] = (),
) -> None:
    """Raises UserError if the value of a flag lies outside of [least, most] or is excluded."""
    if not least <= value <= most or value in exclude:
        opening, closing = ("(" if least in exclude else "["), (")" if most in exclude else "]")
        raise UserError(f"{flag} must be in {opening}{least:g}, {most:g}{closing}, got {value:g}")


def check_output(output: Path | None, flag: str = "--output") -> None:
    """Raises UserError if a file cannot be written there."""
    if output is not None and not output.parent.is_dir():
        raise UserError(f"{flag} {output}: the folder {output.parent} does not exist")


def print_any_name() -> None:
    """Lets what cannot be written in the terminal's encoding come out as question marks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


# Terminals of fewer columns than the first would hide columns of a table: they get lines of the second.
NARROW, ORDINARY = 60, 80


def print_table(console: Console, table: Table) -> None:
    """Prints all of a table; on a very narrow terminal its lines continue on the next."""
    if console.width < NARROW:
        console = make_console(file=console.file, width=ORDINARY, quiet=console.quiet)
    console.print(table)


class Progress:
    """Reports on the console it is given."""

    def __init__(self, console: Console):
        self._console = console

    def say(self, text: str) -> None:
        """One line."""
        say(self._console, text)

    @contextlib.contextmanager
    def counting(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with how many more of `total` things are done."""
        if not self._console.is_terminal:
            self.say(f"{name}: {total}")
            yield lambda more: None
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(plain(name), total=total)
            yield lambda more: bar.advance(task, more)

    @contextlib.contextmanager
    def epochs(self, name: str, done: int, total: int) -> Iterator[Callable[[int, str], None]]:
        """Yields a function to call with the number of each finished epoch and what was measured."""
        if not self._console.is_terminal:
            every = max(1, total // 10)

            def say_now_and_then(epoch: int, measured: str) -> None:
                if epoch % every == 0 or epoch == total:
                    self.say(f"{name}  epoch {epoch}/{total}  {measured}")

            yield say_now_and_then
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measured]}", markup=False),
        )
        with Bar(*columns, console=self._console) as bar:
            task = bar.add_task(plain(name), completed=done, total=total, measured="compiling")
            yield lambda epoch, measured: bar.update(task, completed=epoch, measured=measured)


# For callers that nobody watches.
QUIET = Progress(Console(quiet=True))
