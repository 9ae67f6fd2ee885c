"""What a person at a terminal is told: progress, as a bar or as plain lines, and errors."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from experiments.training import metrics


class UserError(Exception):
    """Something the user can mend: the message says what was expected, what came and what to do."""


class Stopped(Exception):
    """The time that the user gave is over, and what was done is saved; the message says how to go on."""


def one_line(error: Exception) -> str:
    """What another library says, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


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


class Progress:
    """Reports on the console it is given."""

    def __init__(self, console: Console):
        self._console = console

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def counting(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with how many more of `total` things are done."""
        if not self._console.is_terminal:
            self.say(f"{name}: {total}")
            yield lambda more: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(name, total=total)
            yield lambda more: bar.advance(task, more)

    @contextlib.contextmanager
    def epochs(self, name: str, done: int, total: int) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Yields a function to call with the metrics of each finished epoch."""
        if not self._console.is_terminal:
            every = max(1, total // 10)

            def say_now_and_then(measured: dict[str, Any]) -> None:
                if measured["epoch"] % every == 0 or measured["epoch"] == total:
                    self.say(f"{name}  epoch {measured['epoch']}/{total}  {_describe(measured)}")

            yield say_now_and_then
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measured]}"),
        )
        with Bar(*columns, console=self._console) as bar:
            task = bar.add_task(name, completed=done, total=total, measured="compiling")
            yield lambda measured: bar.update(task, completed=measured["epoch"], measured=_describe(measured))


def _describe(measured: dict[str, Any]) -> str:
    name = metrics.headline(measured)
    loss, accuracy = np.mean(measured["train_loss"]), np.mean(measured[name])
    return f"loss {loss:.3f}  {name.replace('_', ' ')} {accuracy:.1%}"


# For callers that nobody watches.
QUIET = Progress(Console(quiet=True))
