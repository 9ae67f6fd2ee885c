"""Which wrong labels an audit finds, and which cleanlab does, in its tutorial's way, on the same features.

cleanlab gets out-of-sample probabilities of a logistic regression in five folds. The audit is that of one
run of the recommended loss. Each finished line of experiments/results/audit/cleanlab.jsonl is kept.
"""

import functools
import importlib.metadata
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from experiments.commands import audit
from experiments.config import Data, Experiment
from experiments.runs import audit_files, run_folder
from experiments.studies import data_sets
from experiments.studies.data_sets import Examples, Sources
from experiments.studies.recipe.cells import on_features
from experiments.studies.templates import markdown
from experiments.terminal import Progress, UserError
from experiments.training.loop import train

PATH = Path(__file__).parents[2] / "results" / "audit" / "cleanlab.jsonl"
METHOD = "recommended"
LABEL_SETS = (
    "cifar10n_aggregate",
    "cifar10n_random1",
    "cifar10n_worst",
    "symmetric_40",
    "asymmetric_40",
    "instance_40",
)
FOLDS = 5


class Found(NamedTuple):
    """How a tool ranks the labels, and how many of them it holds for wrong.

    Attributes:
      score: of each training example; the larger, the more probably its label is wrong.
    """

    score: NDArray[np.floating]
    number: int
    seconds: float


def measure(sources: Sources, progress: Progress) -> None:
    """Measures what is not finished yet; adds a line for each set of labels."""
    cleanlab_version()
    names = ("rules", *LABEL_SETS)
    jobs = ((name, functools.partial(one, name, sources, progress)) for name in names)
    run_folder.add_missing(PATH, jobs, lambda row: row["labels"])


def one(name: str, sources: Sources, progress: Progress) -> dict[str, Any]:
    """What both find in one set of labels."""
    if name == "rules":
        examples, given = data_sets.text(sources)
    else:
        examples, label_sets = data_sets.features(sources)
        given = label_sets[name]
    progress.say(f"{name}: cleanlab")
    of_cleanlab = by_cleanlab(examples, given)
    progress.say(f"{name}: audit of {METHOD}")
    of_audit = by_audit(name, examples, given, progress)
    wrong = given != examples.train_y
    return {
        "labels": name,
        "examples": len(given),
        "wrong": int(wrong.sum()),
        "audit": measures(of_audit, wrong),
        "cleanlab": measures(of_cleanlab, wrong),
        "cleanlab_version": cleanlab_version(),
        "provenance": run_folder.provenance(),
    }


def cleanlab_version() -> str:
    """The installed version; UserError if there is none."""
    try:
        return importlib.metadata.version("cleanlab")
    except importlib.metadata.PackageNotFoundError:
        raise UserError("cleanlab is not installed; `pip install 'noisy-optax[cleanlab]'`") from None


def by_cleanlab(examples: Examples, given: NDArray) -> Found:
    """Confident learning with a logistic regression."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    begun = time.perf_counter()
    model = LogisticRegression(max_iter=1000)
    p = cross_val_predict(model, examples.train_x, given, cv=FOLDS, method="predict_proba")
    number = int(find_label_issues(given, p).sum())
    return Found(-get_label_quality_scores(given, p), number, time.perf_counter() - begun)


def by_audit(name: str, examples: Examples, given: NDArray, progress: Progress) -> Found:
    """One training, as in the benchmark of the recipe, and its audit."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        labels_file = data_sets.write_labels(work, "given", given)
        data = Data(dataset=data_sets.write(work, "data", examples), labels_file=labels_file, scaling="none")
        experiment = Experiment(data) if name == "rules" else on_features(data, epochs=40)
        train(METHOD, experiment, work / "run", progress)
        evidence = audit.collect(work / "run", None, progress)[1]
        verdict = audit.judge(evidence, [0], "dynamics")
    return Found(verdict.score, int(audit_files.is_wrong(verdict).sum()), time.perf_counter() - begun)


def measures(found: Found, wrong: NDArray[np.bool_]) -> dict[str, float]:
    """How good a ranking is.

    >>> measures(Found(np.array([3.0, 2.0, 1.0]), 1, 0.5), np.array([True, False, True]))["precision"]
    0.5
    """
    first = np.argsort(-found.score, kind="stable")[: wrong.sum()]
    return {
        "auroc": round(float(roc_auc_score(wrong, found.score)), 4),
        "average_precision": round(float(average_precision_score(wrong, found.score)), 4),
        "precision": round(float(wrong[first].mean()), 4),
        "number": found.number,
        "seconds": round(found.seconds, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each set of labels, with the audit's measure before cleanlab's."""
    heading = ["labels", "wrong", "AUROC", "average precision", "precision of the first", "judged wrong"]
    lines = [[*heading, "seconds"], ["---", *["---:"] * 6]]
    for row in rows:
        own, other = row["audit"], row["cleanlab"]
        lines.append(
            [
                row["labels"],
                f"{row['wrong']:,} of {row['examples']:,}",
                *(_pair(own[name], other[name]) for name in ("auroc", "average_precision", "precision")),
                f"{own['number']:,} / {other['number']:,}",
                f"{own['seconds']:.0f} / {other['seconds']:.0f}",
            ]
        )
    return markdown(lines)


def _pair(own: float, other: float) -> str:
    """Two measures to three digits; the larger is bold."""
    left, right = f"{own:.3f}", f"{other:.3f}"
    return f"**{left}** / {right}" if own > other else f"{left} / **{right}**"
