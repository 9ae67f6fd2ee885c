"""`prepare`: a TensorFlow data set, written so that training needs no TensorFlow."""

from rich.console import Console

from experiments.commands.flags import Prepare
from experiments.data import tfds_sets
from experiments.terminal import Progress


def run(command: Prepare, console: Console) -> None:
    """Downloads the data set and writes it."""
    tfds_sets.prepare(command.name.removeprefix("tfds:"), command.data_dir, Progress(console))
