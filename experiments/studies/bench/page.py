"""The page of what things cost, from the measurements committed beside it."""

from pathlib import Path
from typing import Any

from experiments.runs import run_folder
from experiments.studies import templates
from experiments.studies.bench import budgets
from experiments.studies.templates import markdown

RESULTS = Path(__file__).parents[2] / "results" / "bench"


def page() -> str:
    """The budgets, and the measurements behind them."""
    measured = run_folder.read_json(RESULTS / "all.json")
    provenance = measured["provenance"]
    history = budgets.read_history(RESULTS / "history.jsonl")
    previous = budgets.before(history[:-1], budgets.entry(measured, provenance))
    return templates.render(
        "costs.md.jinja",
        provenance=provenance,
        budgets_table=_table(budgets.HEADING, budgets.cells(budgets.rows(measured), previous)),
        losses=_losses(measured["losses"]["losses"]),
        steps=_steps(measured["program"]["steps"]),
        memory=_memory(measured["ogc"]["memory"]),
        axes=_axes(measured["training"]["milliseconds_per_step"]),
    )


def _table(heading: list[str], rows: list[list[str]]) -> str:
    return markdown([heading, ["---", *["---:"] * (len(heading) - 1)], *rows])


def _losses(losses: dict[str, Any]) -> str:
    rows = [
        [
            f"`{name}`",
            f"{timed['ratio']:.2f}",
            f"{timed['quartiles'][0]:.2f} to {timed['quartiles'][1]:.2f}",
            "reported" if timed["target"] is None else f"{timed['target']:g}",
        ]
        for name, timed in losses.items()
    ]
    return _table(["loss", "ratio", "quartiles", "at most"], rows)


def _steps(steps: dict[str, Any]) -> str:
    rows = [
        [f"`{method}`", str(step["every_step"]), str(step["in_branches_and_loops"])]
        for method, step in steps.items()
    ]
    return _table(["method", "operations every step", "in branches and loops"], rows)


def _memory(memory: dict[str, Any]) -> str:
    rows = [
        [name.replace("_", " "), f"{megabytes:g}"] for name, megabytes in memory.items() if name != "what"
    ]
    return _table(["way", "MB"], rows)


def _axes(axes: dict[str, dict[str, float]]) -> str:
    rows = [
        [axis, ", ".join(f"{size}: {milliseconds:g}" for size, milliseconds in sizes.items())]
        for axis, sizes in axes.items()
    ]
    return _table(["axis", "milliseconds"], rows)
