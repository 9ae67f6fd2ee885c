"""Figures of runs, as PNG files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes

_TRAIN_CURVES = {
    "train_accuracy": "given labels",
    "train_clean_accuracy": "clean labels",
    "memorised": "wrong labels reproduced",
}
_HELD_OUT_CURVES = {"test_accuracy": "test", "validation_accuracy": "validation, given labels"}


def curves(history: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """Loss and accuracies of one run over its epochs, mean and range over seeds."""
    figure = matplotlib.figure.Figure(figsize=(12, 3.6), layout="constrained")
    loss, train, held_out = figure.subplots(1, 3)
    figure.suptitle(title)
    _band(loss, [epoch["train_loss"] for epoch in history], "loss")
    loss.set(title="training loss", xlabel="epoch", ylim=(0, None))
    for axes, names, heading in (
        (train, _TRAIN_CURVES, "on the training batches"),
        (held_out, _HELD_OUT_CURVES, "on held-out examples"),
    ):
        for name, label in names.items():
            if name in history[-1]:
                _band(axes, [epoch[name] for epoch in history], label)
        axes.set(title=heading, xlabel="epoch", ylabel="accuracy", ylim=(0, 1.01))
        if axes.lines:
            axes.legend(loc="best", frameon=False)
        else:
            axes.set_visible(False)
    _save(figure, path)


def comparison(histories: dict[str, list[dict[str, Any]]], name: str, path: Path, *, title: str) -> None:
    """Accuracy of several methods over the epochs, and the share of wrong labels they memorise."""
    memorised = {method: h for method, h in histories.items() if "memorised" in h[-1]}
    panels = [(name, histories), *([("memorised", memorised)] if memorised else [])]
    figure = matplotlib.figure.Figure(figsize=(6.4 * len(panels), 4.2), layout="constrained")
    figure.suptitle(title)
    for axes, (metric, shown) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for method, history in shown.items():
            _band(axes, [epoch[metric] for epoch in history], method)
        label = "wrong training labels reproduced" if metric == "memorised" else metric.replace("_", " ")
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, 1.01))
    axes.legend(loc="best", frameon=False, fontsize="small")
    _save(figure, path)


def _band(axes: Axes, values: Iterable[Iterable[float | None]], label: str) -> None:
    """Mean over seeds as a line, lowest to highest seed as a band."""
    table = np.asarray(list(values), float)
    epochs = np.arange(1, len(table) + 1)
    (line,) = axes.plot(epochs, table.mean(axis=1), label=label, linewidth=1.6)
    axes.fill_between(
        epochs, table.min(axis=1), table.max(axis=1), color=line.get_color(), alpha=0.2, linewidth=0
    )
    axes.grid(alpha=0.3)


def _save(figure: matplotlib.figure.Figure, path: Path) -> None:
    unfinished = path.with_suffix(".unfinished.png")
    figure.savefig(unfinished, dpi=120)
    unfinished.replace(path)
