"""The promises about speed, memory and start-up, and what was measured of each."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.bench import commands, losses, ogc, program, sharpness, startup, throughput
from experiments.errors import UserError

PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "ogc": ogc.measure,
    "sharpness": sharpness.measure,
    "losses": losses.measure,
    "training": throughput.measure,
    "program": program.measure,
    "startup": startup.measure,
    "commands": commands.measure,
}


class Row(NamedTuple):
    """One promise: what is measured and what came of it.

    Attributes:
      reach: the most it may be; None: reported only.
      quartiles: over the blocks of a ratio.
    """

    what: str
    reach: float | None
    reached: float
    quartiles: tuple[float, float] | None = None

    @property
    def kept(self) -> bool:
        """Whether it is within what was promised."""
        return self.reach is None or self.reached <= self.reach


def measure(blocks: int, console: Console) -> dict[str, Any]:
    """Every part, one after the other."""
    measured = {}
    for name, part in PARTS.items():
        with console.status(f"measuring {name}"):
            measured[name] = part(blocks)
        console.print(f"measured {name}", highlight=False)
    return measured


def rows(measured: dict[str, Any]) -> list[Row]:
    """The table of budgets."""

    def ratio(what: str, timed: dict[str, Any], reach: float | None) -> Row:
        return Row(what, reach, timed["ratio"], tuple(timed["quartiles"]))

    def dearest(what: str, target: float | None) -> Row:
        group = {name: timed for name, timed in of_losses.items() if timed["target"] == target}
        name = max(group, key=lambda name: group[name]["ratio"])
        return ratio(f"{what} / cross-entropy, the dearest: {name}", group[name], target)

    of_ogc, of_losses = measured["ogc"], measured["losses"]["losses"]
    memory, whole = of_ogc["memory"], measured["commands"]
    first = measured["startup"]["first_epoch"]
    compiled = measured["program"]
    recompiled = max(sum(counts[1:]) for counts in compiled["compilations"].values())
    donated = [step["share_of_state_donated"] for step in compiled["steps"].values()]
    loops = measured["training"]["epoch_over_plain_loop"]
    return [
        ratio(
            "OGC training step / cross-entropy's, CNN, batch 128", of_ogc["step"], of_ogc["step"]["target"]
        ),
        ratio(
            "threshold refit, queue of 4096 / scikit-learn and SciPy",
            of_ogc["refit"],
            of_ogc["refit"]["target"],
        ),
        ratio("SANER step / SGD step", measured["sharpness"]["saner_over_sgd"], 2.05),
        ratio("SANER step / SAM step", measured["sharpness"]["saner_over_sam"], 1.02),
        dearest("loss of p alone, [1024, 1000] logits", 1.5),
        dearest("loss of all classes", 2.5),
        dearest("other loss", None),
        Row(
            "per-example OGC in chunks of 8: memory at batch 512 / at batch 128",
            1.05,
            round(memory["chunk_8_batch_512"] / memory["chunk_8"], 3),
        ),
        Row(
            "per-example OGC in chunks of 8: memory / batch x parameters",
            1.0,
            round(memory["chunk_8"] / memory["batch_times_parameters"], 3),
        ),
        Row("`compare`, ten methods, 3 seeds, 100 epochs: seconds", 90, whole["compare"]["nothing_compiled"]),
        Row("the same with compiled programs at hand: seconds", 90, whole["compare"]["compiled_before"]),
        Row(
            "arrays that differ after a kill and a resumption",
            0,
            whole["killed_and_resumed"]["arrays_that_differ"],
        ),
        Row("`train` on digits until its first epoch is written: seconds", 5, first["nothing_compiled"]),
        Row("the same with compiled programs at hand: seconds", 5, first["compiled_before"]),
        ratio("import noisy_optax / import optax", measured["startup"]["import"], 1.2),
        Row("compilations after the first epoch, most of any method", 0, recompiled),
        Row("share of the training state that is not written in place", 0, round(1 - min(donated), 4)),
        *(ratio(f"an epoch / a plain loop's, {name}", timed, 1.0) for name, timed in loops.items()),
    ]


def entry(measured: dict[str, Any], provenance: dict[str, Any]) -> dict[str, Any]:
    """A line of the history."""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": provenance["commit"],
        "machine": provenance["machine"],
        "device": provenance["device"],
        "rows": {row.what: row.reached for row in rows(measured)},
    }


def read_history(path: Path) -> list[dict[str, Any]]:
    """What was measured before, oldest first; nothing if there is no such file."""
    lines = path.read_text().splitlines() if path.exists() else []
    try:
        entries = [json.loads(line) for line in lines]
        for line in entries:
            _ = line["machine"], line["device"], line["commit"], line["rows"].get
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"--history {path}: expected lines that `bench all` has written ({error}); name another file"
        ) from error
    return entries


def append_history(path: Path, line: dict[str, Any]) -> None:
    """Adds a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def before(history: list[dict[str, Any]], line: dict[str, Any]) -> dict[str, Any] | None:
    """The last entry of a machine of the same kind, if there is one."""
    same = [old for old in history if (old["machine"], old["device"]) == (line["machine"], line["device"])]
    return same[-1] if same else None


def table(measured: list[Row], old: dict[str, Any] | None) -> Table:
    """For the terminal: each promise, what was reached, and what it was last time on such a machine."""
    shown = Table(box=box.SIMPLE_HEAD)
    for number, name in enumerate(HEADING):
        shown.add_column(name, justify="right" if 0 < number < len(HEADING) - 1 else "left")
    for row, texts in zip(measured, cells(measured, old), strict=True):
        shown.add_row(*texts, style=None if row.kept else "bold")
    return shown


HEADING = ["what", "at most", "reached", "quartiles", "before", ""]


def cells(measured: list[Row], old: dict[str, Any] | None) -> list[list[str]]:
    """The rows as text, under `HEADING`."""
    was = {} if old is None else old["rows"]
    return [
        [
            row.what,
            "reported" if row.reach is None else f"{row.reach:g}",
            f"{row.reached:g}",
            "" if row.quartiles is None else f"{row.quartiles[0]:g} to {row.quartiles[1]:g}",
            f"{was[row.what]:g}" if row.what in was else "",
            "" if row.kept else "MISSED",
        ]
        for row in measured
    ]
