"""Figures of runs: panels, side by side in a PNG file or each for itself in a page."""

import html
import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.figure
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes

from experiments.pages import drawing
from experiments.pages.drawing import as_it_is

# Draws on axes of its own.
Panel = Callable[[Axes], object]
History = list[dict[str, Any]]

# Okabe and Ito's colours, which colour-blind people can tell apart, without black and yellow: one would
# vanish on a dark page, the other on a light one.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

_TRAIN_CURVES = {
    "train_accuracy": "given labels",
    "train_clean_accuracy": "clean labels",
    "memorised": "wrong labels reproduced",
}
_HELD_OUT_CURVES = {"test_accuracy": "test", "validation_accuracy": "validation, given labels"}


def curves(history: History, path: Path, *, title: str) -> None:
    """Loss and accuracies of one run over its epochs, mean and range over seeds."""
    drawing.save(_side_by_side(curve_panels(history), (4, 3.6), title), path)


def curve_panels(history: History) -> list[Panel]:
    """The panels of `curves`."""

    def loss(axes):
        _band(axes, [epoch["train_loss"] for epoch in history], "loss")
        axes.set(title="training loss", xlabel="epoch", ylim=(0, None))

    def accuracies(axes, names, heading):
        for name, label in names.items():
            if name in history[-1]:
                _band(axes, [epoch[name] for epoch in history], label)
        axes.set(title=heading, xlabel="epoch", ylabel="accuracy", ylim=(0, 1.01))
        axes.legend(loc="best", frameon=False)

    panels = [loss, lambda axes: accuracies(axes, _TRAIN_CURVES, "on the training batches")]
    if _HELD_OUT_CURVES.keys() & history[-1].keys():
        panels.append(lambda axes: accuracies(axes, _HELD_OUT_CURVES, "on held-out examples"))
    return panels


def comparison(histories: dict[str, History], name: str, path: Path, *, title: str) -> None:
    """Accuracy of several methods over the epochs, and the share of wrong labels they memorise."""
    memorised = {method: h for method, h in histories.items() if "memorised" in h[-1]}
    panels = [overlay(histories, name), *([overlay(memorised, "memorised")] if memorised else [])]
    figure = _side_by_side(panels, (6.4, 4.2), title)
    figure.axes[-1].legend(loc="best", frameon=False, fontsize="small")
    drawing.save(figure, path)


def overlay(
    histories: dict[str, History], metric: str, styles: dict[str, dict[str, str]] | None = None
) -> Panel:
    """One metric of several runs, each in its style, if they have styles."""

    def draw(axes):
        for name, history in histories.items():
            _band(axes, [epoch[metric] for epoch in history], as_it_is(name), **(styles or {}).get(name, {}))
        label = "wrong training labels reproduced" if metric == "memorised" else metric.replace("_", " ")
        axes.set(xlabel="epoch", ylabel=label, ylim=(0, 1.01))

    return draw


def groups(history: History, path: Path, *, title: str) -> None:
    """SANER's groups of gradient components over the epochs of a run: how many, and what they fit."""
    drawing.save(_side_by_side(group_panels(history), (6, 3.6), title), path)


def group_panels(history: History) -> list[Panel]:
    """The panels of `groups`."""
    meanings = (("a", "A, r > 1"), ("b", "B, 0 < r < 1"), ("c", "C, r < 0"))

    def shares(axes):
        for group, meaning in meanings:
            _band(axes, [epoch[f"group_{group}"] for epoch in history], meaning)
        axes.set(title="share of the components", xlabel="epoch", ylim=(0, 1.01))
        axes.legend(loc="best", frameon=False)

    def ratios(axes):
        epochs = np.arange(1, len(history) + 1)
        for group, meaning in meanings:
            # A quotient of small numbers: its mean and range over seeds would show outliers only.
            values = np.asarray([epoch[f"fitting_ratio_{group}"] for epoch in history], float)
            axes.plot(epochs, np.median(values, axis=1), label=meaning, linewidth=1.6)
        axes.grid(alpha=0.3)
        axes.set(title="fitting of wrong over right labels, median", xlabel="epoch", ylim=(-2, 10))
        axes.legend(loc="best", frameon=False)

    return [shares, ratios] if "fitting_ratio_b" in history[-1] else [shares]


