"""What `presets` prints."""

import itertools

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from experiments.presets.preset import Preset, cost


def show(presets: list[Preset], console: Console) -> None:
    """Prints the presets, those alike but for the noise together."""
    console.print(
        "Test accuracy expected, where a source could be read, and the command. More flags change the "
        "setting, e.g. --epochs 2 --dataset npz:small.npz. All draw the noise and the order of the examples "
        "from keys of our own: seeds of a source mean nothing here.\n"
    )
    for family, alike in itertools.groupby(presets, lambda preset: preset.name.rpartition("-")[0]):
        members = list(alike)
        first = members[0]
        console.print(Text(family, style="bold"))
        for line in (
            first.paper,
            f"Read in {first.source}.",
            f"Cost: {cost(first.train)}.",
            f"Differs: {first.differs}",
        ):
            console.print(Padding(Text(line), (0, 0, 0, 4)))
        for preset in members:
            command = f"python -m experiments train --preset {preset.name}"
            console.print(Text(f"{preset.expected:<12}  ", style="green").append(command, style="default"))
        console.print()
