"""Scaling Group B down makes SAM more robust, for a range of scales alpha and warm-up lengths k.

SANER multiplies the components of SAM's gradient that are smaller than SGD's by alpha, which falls from 1
to its final value over the first k epochs. SAM is alpha = 1. The values of alpha are those of the published
ablation. We halved its warm-up lengths, like the number of epochs. Without a warm-up, alpha has its final
value from the first epoch.
"""

from typing import Any

import numpy as np

from experiments.studies.claims import on_digits
from experiments.studies.claims.check import Check, exceeds
from experiments.training import metrics
from experiments.training.metrics import percent

PAPER = (
    "Luong, Nguyen, Tran, Tran, Understanding SAM's Robustness to Noisy Labels through Gradient "
    "Down-weighting, AISTATS 2026, arXiv 2411.17132"
)

# Each comparison is paired by seed and decided by its 95 % interval, see `check.exceeds`.
NOISE_RATE, SEEDS, EPOCHS = 0.4, 5, 100
SCALES, DEFAULT_SCALE = (0.75, 0.5, 0.25), 0.5
# The first epoch is the end of a warm-up of one.
WARM_UPS, DEFAULT_WARM_UP = {"none": 1, "12": 12, "25": 25, "38": 38}, "25"
# Beyond what was published.
NO_GROUP_B = 0.0


def measure(epochs: int = EPOCHS, seeds: int = SEEDS) -> dict[str, Any]:
    """Test accuracy and share of wrong labels memorised, of every scale and warm-up."""
    # As the published code, without a limit on the gradient's norm.
    experiment = on_digits.experiment(NOISE_RATE, seeds, epochs=epochs, gradient_norm_clip=None)
    runs = {}
    for name, method in methods().items():
        curves = on_digits.curves(on_digits.prepare(method, experiment))
        runs[name] = {
            key: metrics.spread(on_digits.last_10_mean(curves[key])) for key in ("test_accuracy", "memorised")
        }
    return {
        "what": f"digits with {NOISE_RATE:.0%} symmetric noise, cross-entropy, rho 0.1, no norm clip, "
        f"{epochs} epochs, {seeds} seeds; accuracy on clean test labels and share of the wrong labels "
        f"memorised, mean of the last ten epochs",
        "runs": runs,
    }


def methods() -> dict[str, str]:
    """The methods of `train` by alpha and k."""

    def saner(scale, warm_up):
        return f"cross_entropy+saner:group_b_scale={scale},scale_epochs={WARM_UPS[warm_up]}"

    chosen = [
        *((scale, DEFAULT_WARM_UP) for scale in (*SCALES, NO_GROUP_B)),
        *((DEFAULT_SCALE, warm_up) for warm_up in WARM_UPS if warm_up != DEFAULT_WARM_UP),
    ]
    return {
        "SAM": "cross_entropy+sam",
        **{f"alpha {scale:g}, k {warm_up}": saner(scale, warm_up) for scale, warm_up in chosen},
    }


def checks(measured: dict[str, Any]) -> list[Check]:
    """Which settings beat SAM."""

    def points(name, key="test_accuracy"):
        return 100 * np.asarray(measured["runs"][name][key]["per_seed"])

    of_scales = [f"alpha {scale:g}, k {DEFAULT_WARM_UP}" for scale in SCALES]
    of_warm_ups = [
        f"alpha {DEFAULT_SCALE:g}, k {warm_up}" for warm_up in WARM_UPS if warm_up != DEFAULT_WARM_UP
    ]
    default = f"alpha {DEFAULT_SCALE:g}, k {DEFAULT_WARM_UP}"
    return [
        *(
            exceeds(f"{name}: higher test accuracy than SAM", points(name), points("SAM"))
            for name in (*of_scales, *of_warm_ups)
        ),
        exceeds(
            f"{default}: fewer wrong labels memorised than by SAM",
            points("SAM", "memorised"),
            points(default, "memorised"),
        ),
    ]


def rows(measured: dict[str, Any]) -> list[list[str]]:
    """Accuracy and memorised share of each setting, in percent."""
    return [
        ["setting", "test accuracy", "memorised"],
        *(
            [name, percent(own["test_accuracy"]), percent(own["memorised"])]
            for name, own in measured["runs"].items()
        ),
    ]
