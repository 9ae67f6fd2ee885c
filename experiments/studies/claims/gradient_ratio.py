"""Without clipping, wrong labels come to dominate the gradients; with OGC, they stay below its bound.

The ratio of slopes is the mean slope of cross-entropy in p, the probability of the label, over wrongly
labelled training examples, divided by the mean over rightly labelled ones. Optimized gradient clipping (OGC)
estimates this ratio without knowing which labels are wrong. It chooses its threshold so that the estimate is
at most 1 + epsilon times the learning rate. Here the true labels tell whether the ratio itself is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from numpy.typing import NDArray

import noisy_optax as nox
from experiments.data import stream
from experiments.studies.claims import figures, on_digits
from experiments.studies.claims.check import Check, exceeds
from experiments.training import evaluation, metrics, steps
from experiments.training.setup import Setup
from experiments.training.steps import TrainState

PAPER = (
    "Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025, "
    "arXiv 2412.08941"
)

# To dominate is to have the larger sum, in most epochs.
DOMINATES, MOST = 1.0, 0.5
# To keep below the bound is to exceed it by no more than a tenth, as the ratio is estimated, except in a few
# epochs.
TOLERANCE, ALL_BUT_FEW = 1.1, 0.95

NOISE_RATE, SEEDS, EPOCHS = 0.4, 5, 100
# Gradients of single examples are slow: they are taken of these training examples, every so many epochs.
GRADIENT_EXAMPLES, GRADIENT_CHUNK, GRADIENTS_EVERY = 256, 32, 5

# Methods as `train` names them; OGC with its queue scaled to the small data set. Each with its largest slope.
UNCLIPPED, OGC = "cross-entropy", "OGC"
METHODS = {
    UNCLIPPED: "cross_entropy",
    "clipped at 10": "phuber_cross_entropy:tau=10",
    "clipped at 2": "phuber_cross_entropy:tau=2",
    OGC: "ogc:queue_size=1024,update_every=8",
}
FIXED = {UNCLIPPED: np.inf, "clipped at 10": 10.0, "clipped at 2": 2.0}
LEAST_PROBABILITY = 1e-7


def measure(epochs: int = EPOCHS, seeds: int = SEEDS) -> dict[str, Any]:
    """Both ratios, of slopes and of the norms of the parameters' gradients, under each kind of clipping."""
    experiment = on_digits.experiment(NOISE_RATE, seeds, epochs=epochs)
    followed = {
        name: follow(on_digits.prepare(method, experiment), FIXED.get(name))
        for name, method in METHODS.items()
    }
    bound = followed[OGC]["bound"]
    return {
        "what": f"digits with {NOISE_RATE:.0%} symmetric noise, {epochs} epochs, {seeds} seeds; after each "
        f"epoch, the mean of wrong-labelled training examples over that of right-labelled ones; gradients of "
        f"{GRADIENT_EXAMPLES} examples after every {GRADIENTS_EVERY} epochs",
        "runs": {
            name: {
                "slopes": metrics.spread(np.median(own["slopes"], axis=0)),
                "dominates": metrics.spread((own["slopes"] * own["odds"] > DOMINATES).mean(axis=0)),
                "within_bound": metrics.spread((own["slopes"] <= TOLERANCE * bound).mean(axis=0)),
                "gradients": metrics.spread(np.median(own["gradients"], axis=0)),
                "gradients_dominate": metrics.spread(
                    (own["gradients"] * own["odds"] > DOMINATES).mean(axis=0)
                ),
            }
            for name, own in followed.items()
        },
        "bound": bound.mean(axis=1),
        "slopes": {name: own["slopes"].mean(axis=1) for name, own in followed.items()},
        "gradients": {name: own["gradients"].mean(axis=1) for name, own in followed.items()},
    }


def follow(training: Setup, largest: float | None) -> dict[str, NDArray]:
    """The ratios epoch by epoch, `[epochs, seeds]`, OGC's bound, and the odds of a wrong label.

    `largest` is the slope that is clipped at, None for OGC's.
    """
    split, wrong = training.split, training.split.train_given != training.split.train_clean
    evaluate = evaluation.compile_evaluation(training.parts, training.experiment.seeds)
    norms = gradient_norms(training)
    slopes, gradients, bounds = [], [], []
    for epoch, (state, _) in enumerate(on_digits.epochs(training), start=1):
        logits = evaluate(state.params, state.statistics, training.inputs, split.train_images)
        tau = np.asarray(state.loss.tau)[:, None] if largest is None else largest
        slopes.append(ratio(np.minimum(slope(logits, split.train_given), tau), wrong))
        if largest is None:
            bounds.append(np.broadcast_to(state.loss.bound, len(logits)))
        if epoch % GRADIENTS_EVERY == 0:
            gradients.append(ratio(np.asarray(norms(state)), wrong[:, :GRADIENT_EXAMPLES]))
    return {
        "slopes": np.stack(slopes),
        "gradients": np.stack(gradients),
        "bound": np.asarray(bounds),
        "odds": wrong.mean(axis=1) / (~wrong).mean(axis=1),
    }


