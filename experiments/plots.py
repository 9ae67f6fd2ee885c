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


def groups(history: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """SANER's groups of gradient components over the epochs of a run: how many, and what they fit."""
    panels = [("group", "share of the components")]
    if "fitting_ratio_b" in history[-1]:
        panels.append(("fitting_ratio", "fitting of wrong over right labels, median"))
    figure = matplotlib.figure.Figure(figsize=(6 * len(panels), 3.6), layout="constrained")
    figure.suptitle(title)
    for axes, (name, heading) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for group, meaning in (("a", "A, r > 1"), ("b", "B, 0 < r < 1"), ("c", "C, r < 0")):
            values = [epoch[f"{name}_{group}"] for epoch in history]
            if name == "group":
                _band(axes, values, meaning)
            else:
                # A quotient of small numbers: its mean and range over seeds would show outliers only.
                epochs = np.arange(1, len(history) + 1)
                axes.plot(epochs, np.median(np.asarray(values, float), axis=1), label=meaning, linewidth=1.6)
                axes.grid(alpha=0.3)
        axes.set(title=heading, xlabel="epoch", ylim=(0, 1.01) if name == "group" else (-2, 10))
        axes.legend(loc="best", frameon=False)
    _save(figure, path)


def threshold(history: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """Where optimized gradient clipping clips, and the mixture behind it, over the epochs of a run."""
    figure = matplotlib.figure.Figure(figsize=(12, 3.6), layout="constrained")
    clipped, slope, mixture = figure.subplots(1, 3)
    figure.suptitle(title)
    _band(clipped, [epoch["probability_threshold"] for epoch in history], "threshold")
    clipped.set(title="probability below which is clipped", xlabel="epoch", ylim=(0, 1.01))
    _band(slope, [epoch["tau"] for epoch in history], "tau")
    slope.set(title="largest slope left, tau", xlabel="epoch", yscale="log")
    for component, label in enumerate(("clean", "noisy")):
        _band(mixture, [np.asarray(epoch["mixture_means"])[:, component] for epoch in history], label)
    mixture.set(title="mean loss of the two components", xlabel="epoch", ylabel="-log p", ylim=(0, None))
    mixture.legend(loc="best", frameon=False)
    _save(figure, path)


def mixture(
    losses: np.ndarray, valid: np.ndarray, measured: dict[str, Any], path: Path, *, title: str
) -> None:
    """The losses in the queue of a run's first seed at its end, with the mixture fitted to them.

    Args:
      losses: H = -log p, `[seeds, queue]`.
      valid: `[seeds, queue]`.
      measured: the last epoch's metrics.
      path: of the PNG file.
      title: above the figure.
    """
    shown = losses[0][valid[0]]
    means, variances, weights = (
        np.asarray(measured[f"mixture_{name}"])[0] for name in ("means", "variances", "weights")
    )
    figure = matplotlib.figure.Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(title)
    bins = np.linspace(0, max(shown.max(initial=0), 1e-3) * 1.02, 60)
    axes.hist(shown, bins.tolist(), density=True, color="0.8", label=f"{len(shown)} latest examples")
    grid = np.linspace(bins[0], bins[-1], 500)
    fitted = zip(means, variances, weights, ("clean", "noisy"), strict=True) if np.ptp(means) else ()
    for mean, variance, weight, label in fitted:
        density = weight * np.exp(-((grid - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        axes.plot(grid, density, label=f"{label}, weight {weight:.2f}")
    threshold = -np.log(np.asarray(measured["probability_threshold"])[0])
    if threshold <= bins[-1]:
        axes.axvline(threshold, color="black", linestyle=":", label="clipped beyond")
    # The clean component's peak is often so narrow that the rest would vanish on a linear scale.
    axes.set(xlabel="-log p of the given label", ylabel="density", yscale="log", ylim=(1e-3, None))
    axes.legend(loc="best", frameon=False)
    _save(figure, path)


def losses(curves: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path) -> None:
    """Each loss and its slope against the label's probability, a panel each.

    Args:
      curves: by name, probabilities, values and minus the slopes there.
      path: of the PNG file.
    """
    columns = 5
    rows = -(-len(curves) // columns)
    figure = matplotlib.figure.Figure(figsize=(3.1 * columns, 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True).ravel()
    for axes, (name, (probability, values, slopes)) in zip(panels, curves.items(), strict=False):
        axes.plot(probability, values, label="value")
        axes.plot(probability, slopes, "--", label="minus the slope")
        # What is near p = 0 would flatten the rest.
        shown = probability > 0.05
        highest = max(values[shown].max(), min(slopes[shown].max(), 3 * values[shown].max()))
        axes.set_ylim(min(0, slopes[shown].min()), 1.05 * highest)
        axes.set_title(name.replace("_", " "), fontsize="small", wrap=True)
        axes.grid(alpha=0.3)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    figure.supxlabel("probability of the given label; nine other classes share the rest", fontsize="medium")
    _save(figure, path)


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
    _save(figure, path)


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
