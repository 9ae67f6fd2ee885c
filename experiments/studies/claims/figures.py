"""The pictures of claims: accuracy over classes, and lines over epochs."""

from pathlib import Path
from typing import Any

import matplotlib.figure

from experiments.pages import drawing


def many_classes(accuracies: dict[str, dict[str, Any]], path: Path) -> None:
    """Accuracy against the number of classes, a line for each loss, one standard deviation around it."""
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    counts = [int(num_classes) for num_classes in accuracies]
    for name in next(iter(accuracies.values())):
        mean, sd = ([100 * own[name][key] for own in accuracies.values()] for key in ("mean", "sd"))
        axes.errorbar(counts, mean, sd, marker="o", capsize=3, label=name)
    axes.set(xscale="log", xlabel="classes", ylabel="test accuracy in %", ylim=(0, 100))
    axes.set_xticks(counts, map(str, counts))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", frameon=False)
    drawing.save(figure, path)


def epochs(panels: dict[str, dict[str, list[float]]], ylabel: str, path: Path, scale: str = "linear") -> None:
    """Lines over epochs, by their labels, in a panel for each title."""
    figure = matplotlib.figure.Figure(figsize=(4.6 * len(panels) + 1.8, 4.2), layout="constrained")
    subplots = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, lines) in zip(subplots, panels.items(), strict=True):
        for label, values in lines.items():
            axes.plot(range(1, len(values) + 1), values, label=label, linewidth=1.6)
        axes.set(title=title, xlabel="epoch", yscale=scale)
        axes.grid(alpha=0.3)
    subplots[0].set_ylabel(ylabel)
    figure.legend(*subplots[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    drawing.save(figure, path)
