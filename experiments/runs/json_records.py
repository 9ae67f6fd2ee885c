"""What the JSON files of a run have to say to be used: they may come from somebody else, or be cut off."""

from typing import Any, Literal, NotRequired, TypedDict

import numpy as np

from experiments.safety import json_types

_Values = list[float | None]
_Metric = float | None | _Values | list[_Values]


class _Spread(TypedDict):
    mean: float
    sd: float | None
    per_seed: NotRequired[_Values]


class _Noise(TypedDict):
    rate: list[float]
    matrix: Any


class _Commit(TypedDict):
    commit: str


class _Method(TypedDict):
    hyperparameters: dict[str, dict[str, Any]]


class _Summary(TypedDict):
    metric: Literal["test_accuracy", "validation_accuracy", "train_accuracy"]
    epochs: int
    seeds: list[int]
    last: _Spread
    last_10_mean: _Spread
    best_epoch: _Spread
    seconds: NotRequired[float]
    diverged: NotRequired[list[int]]
    noticed: NotRequired[str | None]
    realised_noise: _Noise | None
    config: _Method
    provenance: _Commit


class _Rate(TypedDict):
    rate: float
    low: float
    high: float


class _Audit(TypedDict):
    learnt: NotRequired[bool]
    estimated_noise_rate: _Rate | None
    seed: NotRequired[int]


# Metrics of each seed, those with two numbers for each, and those that are drawn together.
_OF_SEEDS = ("train_loss", "train_accuracy", "train_clean_accuracy", "memorised", "test_accuracy")
_CLIPPING = ("probability_threshold", "tau")
_MIXTURE = ("mixture_means", "mixture_variances", "mixture_weights")
_GROUPS = tuple(f"group_{name}" for name in "abc")
_RATIOS = tuple(f"fitting_ratio_{name}" for name in "abc")


def wrong_summary(summary: Any) -> str | None:
    """What is wrong with the content of summary.json, None if nothing is."""
    wrong = json_types.mismatch(summary, _Summary)
    return wrong or (None if summary["seeds"] else "seeds must not be empty")


def wrong_audit(audit: Any) -> str | None:
    """What is wrong with the content of audit.json, None if nothing is."""
    wrong = json_types.mismatch(audit, _Audit)
    if wrong is None and audit["estimated_noise_rate"] is None and audit.get("learnt") is not False:
        return "estimated_noise_rate must be an object, since the model has learnt"
    return wrong


def wrong_epoch(epoch: Any, first: Any = None, num_classes: int | None = None) -> str | None:
    """What is wrong with a line of metrics.jsonl, None if nothing is.

    Args:
      epoch: the content of the line.
      first: that of the first line, which has the same metrics, each of the same shape.
      num_classes: of the run, if that is known.
    """
    if wrong := json_types.mismatch(epoch, dict[str, _Metric]):
        return wrong
    if not isinstance(epoch.get("epoch", 1), int) or not isinstance(epoch.get("train_loss"), list):
        return "expected the metrics of an epoch"
    if not {"test_accuracy", "validation_accuracy", "train_accuracy"} & epoch.keys():
        return "expected an accuracy"
    try:
        shapes = {name: np.asarray(value, float).shape for name, value in epoch.items()}
    except ValueError:
        return "expected lists of the same length"
    seeds = len(epoch["train_loss"])
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(
        (*_OF_SEEDS, "validation_accuracy", *_CLIPPING, *_GROUPS, *_RATIOS), (seeds,)
    )
    expected |= dict.fromkeys(_MIXTURE, (seeds, 2))
    if num_classes is not None:
        expected["test_recall"] = (seeds, num_classes)
    for name, shape in shapes.items():
        # What is the same for all seeds is a single number.
        if shape != expected.get(name, shape) or (shape and shape[0] != seeds) or seeds == 0:
            return f"{name} has the shape {list(shape)}, with {seeds} seeds"
    for together in ((*_CLIPPING, *_MIXTURE), _GROUPS, _RATIOS):
        if 0 < len(set(together) & epoch.keys()) < len(together):
            return f"expected all of {', '.join(together)}"
    if first is not None and shapes != {name: np.shape(value) for name, value in first.items()}:
        return "expected the metrics that the first line has"
    return None
