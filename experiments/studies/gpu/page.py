"""The page of what a GPU gave: README.md beside results.jsonl."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.runs import run_folder
from experiments.studies.claims.report import markdown
from experiments.studies.gpu import results

FILE = "README.md"
LAST_EPOCHS = 5
RESULTS = Path(__file__).parent.parent.parent / "results" / "gpu"


def write(folder: Path) -> None:
    """Makes the page anew from what the folder holds."""
    run_folder.write_text(folder / FILE, page(results.read(folder)))


def page(measured: list[dict[str, Any]]) -> str:
    """All results as Markdown."""
    parts = ["# On a GPU", *_machines(measured)]
    by_kind = {kind: [r for r in measured if r["kind"] == kind] for kind in ("speed", "run", "published")}
    if by_kind["speed"]:
        parts += ["## Speed", speed_table(by_kind["speed"])]
    if by_kind["run"]:
        parts += ["## The speed-run network on noisy CIFAR-10", *_matrix(by_kind["run"])]
    if by_kind["published"]:
        parts += ["## A published setting", _published(by_kind["published"][-1])]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _machines(measured: list[dict[str, Any]]) -> Iterable[str]:
    found = {(p["device"], p["commit"], p["jax"], p["machine"]) for p in (r["provenance"] for r in measured)}
    for device, commit, jax, machine in sorted(found):
        yield f"Measured on {device} ({machine}) by commit {commit} with jax {jax}."
    if not found:
        yield "Nothing has been measured yet."


def speed_table(measured: list[dict[str, Any]]) -> str:
    """Images per second in training, ours and PyTorch's, and the memory of both."""
    rows = [
        [
            "network",
            "precision",
            "method",
            "images/s",
            "PyTorch",
            "our time / PyTorch's",
            "memory",
            "PyTorch",
        ],
        ["---"] * 3 + ["---:"] * 5,
    ]
    for result in measured:
        ours, theirs = result["images_per_second"]
        low, high = result.get("quartiles", (None, None))
        ratio = "" if theirs is None else f"{result['ratio']:.2f} ({low:.2f} to {high:.2f})"
        rows.append(
            [
                result["network"],
                result["precision"],
                f"`{result['method']}`",
                f"{ours:,}",
                "" if theirs is None else f"{theirs:,}",
                ratio,
                *map(_gigabytes, result["bytes"]),
            ]
        )
    explained = (
        "Images per second in training, data augmentation and optimizer included. PyTorch's loop trains\n"
        "with cross-entropy in every row. The ratio is the median over blocks in which both are timed in\n"
        "turn, with quartiles. Memory is what XLA plans for the epoch, and the peak of PyTorch."
    )
    return f"{explained}\n\n{markdown(rows)}"


def _gigabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e9:.2f} GB"


def _matrix(measured: list[dict[str, Any]]) -> Iterable[str]:
    yield (
        f"Test accuracy in percent, mean of the last {LAST_EPOCHS} epochs. In brackets: the best epoch, "
        "which an\noracle would choose, and the percentage of the wrong labels that the network reproduces "
        "at the end.\nOne seed unless it says otherwise."
    )
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for result in measured:
        setting = tuple(result[key] for key in ("epochs", "examples", "width", "batch_size", "precision"))
        groups.setdefault(setting, []).append(result)
    for (epochs, examples, width, batch_size, precision), group in groups.items():
        seconds = np.median([r["seconds"] / (r["epochs"] * r["gradients"]) for r in group])
        yield (
            f"Runs of {epochs} epochs of {examples:,} pictures, width {width}, batches of {batch_size}, "
            f"{precision}; {seconds:.2f} s an epoch and gradient, evaluation included:"
        )
        yield matrix_table(group)


def matrix_table(measured: list[dict[str, Any]]) -> str:
    """Methods by label sets."""
    columns = list(dict.fromkeys(result["labels"] for result in measured))
    wrong = {result["labels"]: result["wrong_labels"] for result in measured}
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in measured:
        cells.setdefault((result["method"], result["labels"]), []).append(result)
    rows = [
        ["method", *(f"{labels} ({100 * wrong[labels]:.0f} % wrong)" for labels in columns)],
        ["---"] + ["---:"] * len(columns),
    ]
    for method in dict.fromkeys(result["method"] for result in measured):
        rows.append([f"`{method}`", *(_cell(cells.get((method, labels), [])) for labels in columns)])
    return markdown(rows)


def _cell(seeds: list[dict[str, Any]]) -> str:
    if not seeds:
        return ""
    accuracies = [result["test_accuracy"] for result in seeds]
    last = 100 * np.array([np.mean(curve[-LAST_EPOCHS:]) for curve in accuracies])
    best = 100 * np.mean([np.max(curve) for curve in accuracies])
    memorised = 100 * np.mean([result["memorised"][-1] for result in seeds])
    spread = f" ± {np.std(last, ddof=1):.2f}, {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"{np.mean(last):.2f}{spread} ({best:.2f}; {memorised:.0f})"


def _published(result: dict[str, Any]) -> str:
    curve = result["test_accuracy"]
    return (
        f"`train --preset {result['preset']}` in {result['precision']}: {result['epochs']} of "
        f"{result['of_epochs']} epochs; test accuracy {100 * curve[-1]:.2f} % in the last one, "
        f"{100 * max(curve):.2f} % in the best."
    )