def threshold(history: History, path: Path, *, title: str) -> None:
    """Where optimized gradient clipping clips, and the mixture behind it, over the epochs of a run."""
    drawing.save(_side_by_side(threshold_panels(history), (4, 3.6), title), path)


def threshold_panels(history: History) -> list[Panel]:
    """The panels of `threshold`."""

    def clipped(axes):
        _band(axes, [epoch["probability_threshold"] for epoch in history], "threshold")
        axes.set(title="probability below which is clipped", xlabel="epoch", ylim=(0, 1.01))

    def slope(axes):
        taus = np.asarray([epoch["tau"] for epoch in history], float)
        _band(axes, taus, "tau")
        scale = "log" if (taus > 0).any() else "linear"
        axes.set(title="largest slope left, tau", xlabel="epoch", yscale=scale)

    def means(axes):
        for component, label in enumerate(("clean", "noisy")):
            _band(axes, [np.asarray(epoch["mixture_means"])[:, component] for epoch in history], label)
        axes.set(title="mean loss of the two components", xlabel="epoch", ylabel="-log p", ylim=(0, None))
        axes.legend(loc="best", frameon=False)

    return [clipped, slope, means]


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
    drawing.save(_side_by_side([mixture_panel(losses, valid, measured)], (6.4, 4.2), title), path)