def slope(logits: NDArray, given: NDArray) -> NDArray:
    """Absolute slopes of cross-entropy in the label's probability, `[seeds, n]`."""
    probability = np.exp(nox.losses.label_log_probability(logits, given))
    return 1 / np.maximum(probability, LEAST_PROBABILITY)


def ratio(values: NDArray, wrong: NDArray) -> NDArray:
    """Mean over wrong labels over the mean over right ones, of each seed."""
    return np.mean(values, axis=1, where=wrong) / np.mean(values, axis=1, where=~wrong)


def gradient_norms(training: Setup) -> Callable[[TrainState], Array]:
    """`norms(state)`, `[seeds, n]`: of the gradient of each example's loss with respect to all parameters."""
    parts, split = training.parts, training.split
    images = jnp.asarray(next(stream.chunks(split.train_images, GRADIENT_EXAMPLES)))
    given = jnp.asarray(split.train_given[:, :GRADIENT_EXAMPLES])

    def norms(state, given):
        def losses(params, images, given):
            logits, _ = parts.network.apply(params, state.statistics, images, train=False)
            return parts.method.loss.value(state.loss, logits, given)

        of_each = nox.per_example_gradients(losses, chunk_size=GRADIENT_CHUNK, keep=optax.tree.norm)
        return of_each(state.params, steps.prepare(training.inputs, images), given)

    over = jax.jit(steps.over_seeds(norms, training.experiment.seeds, (steps.seed_axes(parts), 0)))
    return lambda state: over(state, given)


def checks(measured: dict[str, Any]) -> list[Check]:
    """What dominates without clipping, and whose ratio keeps to the bound."""
    runs = measured["runs"]

    def dominates(key, what):
        share = runs[UNCLIPPED][key]["mean"]
        return Check(
            f"without clipping wrong labels have the larger sum of {what} in most epochs",
            f"in {share:.0%}",
            share > MOST,
        )

    def within(name):
        share = runs[name]["within_bound"]["mean"]
        return f"in {share:.0%} of the epochs", share >= ALL_BUT_FEW

    ogc, fixed = within(OGC), within("clipped at 10")
    unclipped, with_ogc = (np.asarray(runs[name]["gradients"]["per_seed"]) for name in (UNCLIPPED, OGC))
    return [
        dominates("dominates", "slopes"),
        dominates("gradients_dominate", "gradients"),
        Check(f"OGC's ratio keeps below its bound (to a tenth, in {ALL_BUT_FEW:.0%} of the epochs)", *ogc),
        Check("clipped at 10, a fixed threshold, it does not", fixed[0], not fixed[1]),
        exceeds("the gradients' ratio is larger without clipping than with OGC", unclipped, with_ogc, ""),
    ]


def rows(measured: dict[str, Any]) -> list[list[str]]:
    """Medians over the epochs, and shares of the epochs."""
    found = [
        [
            "loss",
            "ratio of slopes",
            "wrong dominate",
            "within the bound",
            "ratio of gradients",
            "wrong dominate",
        ]
    ]
    for name, own in measured["runs"].items():
        ratios = {key: f"{own[key]['mean']:.2f} ± {own[key]['sd']:.2f}" for key in ("slopes", "gradients")}
        shares = {
            key: f"{own[key]['mean']:.0%}" for key in ("dominates", "within_bound", "gradients_dominate")
        }
        found.append(
            [
                name,
                ratios["slopes"],
                shares["dominates"],
                shares["within_bound"],
                ratios["gradients"],
                shares["gradients_dominate"],
            ]
        )
    return found


def picture(measured: dict[str, Any], path: Path) -> None:
    """The ratio of slopes and the bound from epoch to epoch."""
    lines = {**measured["slopes"], "OGC's bound": measured["bound"]}
    figures.epochs({"": lines}, "slope, wrong over right labels", path, scale="log")
