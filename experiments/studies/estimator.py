"""The classifier for scikit-learn beside two of scikit-learn's own, on clean labels and with a fifth wrong.

Each finished line of experiments/results/estimator/results.jsonl is kept.
"""

import functools
import itertools
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments.runs import run_folder
from experiments.studies import data_sets, templates
from experiments.studies.data_sets import Examples
from experiments.studies.templates import markdown
from experiments.terminal import Progress
from noisy_optax.sklearn import NoisyLabelClassifier

RESULTS = Path(__file__).parents[1] / "results" / "estimator"
DATA = ("digits", "breast cancer", "wine", "table of 5 classes", "moons")
RATES, SEEDS = (0.0, 0.2), 5


def measure(progress: Progress) -> None:
    """Measures what is not finished yet; adds a line for each data set, rate and seed."""
    keys = itertools.product(DATA, RATES, range(SEEDS))
    jobs = ((key, functools.partial(one, *key, progress)) for key in keys)
    run_folder.add_missing(
        RESULTS / "results.jsonl", jobs, lambda row: (row["data"], row["rate"], row["seed"])
    )


def one(name: str, rate: float, seed: int, progress: Progress) -> dict[str, Any]:
    """Accuracy and seconds of each classifier."""
    progress.say(f"{name}, {rate:.0%} wrong, seed {seed}")
    examples = examples_of(name, seed)
    given = flipped(examples.train_y, rate, seed)
    row: dict[str, Any] = {"data": name, "rate": rate, "seed": seed}
    for key, model in classifiers(seed).items():
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(examples.train_x, given)
        seconds = time.perf_counter() - begun
        row[key] = {
            "accuracy": round(float(model.score(examples.test_x, examples.test_y)), 4),
            "seconds": round(seconds, 2),
        }
    return row | {"commit": run_folder.provenance()["commit"]}


def classifiers(seed: int) -> dict[str, ClassifierMixin]:
    """What is compared, each with its defaults."""
    return {
        "NoisyLabelClassifier": NoisyLabelClassifier(random_state=seed),
        "MLPClassifier": make_pipeline(StandardScaler(), MLPClassifier(random_state=seed)),
        "LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }


def examples_of(name: str, seed: int) -> Examples:
    """A data set, 70 % of it to train on."""
    match name:
        case "digits":
            x, y = datasets.load_digits(return_X_y=True)
        case "breast cancer":
            x, y = datasets.load_breast_cancer(return_X_y=True)
        case "wine":
            x, y = datasets.load_wine(return_X_y=True)
        case "moons":
            x, y = datasets.make_moons(2000, noise=0.2, random_state=seed)
        case _:
            return data_sets.table(2000, 5, seed, separation=1.5, flipped=0.0)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y)
    return Examples(train_x, train_y, test_x, test_y)


def flipped(labels: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Labels of which a share is changed to any of the others.

    >>> int(np.sum(flipped(np.arange(10) % 3, 0.2, seed=0) != np.arange(10) % 3))
    2
    """
    rng, given = np.random.default_rng(seed), labels.copy()
    rows = rng.choice(len(labels), round(rate * len(labels)), replace=False)
    classes = labels.max() + 1
    given[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return given


def page() -> str:
    """experiments/results/estimator/README.md."""
    rows = run_folder.read_lines(RESULTS / "results.jsonl")
    names = list(classifiers(0))
    lines = [["data", "wrong", *(f"`{name}`" for name in names), "seconds"], ["---", *["---:"] * 5]]
    for data in DATA:
        for rate in RATES:
            own = [row for row in rows if (row["data"], row["rate"]) == (data, rate)]
            if own:
                lines.append([data, f"{rate:.0%}", *_accuracies(own, names), _seconds(own, names)])
    return templates.render("estimator.md.jinja", table=markdown(lines))


def _accuracies(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    found = [100 * np.array([row[name]["accuracy"] for row in rows]) for name in names]
    best = max(own.mean() for own in found)
    shown = [f"{own.mean():.1f} ± {own.std(ddof=1):.1f}" for own in found]
    return [f"**{text}**" if own.mean() == best else text for own, text in zip(found, shown, strict=True)]


def _seconds(rows: list[dict[str, Any]], names: list[str]) -> str:
    return " / ".join(f"{np.median([row[name]['seconds'] for row in rows]):.1f}" for name in names)