def mixture_panel(losses: np.ndarray, valid: np.ndarray, measured: dict[str, Any]) -> Panel:
    """The panel of `mixture`."""
    # A run that diverged may have none that is a number.
    shown = losses[0][valid[0] & np.isfinite(losses[0])]
    means, variances, weights = (
        np.asarray(measured[f"mixture_{name}"], float)[0] for name in ("means", "variances", "weights")
    )
    threshold = -np.log(np.asarray(measured["probability_threshold"], float)[0])

    def draw(axes):
        axes.set_title("latest losses of the first seed")
        bins = np.linspace(0, max(shown.max(initial=0), 1e-3) * 1.02, 60)
        label = f"{len(shown)} latest examples"
        # The density of nothing is no number.
        counted = {"density": len(shown) > 0, "color": "0.5", "alpha": 0.4, "label": label}
        heights, _, _ = axes.hist(shown, bins.tolist(), **counted)
        grid = np.linspace(bins[0], bins[-1], 500)
        # Without a fit, the means are equal or are not numbers.
        is_fitted = np.ptp(means) > 0 and np.isfinite([means, variances, weights]).all()
        fitted = zip(means, variances, weights, ("clean", "noisy"), strict=True) if is_fitted else ()
        for mean, variance, weight, label in fitted:
            density = weight * np.exp(-((grid - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            axes.plot(grid, density, label=f"{label}, weight {weight:.2f}")
        if threshold <= bins[-1]:
            axes.axvline(threshold, color="black", linestyle=":", label="clipped beyond")
        # The clean component's peak is often so narrow that the rest would vanish on a linear scale, and so
        # high that it would squeeze the histogram on any.
        axes.set_ylim(1e-3, 10 * max(np.max(heights), 1))
        axes.set(xlabel="-log p of the given label", ylabel="density", yscale="log")
        axes.legend(loc="best", frameon=False)

    return draw


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
    drawing.save(figure, path)


def matrix(
    accuracies: dict[str, dict[str, np.ndarray]],
    path: Path,
    title: str = "test accuracy in %, mean over seeds of the last 10 epochs",
) -> None:
    """A heat map of methods against cells: the accuracy, coloured by how far it is from the column's best.

    Args:
      accuracies: in percent, `[seeds]`, by cell and method.
      path: of the PNG file.
      title: says what the numbers are.
    """
    cells, methods = list(accuracies), list(next(iter(accuracies.values())))
    means = np.array([[np.mean(accuracies[cell][method]) for cell in cells] for method in methods])
    figure = matplotlib.figure.Figure(
        figsize=(5.2 + 0.85 * len(cells), 1.4 + 0.36 * len(methods)), layout="constrained"
    )
    axes = figure.subplots()
    # Beyond twenty points it no longer matters how many.
    image = axes.imshow(means.max(axis=0) - means, cmap="cividis_r", vmin=0, vmax=20, aspect="auto")
    for (row, column), value in np.ndenumerate(means):
        lost = means[:, column].max() - value
        axes.text(
            column,
            row,
            f"{value:.1f}",
            ha="center",
            va="center",
            color="white" if lost > 10 else "black",
            weight="bold" if lost == 0 else "normal",
        )
    axes.set_xticks(range(len(cells)), [as_it_is(cell).replace("-", "\n", 1) for cell in cells])
    axes.set_yticks(range(len(methods)), [as_it_is(name).replace(",base", ",\nbase") for name in methods])
    axes.tick_params(length=0, labelsize="small")
    figure.colorbar(image, label="points below the best of the column", extend="max")
    axes.set_title(title, fontsize="medium")
    drawing.save(figure, path)


class Drawing(NamedTuple):
    """A panel for a page: its heading, and an SVG element without it."""

    heading: str
    element: str


def svg(panel: Panel, name: str) -> Drawing:
    """A panel in the text colour and the font of the page that it will be in.

    Args:
      panel: what to draw.
      name: goes before the identifiers in the element, which must differ within a page.
    """
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style):
        figure = matplotlib.figure.Figure(figsize=(4.2, 2.9), layout="constrained")
        axes = figure.subplots()
        panel(axes)
        heading, words = axes.get_title() or axes.get_ylabel(), _in_words(axes)
        if not axes.get_title():
            axes.set_ylabel("")
        axes.set_title("")
        file = io.StringIO()
        with drawing.in_any_script():
            figure.savefig(file, format="svg", transparent=True)
    # Without what comes before: its style would hold for the whole page.
    element = file.getvalue().partition('<g id="figure_1">')[2]
    element = re.sub(r" font-family: [^;\"]*;?", "", element.replace("#000000", "currentColor"))
    element = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", element)
    width, height = 72 * figure.get_size_inches()
    opening = f'<svg role="img" aria-label="{html.escape(words)}" viewBox="0 0 {width:g} {height:g}">'
    return Drawing(heading, f"{opening}\n<g>{element}")


def _in_words(axes: Axes) -> str:
    """What a panel shows, for those who do not see it: of lines over epochs, where they begin and end."""
    lines = [
        (drawing.read(str(line.get_label())), np.asarray(line.get_ydata(), float)) for line in axes.lines
    ]
    if axes.get_xlabel() != "epoch":
        return f"{axes.get_title()}: density of {', '.join(label for label, _ in lines)}"
    courses = [f"{label} from {values[0]:.3g} to {values[-1]:.3g}" for label, values in lines]
    epochs = max((len(values) for _, values in lines), default=0)
    return f"{axes.get_title() or axes.get_ylabel()} over {epochs} epochs: {'; '.join(courses)}"


def _side_by_side(panels: list[Panel], size: tuple[float, float], title: str) -> matplotlib.figure.Figure:
    """A figure of panels, each of that width and height in inches."""
    width, height = size
    figure = matplotlib.figure.Figure(figsize=(width * len(panels), height), layout="constrained")
    figure.suptitle(as_it_is(title))
    for axes, draw in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        draw(axes)
    return figure


def _band(axes: Axes, values: Iterable[Iterable[float | None]], label: str, **style: Any) -> None:
    """Mean over seeds as a line, lowest to highest seed as a band."""
    table = np.asarray(list(values), float)
    epochs = np.arange(1, len(table) + 1)
    (line,) = axes.plot(epochs, table.mean(axis=1), label=label, linewidth=1.6, **style)
    axes.fill_between(
        epochs, table.min(axis=1), table.max(axis=1), color=line.get_color(), alpha=0.2, linewidth=0
    )
    axes.grid(alpha=0.3)
