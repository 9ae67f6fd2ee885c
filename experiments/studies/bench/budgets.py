"""The promises about speed, memory and start-up, and what was measured of each."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.runs import run_folder
from experiments.studies.bench import commands, losses, memory, ogc, program, sharpness, startup, throughput
from experiments.terminal import UserError

PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "ogc": ogc.measure,
    "sharpness": sharpness.measure,
    "memory": memory.measure,
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


def run(what: str, blocks: int, history: Path, console: Console) -> dict[str, Any]:
    """Measures and shows one part, or all of them, which adds a line to the history."""
    # Before anything is written, which may change the working tree.
    provenance = run_folder.provenance()
    if what != "all":
        measured = {"bench": what, **PARTS[what](blocks), "provenance": provenance}
        print(run_folder.as_json(measured))
        return measured
    earlier = read_history(history)
    measured = {**measure(blocks, console), "provenance": provenance}
    line = entry(measured, provenance)
    console.print(table(rows(measured), before(earlier, line)))
    append_history(history, line)
    console.print(f"history {history}", markup=False, highlight=False, soft_wrap=True)
    return measured


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
    return [*_step_rows(measured), *_loss_rows(measured), *_memory_rows(measured), *_program_rows(measured)]


def _ratio(what: str, timed: dict[str, Any], reach: float | None = None) -> Row:
    return Row(what, timed.get("target", reach), timed["ratio"], tuple(timed["quartiles"]))


def _step_rows(measured: dict[str, Any]) -> list[Row]:
    return [
        _ratio("OGC step / cross-entropy step", measured["ogc"]["step"]),
        _ratio("threshold refit / scikit-learn + SciPy", measured["ogc"]["refit"]),
        _ratio("SANER step / SGD step", measured["sharpness"]["saner_over_sgd"]),
        _ratio("SANER step / SAM step", measured["sharpness"]["saner_over_sam"]),
        *(
            _ratio(f"{name} step / cross-entropy step, {network}", timed)
            for network, steps in measured["memory"]["step_over_cross_entropy"].items()
            for name, timed in steps.items()
        ),
    ]


def _loss_rows(measured: dict[str, Any]) -> list[Row]:
    """What is slowest to build, and the slowest loss of each kind."""
    losses, building = measured["losses"]["losses"], measured["startup"]["factories"]["milliseconds"]
    last = max(building, key=lambda name: building[name])
    found = [Row(f"building a loss or transformation, ms: {last}", 20, building[last])]
    for what, target in (("loss of p alone", 1.5), ("loss of all classes", 2.5), ("other loss", None)):
        group = {name: timed for name, timed in losses.items() if timed["target"] == target}
        name = max(group, key=lambda name: group[name]["ratio"])
        found.append(_ratio(f"slowest {what} / cross-entropy: {name}", group[name]))
    return found


def _memory_rows(measured: dict[str, Any]) -> list[Row]:
    megabytes = measured["ogc"]["memory"]
    by_batch = megabytes["chunk_8_batch_512"] / megabytes["chunk_8"]
    by_size = megabytes["chunk_8"] / megabytes["batch_times_parameters"]
    return [
        Row("memory of per-example OGC, batch 512 / 128", 1.05, round(by_batch, 3)),
        Row("memory of per-example OGC / batch x params", 1.0, round(by_size, 3)),
    ]


def _program_rows(measured: dict[str, Any]) -> list[Row]:
    """Commands, start-up, and what is compiled."""
    commands, startup, program = measured["commands"], measured["startup"], measured["program"]
    differing = commands["killed_and_resumed"]["arrays_that_differ"]
    recompiled = max(sum(counts[1:]) for counts in program["compilations"].values())
    donated = min(step["share_of_state_donated"] for step in program["steps"].values())
    return [
        Row("`compare`, seconds", 90, commands["compare"]["nothing_compiled"]),
        Row("`compare` once compiled, seconds", 90, commands["compare"]["compiled_before"]),
        Row("arrays that differ after kill and resume", 0, differing),
        Row("first epoch of `train`, seconds", 5, startup["first_epoch"]["nothing_compiled"]),
        Row("first epoch once compiled, seconds", 5, startup["first_epoch"]["compiled_before"]),
        _ratio("import noisy_optax / import optax", startup["import"], 1.2),
        Row("compilations after the first epoch", 0, recompiled),
        Row("share of the state that is copied", 0, round(1 - donated, 4)),
        *(
            _ratio(f"epoch / plain loop, {name}", timed, 1.0)
            for name, timed in measured["training"]["epoch_over_plain_loop"].items()
        ),
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
    run_folder.append_line(path, line)


def before(history: list[dict[str, Any]], line: dict[str, Any]) -> dict[str, Any] | None:
    """The last entry of a machine of the same kind, if there is one."""
    same = [old for old in history if (old["machine"], old["device"]) == (line["machine"], line["device"])]
    return same[-1] if same else None


def table(measured: list[Row], old: dict[str, Any] | None) -> Table:
    """For the terminal: each promise, what was reached, and what it was last time on such a machine."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
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
            f"{row.reached:.4g}",
            "" if row.quartiles is None else f"{row.quartiles[0]:.3g} to {row.quartiles[1]:.3g}",
            f"{was[row.what]:.4g}" if row.what in was else "",
            "" if row.kept else "MISSED",
        ]
        for row in measured
    ]
