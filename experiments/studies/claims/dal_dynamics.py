"""A growing q fits as fast as a small fixed q early, and is as robust as a large fixed q late.

The dynamics-aware loss (DAL) is generalized cross-entropy with a q that grows from 0.6 to 1.5. Above 1, an
entropy term makes the network more confident in its own predictions. DAL is compared with q fixed at 0.6,
at 1 (mean absolute error) and at 1.5.
"""

from pathlib import Path
from typing import Any

import numpy as np
import optax
from numpy.typing import NDArray

import noisy_optax as nox
from experiments.config import Experiment
from experiments.studies.claims import figures, on_digits
from experiments.studies.claims.check import Check, exceeds
from experiments.training import metrics
from experiments.training.metrics import percent
from noisy_optax import RobustLoss, losses

PAPER = "Li, Xia, Zhu, Liu, Zhang, Liu, Dynamics-Aware Loss for Learning with Label Noise, arXiv 2303.11562"

# Comparisons are paired by seed and decided by their 95 % intervals, see `check.exceeds`. Besides:
# as fast means at most two epochs later, of a hundred; no drop at most two points, nine of 450 test images.
AS_FAST, NO_DROP = 2.0, 2.0
# Early is when a run first reaches this share of the best final accuracy that its seed saw under any loss.
REACHED = 0.9

NOISE_RATES, SEEDS, EPOCHS = (0.4, 0.6), 5, 100
Q_START, Q_END = 0.6, 1.5
DAL, PLAIN = "DAL", "DAL without entropy"
SMALL, MIDDLE, LARGE = "q 0.6", "q 1", "q 1.5"


def measure(epochs: int = EPOCHS, seeds: int = SEEDS) -> dict[str, Any]:
    """When each loss is fast, what it loses until the end, and what it memorises."""
    curves = {}
    for rate in NOISE_RATES:
        experiment = on_digits.experiment(rate, seeds, epochs=epochs)
        curves[str(rate)] = {
            name: on_digits.curves(on_digits.prepare("cross_entropy", experiment, loss))
            for name, loss in compared(epochs, steps_per_epoch(experiment)).items()
        }
    return {
        "what": f"digits with symmetric noise, {epochs} epochs, {seeds} seeds; accuracy on clean labels. "
        f"Epochs until {REACHED:.0%} of the best final accuracy of that seed; final: mean of the last ten "
        f"epochs; drop: best epoch less final; memorised: share of the wrong labels, last ten epochs",
        "runs": {rate: summarize(of_rate) for rate, of_rate in curves.items()},
        "test_accuracy": {
            rate: {name: np.round(own["test_accuracy"].mean(axis=1), 4) for name, own in of_rate.items()}
            for rate, of_rate in curves.items()
        },
    }


def steps_per_epoch(experiment: Experiment) -> int:
    """The size of the digits' training part."""
    split = on_digits.prepare("cross_entropy", experiment).split
    return len(split.train_images) // experiment.optimization.batch_size


def compared(epochs: int, steps_per_epoch: int) -> dict[str, RobustLoss]:
    """The losses by name."""
    growing = nox.schedules.dal_q(epochs, steps_per_epoch, q_start=Q_START, q_end=Q_END)

    def with_q(q):
        return nox.scheduled(losses.dynamics_aware, q=q, bootstrap_weight=optax.constant_schedule(0.0))

    return {
        DAL: losses.dal(epochs, steps_per_epoch, q_start=Q_START, q_end=Q_END),
        PLAIN: with_q(growing),
        **{name: with_q(optax.constant_schedule(float(name[2:]))) for name in (SMALL, MIDDLE, LARGE)},
    }


def summarize(curves: dict[str, dict[str, NDArray]]) -> dict[str, dict[str, Any]]:
    """What was measured of each loss at one rate, one value for each seed."""
    accuracy = {name: own["test_accuracy"] for name, own in curves.items()}
    final = {name: on_digits.last_10_mean(curve) for name, curve in accuracy.items()}
    level = REACHED * np.max(list(final.values()), axis=0)
    return {
        name: {
            "epochs": metrics.spread(epochs_until(accuracy[name], level)),
            "final": metrics.spread(final[name]),
            "drop": metrics.spread(accuracy[name].max(axis=0) - final[name]),
            "memorised": metrics.spread(on_digits.last_10_mean(own["memorised"])),
        }
        for name, own in curves.items()
    }


def epochs_until(curve: NDArray, level: NDArray) -> NDArray:
    """How many epochs each seed needs to `level`; one more than there are if it never gets there."""
    reached = np.concatenate([curve >= level, np.ones((1, len(level)), bool)])
    return 1.0 + np.argmax(reached, axis=0)


def checks(measured: dict[str, Any]) -> list[Check]:
    """Early, late, both, and what the entropy adds, at each rate."""
    return [one for rate, runs in measured["runs"].items() for one in _at(f"{float(rate):.0%}: ", runs)]


def _at(at: str, runs: dict[str, dict[str, Any]]) -> list[Check]:
    def values(name, key):
        return np.asarray(runs[name][key]["per_seed"]) * (1 if key == "epochs" else 100)

    later = float(np.mean(values(DAL, "epochs") - values(SMALL, "epochs")))
    drop = float(np.mean(values(DAL, "drop")))
    return [
        Check(
            f"{at}early DAL is as fast as {SMALL} (at most {AS_FAST:g} epochs later)",
            f"{later:+.1f} epochs",
            later <= AS_FAST,
        ),
        *(
            exceeds(
                f"{at}early {name} is slower than DAL",
                values(name, "epochs"),
                values(DAL, "epochs"),
                "epochs",
            )
            for name in (MIDDLE, LARGE)
        ),
        Check(
            f"{at}late DAL does not drop (at most {NO_DROP:g} points)", f"{drop:.2f} points", drop <= NO_DROP
        ),
        exceeds(f"{at}late {SMALL} drops more than DAL", values(SMALL, "drop"), values(DAL, "drop")),
        exceeds(f"{at}{SMALL} memorises more than DAL", values(SMALL, "memorised"), values(DAL, "memorised")),
        *(
            exceeds(f"{at}final DAL is above {name}", values(DAL, "final"), values(name, "final"))
            for name in (SMALL, MIDDLE, LARGE)
        ),
        exceeds(
            f"{at}the entropy term adds to the final accuracy", values(DAL, "final"), values(PLAIN, "final")
        ),
    ]


def rows(measured: dict[str, Any]) -> list[list[str]]:
    """What was measured at each rate, in percent except for the epochs."""
    found = [["noise", "loss", "epochs", "final", "drop", "memorised"]]
    for rate, runs in measured["runs"].items():
        for name, own in runs.items():
            epochs = f"{own['epochs']['mean']:.1f} ± {own['epochs']['sd']:.1f}"
            rest = (percent(own[key]) for key in ("final", "drop", "memorised"))
            found.append([f"{float(rate):.0%}", name, epochs, *rest])
    return found


def picture(measured: dict[str, Any], path: Path) -> None:
    """Test accuracy from epoch to epoch, a panel for each rate."""
    panels = {f"{float(rate):.0%} symmetric noise": own for rate, own in measured["test_accuracy"].items()}
    figures.epochs(panels, "test accuracy", path)
