"""Fifty outliers move the minimum of logistic and Huberised loss, but not of partially Huberised loss.

A linear model with one weight, theta, is fitted to two overlapping classes of 5,000 examples and to outliers
far on the wrong side.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.runs import run_folder
from experiments.studies.claims import linear
from experiments.studies.claims.check import Check

PAPER = "Menon, Rawat, Reddi, Kumar, Can Gradient Clipping Mitigate Label Noise?, ICLR 2020"

# Shares of the theta without outliers: one that keeps less than half has followed them.
FOLLOWS, STAYS = 0.5, 0.9
# The published curves are in float64, on the very same points.
SAME_LOSS = 1e-5

PER_CLASS, OUTLIERS_PER_CLASS, DISTANCE = 5000, 25, 200
THETAS = np.arange(-2, 2, 0.02)


class Points(NamedTuple):
    """Inliers first, then the outliers."""

    x: Float[Array, "n"]
    labels: Int[Array, "n"]


def measure() -> dict[str, Any]:
    """Theta of least mean loss, and that loss, without and with outliers, in each published run."""
    published = run_folder.read_json(linear.PUBLISHED)["outliers"]["runs"]
    return {
        "what": f"inliers of both classes around 1 and -1, outliers of both around -{DISTANCE} and "
        f"{DISTANCE}; theta of least mean loss among {len(THETAS)} from -2 to 2",
        "runs": [
            minima(draw(run["seed"]), run["huber_tau"], run["phuber_tau"]) | {"published": run}
            for run in published
        ],
    }


def checks(measured: dict[str, Any]) -> list[Check]:
    """Where the minima went, and whether they are those that were published."""
    kept = {
        name: [run["theta"]["all"][name] / run["theta"]["inliers"][name] for run in measured["runs"]]
        for name in measured["runs"][0]["theta"]["all"]
    }

    def listed(name):
        return ", ".join(f"{share:.0%}" for share in kept[name])

    follow = [
        Check(
            f"with outliers the minimum of the {name} loss keeps less than {FOLLOWS:.0%} of its theta",
            listed(name),
            max(kept[name]) < FOLLOWS,
        )
        for name in ("logistic", "huberised")
    ]
    name = "partially_huberised"
    stays = Check(
        f"that of the partially Huberised loss keeps more than {STAYS:.0%}",
        listed(name),
        min(kept[name]) > STAYS,
    )
    error = max(
        abs(run["risk"][part][name] / run["published"]["risk"][part][name] - 1)
        for run in measured["runs"]
        for part in ("inliers", "all")
        for name in kept
    )
    same = Check(
        f"the least mean losses are those published, on the same points (to {SAME_LOSS:g})",
        f"they differ by {error:.1e} at most",
        error < SAME_LOSS,
    )
    return [*follow, stays, same]


def rows(measured: dict[str, Any]) -> list[list[str]]:
    """The minima, ours and those published."""
    found = [["loss", "tau", "theta", "with outliers", "mean loss", "with outliers", "published"]]
    for run in measured["runs"]:
        taus = {
            "huberised": run["published"]["huber_tau"],
            "partially_huberised": run["published"]["phuber_tau"],
        }
        for name in run["theta"]["all"]:
            theta, risk = ([run[key][part][name] for part in ("inliers", "all")] for key in ("theta", "risk"))
            published = run["published"]["risk"]["all"][name]
            cells = [*(f"{value:.2f}" for value in theta), *(f"{value:.5f}" for value in (*risk, published))]
            found.append([name.replace("_", " "), str(taus.get(name, "")), *cells])
    return found


def draw(seed: int) -> Points:
    """The published points: NumPy's old generator, drawn in the published order."""
    rng = np.random.RandomState(seed)
    inliers = [rng.normal(centre, 1, PER_CLASS) for centre in (1, -1)]
    outliers = [rng.normal(centre, 1, OUTLIERS_PER_CLASS) for centre in (-DISTANCE, DISTANCE)]
    labels = np.repeat([1, 0, 1, 0], [PER_CLASS, PER_CLASS, OUTLIERS_PER_CLASS, OUTLIERS_PER_CLASS])
    return Points(
        jnp.asarray(np.concatenate(inliers + outliers), jnp.float32), jnp.asarray(labels, jnp.int32)
    )


def minima(points: Points, huber_tau: float, phuber_tau: float) -> dict[str, Any]:
    """By what is measured, part of the points and loss."""
    parts = {"inliers": jax.tree.map(lambda x: x[: 2 * PER_CLASS], points), "all": points}
    found: dict[str, Any] = {"theta": {}, "risk": {}}
    for part, (x, labels) in parts.items():
        curves = {
            name: jax.lax.map(
                lambda theta, loss=loss, x=x, labels=labels: jnp.mean(loss(linear.logits(theta * x), labels)),
                jnp.asarray(THETAS, jnp.float32),
            )
            for name, loss in linear.compared(huber_tau, phuber_tau).items()
        }
        found["theta"][part] = {name: float(THETAS[np.argmin(curve)]) for name, curve in curves.items()}
        found["risk"][part] = {name: float(np.min(curve)) for name, curve in curves.items()}
    return found
