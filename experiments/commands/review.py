"""`review`: a page to decide on suspicious labels in a browser."""

from rich.console import Console

from experiments.commands.flags import Review
from experiments.pages.review import review
from experiments.terminal import Progress


def run(command: Review, console: Console) -> None:
    """Writes the page."""
    review(command.run, command.output, command.examples, Progress(console))
