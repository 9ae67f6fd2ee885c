"""`report`: one HTML page of runs."""

from rich.console import Console

from experiments.commands.flags import Report
from experiments.pages.report import report
from experiments.terminal import Progress


def run(command: Report, console: Console) -> None:
    """Writes the page."""
    report(command.runs, command.output, command.examples, Progress(console))
