"""The page of what things cost, from the measurements committed beside it."""

from pathlib import Path
from typing import Any

from experiments.runs import run_folder
from experiments.studies.bench import budgets
from experiments.studies.claims.report import markdown

RESULTS = Path(__file__).parents[2] / "results" / "bench"


def page() -> str:
    """The budgets, and the measurements behind them."""
    measured = run_folder.read_json(RESULTS / "all.json")
    provenance = measured["provenance"]
    history = budgets.read_history(RESULTS / "history.jsonl")
    previous = budgets.before(history[:-1], budgets.entry(measured, provenance))
    return f"""# Costs

Measured by commit {provenance["commit"]} with jax {provenance["jax"]} on {provenance["machine"]}
({provenance["device"]}) by `make bench`, which writes the files in this folder and this page.
Ratios are medians over blocks in which the two sides are timed in turn in one process, with quartiles;
compile time is apart. `before` is the last measurement on a machine of the same kind; all of them
are in `history.jsonl`.

## What is promised, and what was reached

{_table(budgets.HEADING, budgets.cells(budgets.rows(measured), previous))}
Where it falls short, and why:

- `normalized_focal` takes a power of the probability of every class, and with it two logarithms and two
  exponentials where cross-entropy takes one exponential; `bi_tempered` solves an equation for each example.
- `compare` compiles ten methods, and trains at the speed of the hour, as the history shows. The first epoch
  of `train` waits for imports, and with nothing compiled for the compiler too.
- On a CPU the small CNN is trained step by step, as the plain loop does it, for XLA is slow at convolutions
  within a loop: there is nothing to win, and gathering the batches on the device costs a little.

Times are those of two shared cores, which differ by a third from one hour to the next; ratios less so.

## Losses

Time of value and gradient on logits of shape [1024, 1000], over cross-entropy's.

{_losses(measured["losses"]["losses"])}
## Training steps

For the small CNN, batch 128: operations of the compiled program after XLA's optimization, a fused one
counting once. Those in branches run only where a branch is taken, such as the refit of OGC.

{_steps(measured["program"]["steps"])}
Temporary memory of OGC by the norms of per-example gradients, in megabytes:

{_memory(measured["ogc"]["memory"])}
Milliseconds of a step of the network without convolutions, cross-entropy:

{_axes(measured["training"]["milliseconds_per_step"])}"""


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
