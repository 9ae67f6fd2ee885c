"""How well an audit finds wrong labels, beside cleanlab's score, which is computed here with scikit-learn."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from experiments import config
from experiments.commands import audit
from experiments.data.dataset import Images, Stream
from experiments.runs import run_folder
from experiments.studies import templates
from experiments.studies.audit import beside_cleanlab
from experiments.studies.templates import markdown
from experiments.terminal import Progress, UserError
from experiments.training import metrics
from experiments.training.loop import train

# Noise and rate; only in some, and with some methods, are models trained for each fold, too.
CELLS: dict[str, tuple[config.Noise, float]] = {
    "symmetric 20 %": ("symmetric", 0.2),
    "symmetric 40 %": ("symmetric", 0.4),
    "symmetric 60 %": ("symmetric", 0.6),
    "instance 40 %": ("instance", 0.4),
    "pair 30 %": ("pair", 0.3),
}
CELLS_WITH_FOLDS = ("symmetric 40 %", "instance 40 %", "pair 30 %")
METHODS_WITH_FOLDS = ("cross_entropy", "dal")
METHODS = ("cross_entropy", "generalized_cross_entropy", "dal", "ogc")
# What the audit has of constants was chosen on the seeds 0 to 4.
FIRST_SEED, SEEDS = 10, 5
# The best of 0.01, 0.1 and 1 for cleanlab.
REGULARIZATION = 0.1


def measure(run_dir: Path | None, folds: int, work: Path, progress: Progress) -> dict[str, Any]:
    """Areas under the ROC curve, of the cells on digits or of one run."""
    if folds < 2:
        raise UserError(f"--folds must be at least 2, got {folds}")
    if run_dir is not None:
        cells = {"run": of_run(run_dir, folds, progress)}
        record = run_folder.read_config(run_dir)
        return {"folds": folds, "cells": cells, "config": record, "provenance": run_folder.provenance()}
    cells = {}
    for cell, (noise, rate) in CELLS.items():
        measured: dict[str, Any] = {"found": {}}
        for method in METHODS:
            experiment = config.Experiment(
                data=config.Data(noise=noise, noise_rate=rate),
                seeds=SEEDS,
                first_seed=FIRST_SEED,
                checkpoint_every=100,
            )
            folder = work / f"{noise}-{rate}-{method}"
            train(method, experiment, folder, progress)
            with_folds = cell in CELLS_WITH_FOLDS and method in METHODS_WITH_FOLDS
            measured["found"] |= of_run(folder, folds if with_folds else None, progress)["found"]
        cells[cell] = measured
    return {
        "folds": folds,
        "seeds": list(range(FIRST_SEED, FIRST_SEED + SEEDS)),
        "cells": cells,
        "provenance": run_folder.provenance(),
    }


def of_run(run_dir: Path, folds: int | None, progress: Progress) -> dict[str, Any]:
    """What each kind of evidence and cleanlab's scores find in a run, by name, over seeds."""
    dataset, evidence = audit.collect(run_dir, None, progress)
    if evidence.clean is None:
        raise UserError(f"{run_dir}: the clean labels are not known; measure a run on data that has them")
    method = run_folder.read_config(run_dir)["method"]
    found = {}
    kinds = {"": evidence}
    if folds is not None:
        kinds[f", {folds} folds"] = audit.collect(run_dir, folds, progress)[1]
    for suffix, own in kinds.items():
        for kind in get_args(audit.Method):
            verdicts = [audit.judge(own, [i], kind) for i in range(len(own.seeds))]
            name = f"{method}: {kind}{suffix}"
            found[name] = [
                audit.auroc(v.score, g, own.clean) for v, g in zip(verdicts, own.given, strict=True)
            ]
    if folds is not None:
        out_of_sample = kinds[f", {folds} folds"].probabilities
        for name, score in SCORES.items():
            found[f"cleanlab, {method}, {folds} folds: {name}"] = [
                audit.auroc(-score(p, g), g, evidence.clean)
                for p, g in zip(out_of_sample, evidence.given, strict=True)
            ]
        linear = [logistic_regression(dataset.train_images, g, folds) for g in evidence.given]
        for name, score in SCORES.items():
            found[f"cleanlab, logistic regression, {folds} folds: {name}"] = [
                audit.auroc(-score(p, g), g, evidence.clean)
                for p, g in zip(linear, evidence.given, strict=True)
            ]
    known = {name: metrics.spread(np.asarray(own)) for name, own in found.items() if None not in own}
    return {"found": known}


