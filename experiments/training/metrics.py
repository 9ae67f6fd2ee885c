"""What is measured each epoch, per seed, and how a run is summed up over its last epochs and its seeds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Predictions = NDArray[np.integer]


def train_metrics(
    losses: NDArray, predictions: Predictions, given: NDArray, clean: NDArray | None
) -> dict[str, Any]:
    """Measured on the training batches as they pass, each before its own update.

    Args:
      losses: `[seeds, steps]`.
      predictions: `[seeds, n]`.
      given: the labels trained on, `[seeds, n]`.
      clean: the true labels, `[seeds, n]`, or None.
    """
    metrics = {"train_loss": losses.mean(axis=1), "train_accuracy": (predictions == given).mean(axis=1)}
    if clean is not None:
        wrong = given != clean
        metrics["train_clean_accuracy"] = (predictions == clean).mean(axis=1)
        # The share of the wrong labels that the model reproduces; 0 if there are none.
        memorised = ((predictions == given) & wrong).sum(axis=1) / np.maximum(wrong.sum(axis=1), 1)
        metrics["memorised"] = memorised
    return metrics


def accuracy(predictions: Predictions, labels: NDArray) -> NDArray[np.float64]:
    """Share of correct predictions, `[seeds]`."""
    return (predictions == labels).mean(axis=1)


def per_class_recall(predictions: Predictions, labels: NDArray, num_classes: int) -> NDArray[np.float64]:
    """Share of each class's examples that are predicted as that class, `[seeds, C]`; NaN for no examples."""
    counts = np.bincount(labels, minlength=num_classes)
    hits = [np.bincount(labels[one_seed == labels], minlength=num_classes) for one_seed in predictions]
    return np.stack(hits) / np.where(counts == 0, np.nan, counts)


def headline(metrics: dict[str, Any]) -> str:
    """The accuracy that a run is judged by: of the best data it has for that."""
    order = ("test_accuracy", "validation_accuracy", "train_accuracy")
    return next(name for name in order if name in metrics)


def in_words(metrics: dict[str, Any]) -> str:
    """The loss and the headline accuracy of an epoch, means over seeds."""
    name = headline(metrics)
    loss, accuracy = np.mean(metrics["train_loss"]), np.mean(metrics[name])
    return f"loss {loss:.3f}  {name.replace('_', ' ')} {accuracy:.1%}"


def summarize(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """The headline accuracy of a run: last epoch, mean of the last ten, best; mean and sd over seeds.

    The best epoch is chosen by the very number it reports (on test data: by an oracle), and is there only
    to be compared with papers that report it.
    """
    name = headline(epochs[-1])
    curve = np.asarray([epoch[name] for epoch in epochs], float)
    return {
        "metric": name,
        "epochs": len(epochs),
        "last": spread(curve[-1]),
        "last_10_mean": spread(curve[-10:].mean(axis=0)),
        "best_epoch": spread(curve.max(axis=0)),
    }


def spread(values: NDArray) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) over seeds, with the values."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": sd, "per_seed": values.tolist()}


def paired_difference(first: NDArray, second: NDArray) -> tuple[float, float]:
    """Mean of `first - second`, seed by seed, and half the width of its 95 % interval (Student's t)."""
    differences = np.asarray(first) - np.asarray(second)
    n = len(differences)
    # Here, since it takes half a second to import, and training does without it.
    from scipy import stats

    half = stats.t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / np.sqrt(n)
    return float(np.mean(differences)), float(half)


def percent(spread: dict[str, Any]) -> str:
    """Mean and standard deviation over seeds, in percent."""
    sd = "" if spread["sd"] is None else f" ± {100 * spread['sd']:.2f}"
    return f"{100 * spread['mean']:.2f}{sd}"
