"""What `list presets` prints."""

import itertools

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from experiments.presets.preset import NOT_VERIFIED, Preset, cost, work
from experiments.terminal import print_table


def show(presets: list[Preset], console: Console, *, details: bool) -> None:
    """Prints the presets as a table, or with all that is known of each."""
    console.print(
        "`train --preset NAME` and `compare --preset NAME` start from these settings. More flags change a "
        "setting, for example --epochs 2 --dataset npz:small.npz. Noise and the order of the examples are "
        "drawn from our own keys, so that the seeds of a source mean nothing here.\n"
    )
    if details:
        _show_details(presets, console)
    else:
        print_table(console, _table(presets))


def _table(presets: list[Preset]) -> Table:
    printed = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    printed.add_column("preset", no_wrap=True)
    printed.add_column("network")
    printed.add_column("epochs", justify="right")
    printed.add_column("PFLOP", justify="right")
    printed.add_column("source's accuracy", justify="right")
    for preset in presets:
        experiment = preset.train.experiment
        expected = "unknown" if preset.expected == NOT_VERIFIED else preset.expected
        printed.add_row(
            preset.name,
            experiment.model.model,
            str(experiment.optimization.epochs),
            f"{work(preset.train) / 1e15:.0f}",
            expected,
        )
    printed.caption = "PFLOP: the work of the run, counted; `list presets --details` has papers and sources"
    return printed


def _show_details(presets: list[Preset], console: Console) -> None:
    for family, alike in itertools.groupby(presets, lambda preset: preset.name.rpartition("-")[0]):
        members = list(alike)
        first = members[0]
        console.print(Text(family, style="bold"))
        for line in (
            first.paper,
            f"Read in {first.source}.",
            f"Cost: {cost(first.train)}.",
            f"Differs: {first.differs}",
            f"Accuracy in the source: {first.headline}.",
        ):
            console.print(Padding(Text(line), (0, 0, 0, 4)))
        for preset in members:
            command = f"python -m experiments train --preset {preset.name}"
            console.print(Text(f"{preset.expected:<12}  ", style="green").append(command, style="default"))
            if preset.labels is not None:
                console.print(f"{'':<14}published labels: {preset.labels.file}", highlight=False)
        console.print()