def logistic_regression(images: Images | Stream, given: NDArray, folds: int) -> NDArray:
    """Out-of-sample probabilities `[n, C]` of a linear model on the pixels."""
    if isinstance(images, Stream):
        raise UserError("the linear model looks at all images at once; measure a run without --stream")
    pixels = images.reshape(len(images), -1) / np.float32(255 if images.dtype == np.uint8 else 1)
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    model = LogisticRegression(C=REGULARIZATION, max_iter=300)
    found = cross_val_predict(model, pixels, given, cv=split, method="predict_proba")
    # Classes that no label is given to have no column.
    probabilities = np.zeros((len(given), int(given.max()) + 1))
    probabilities[:, np.unique(given)] = found
    return probabilities


def self_confidence(probabilities: NDArray, given: NDArray) -> NDArray:
    """Probability of the given label."""
    return probabilities[np.arange(len(given)), given]


def normalized_margin(probabilities: NDArray, given: NDArray) -> NDArray:
    """The same less the probability of the most probable other class, scaled to [0, 1]."""
    own = self_confidence(probabilities, given)
    others = probabilities.copy()
    others[np.arange(len(given)), given] = -1
    return (own - others.max(axis=1) + 1) / 2


SCORES = {"self_confidence": self_confidence, "normalized_margin": normalized_margin}


def table(measured: dict[str, Any]) -> Table:
    """The areas under the ROC curve for the terminal."""
    cells = {name: own["found"] for name, own in measured["cells"].items() if own["found"]}
    printed = Table(title="area under the ROC curve of finding wrong labels", box=box.SIMPLE)
    printed.add_column("evidence", overflow="fold")
    for cell in cells:
        printed.add_column(cell, justify="right", no_wrap=True)
    for name in dict.fromkeys(name for own in cells.values() for name in own):
        printed.add_row(name, *(f"{own[name]['mean']:.3f}" if name in own else "" for own in cells.values()))
    return printed


RESULTS = Path(__file__).parents[2] / "results" / "audit"


def page() -> str:
    """The page beside the results: digits, and a part of CIFAR-10 with labels that people gave."""
    digits = run_folder.read_json(RESULTS / "digits.json")
    provenance = digits["provenance"]
    beside = run_folder.read_lines(beside_cleanlab.PATH)
    runs = {path.stem: run_folder.read_json(path) for path in sorted(RESULTS.glob("run-*.json"))}
    return templates.render(
        "audit.md.jinja",
        seeds=digits["seeds"],
        provenance=provenance,
        areas=areas(digits),
        runs="".join(map(_of_run, runs.values())),
        cleanlab=beside_cleanlab.table(beside) if beside else "",
    )


def _of_run(measured: dict[str, Any]) -> str:
    """One run on other data, by `audit-benchmark --run RUN`."""
    config = measured["config"]
    data, model, epochs = config["data"], config["model"]["model"], config["optimization"]["epochs"]
    labels = data["labels_file"] or data["noise"]
    return f"""One run on {data["dataset"]}, labels {labels}, the model `{model}` after {epochs} epochs
(`run-*.json`, by `audit-benchmark --run RUN`):

{areas(measured)}
"""


def areas(measured: dict[str, Any]) -> str:
    """The areas under the ROC curve, best first by the mean of their row."""
    cells = {name: own["found"] for name, own in measured["cells"].items() if own["found"]}
    names = dict.fromkeys(name for own in cells.values() for name in own)
    ranked = sorted(
        names, key=lambda name: -np.mean([own[name]["mean"] for own in cells.values() if name in own])
    )
    rows = [["evidence", *cells], ["---"] + ["---:"] * len(cells)]
    rows += [
        [name, *(f"{own[name]['mean']:.3f}" if name in own else "" for own in cells.values())]
        for name in ranked
    ]
    return markdown(rows)
