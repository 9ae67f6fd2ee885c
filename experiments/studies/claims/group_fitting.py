"""The gradient components that SAM makes smaller (Group B) fit wrong labels more than the others do.

Group A are the components that SAM makes larger, and Group C those with a reversed sign. After each epoch
with SAM, gradients of single examples measure how much a group fits wrong labels, relative to how much it
fits right labels.
"""

import dataclasses
from typing import Any

import numpy as np

from experiments.studies.claims import on_digits
from experiments.studies.claims.check import Check, exceeds
from experiments.training import group_statistics, metrics
from experiments.training.measurement import group_measurement
from experiments.training.metrics import percent

PAPER = (
    "Luong, Nguyen, Tran, Tran, Understanding SAM's Robustness to Noisy Labels through Gradient "
    "Down-weighting, AISTATS 2026, arXiv 2411.17132"
)

# Comparisons are paired by seed and decided by their 95 % intervals, see `check.exceeds`. Each seed counts
# with its median over epochs: it is a ratio, whose denominator may be near 0.
NOISE_RATE, SEEDS, EPOCHS = 0.4, 5, 100


def measure(epochs: int = EPOCHS, seeds: int = SEEDS) -> dict[str, Any]:
    """The fitting ratio of each group and the groups' shares, medians over the epochs."""
    experiment = on_digits.experiment(NOISE_RATE, seeds, epochs=epochs, gradient_norm_clip=None)
    experiment = dataclasses.replace(experiment, group_statistics=True)
    training = on_digits.prepare("cross_entropy+sam", experiment)
    groups = group_measurement(training)
    curves = on_digits.stacked([groups(state) for state, _ in on_digits.epochs(training)])
    return {
        "what": f"digits with {NOISE_RATE:.0%} symmetric noise, cross-entropy with SAM, rho 0.1, no norm "
        f"clip, {epochs} epochs, {seeds} seeds; on {group_statistics.EXAMPLES} training examples after each "
        f"epoch, median over epochs",
        "groups": {name: metrics.spread(np.nanmedian(curve, axis=0)) for name, curve in curves.items()},
    }


def checks(measured: dict[str, Any]) -> list[Check]:
    """Group B against both others."""
    ratios = {name: np.asarray(measured["groups"][f"fitting_ratio_{name}"]["per_seed"]) for name in "abc"}
    return [
        exceeds(f"Group B fits wrong labels more than Group {name.upper()}", ratios["b"], ratios[name], "")
        for name in "ac"
    ]


def rows(measured: dict[str, Any]) -> list[list[str]]:
    """Share and fitting ratio of each group."""
    found = [["group", "share of the components", "fits wrong over right labels"]]
    for name in "abc":
        share, ratio = (measured["groups"][f"{key}_{name}"] for key in ("group", "fitting_ratio"))
        found.append([name.upper(), percent(share) + " %", f"{ratio['mean']:.2f} ± {ratio['sd']:.2f}"])
    return found
