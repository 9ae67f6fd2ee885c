"""What a second stage gains: training on the labels that the audit of the first stage corrected.

Where cleanlab is installed, its CleanLearning with logistic regression is measured on the same inputs. Each
finished line of experiments/results/cleaning/results.jsonl is kept.
"""

import dataclasses
import functools
import importlib.util
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from experiments.commands import two_stage
from experiments.commands.compare import under_noise
from experiments.config import Data, Experiment, Placement
from experiments.runs import run_folder
from experiments.studies import data_sets, templates
from experiments.studies.data_sets import Sources
from experiments.studies.recipe.cells import on_features
from experiments.studies.templates import markdown
from experiments.terminal import QUIET, Progress
from experiments.training import training_data
from experiments.training.loop import train

RESULTS = Path(__file__).parents[2] / "results" / "cleaning"
METHOD, SEEDS, FEATURES = "recommended", 3, 5000
DIGITS = ("none", "symmetric-0.2", "symmetric-0.4", "pair-0.3", "instance-0.4")
LABEL_SETS = ("clean", "cifar10n_aggregate", "cifar10n_worst")
NAMES = {
    "none": "digits, clean",
    "symmetric-0.2": "digits, symmetric 20 %",
    "symmetric-0.4": "digits, symmetric 40 %",
    "pair-0.3": "digits, pair 30 %",
    "instance-0.4": "digits, instance 40 %",
    "clean": "5,000 features, clean",
    "cifar10n_aggregate": "5,000 features, people, 9 %",
    "cifar10n_worst": "5,000 features, people, 40 %",
    "rules": "titles in Yoruba, keyword rules",
    "table": "table of 5 classes, symmetric 20 %",
}


def cells(sources: Sources, work: Path) -> Iterator[tuple[str, Experiment]]:
    """The experiments by their names."""
    for noise in DIGITS:
        yield noise, under_noise(Experiment(), noise)
    table = data_sets.write(work, "table", data_sets.table(2000, 5, seed=0))
    yield "table", under_noise(Experiment(data=Data(dataset=table, scaling="none")), "symmetric-0.2")
    if sources.text is not None:
        examples, by_rules = data_sets.text(sources)
        written = data_sets.write(work, "text", examples)
        given = data_sets.write_labels(work, "rules", by_rules)
        yield "rules", Experiment(data=Data(dataset=written, labels_file=given, scaling="none"))
    if sources.features is not None:
        whole, label_sets = data_sets.features(sources)
        first = whole._replace(train_x=whole.train_x[:FEATURES], train_y=whole.train_y[:FEATURES])
        written = data_sets.write(work, "features", first)
        for name in LABEL_SETS:
            given = data_sets.write_labels(work, name, label_sets[name][:FEATURES])
            yield name, on_features(Data(dataset=written, labels_file=given, scaling="none"), epochs=40)


def measure(sources: Sources, progress: Progress) -> None:
    """Trains what is not finished yet, and adds a line for each cell and seed."""
    with tempfile.TemporaryDirectory() as work:
        jobs = (
            ((name, seed), functools.partial(one, name, experiment, seed, Path(work), progress))
            for name, experiment in cells(sources, Path(work))
            for seed in range(SEEDS)
        )
        run_folder.add_missing(RESULTS / "results.jsonl", jobs, lambda row: (row["cell"], row["seed"]))


def one(name: str, experiment: Experiment, seed: int, work: Path, progress: Progress) -> dict[str, Any]:
    """The accuracy of both stages, and the share of right labels before and after."""
    progress.say(f"{name}, seed {seed}")
    experiment = dataclasses.replace(experiment, first_seed=seed)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        run_dir = Path(folder) / "run"
        first = train(METHOD, experiment, run_dir, QUIET)
        second = two_stage.second_stage(run_dir, METHOD, experiment, Placement(), Console(quiet=True))
    dataset, given, _ = training_data.load(experiment, QUIET)
    wrong = [summary["realised_noise"]["rate"][0] for summary in (first, second)]
    provenance = run_folder.provenance()
    return {
        "cell": name,
        "seed": seed,
        "first": first["last_10_mean"]["mean"],
        "second": second["last_10_mean"]["mean"],
        "right_before": 1 - wrong[0],
        "right_after": 1 - wrong[1],
        "clean_learning": clean_learning(
            dataset.train_images, given.given[0], dataset.test_images, dataset.test_labels, seed
        ),
        "seconds": [round(summary["seconds"], 1) for summary in (first, second)],
        "commit": provenance["commit"],
        "device": provenance["device"],
    }


def clean_learning(x: Any, y: NDArray, test_x: Any, test_y: Any, seed: int) -> float | None:
    """The accuracy of cleanlab's CleanLearning; None where cleanlab is not installed."""
    if importlib.util.find_spec("cleanlab") is None:
        return None
    from cleanlab.classification import CleanLearning
    from sklearn.linear_model import LogisticRegression

    flat, test = (np.asarray(part).reshape(len(part), -1) for part in (x, test_x))
    # In one process: JAX does not survive a fork.
    kwargs = {"n_jobs": 1}
    model = CleanLearning(
        LogisticRegression(max_iter=1000), seed=seed, cv_n_folds=5, find_label_issues_kwargs=kwargs
    )
    return float(np.mean(model.fit(flat, y).predict(test) == test_y))


def table(rows: list[dict[str, Any]]) -> str:
    """Both stages beside each other, mean and standard deviation over the seeds in percent."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["cell"]].append(row)
    shown = [
        ["data", "right labels", "corrected", "one stage", "two stages", "CleanLearning"],
        ["---", *["---:"] * 5],
    ]
    for cell, own in found.items():
        columns = ("right_before", "right_after", "first", "second", "clean_learning")
        shown.append([NAMES[cell], *(_spread([row[name] for row in own]) for name in columns)])
    return markdown(shown)


def _spread(values: list[float | None]) -> str:
    known = 100 * np.array([value for value in values if value is not None])
    if len(known) == 0:
        return ""
    return f"{known.mean():.1f} ± {known.std(ddof=1):.1f}" if len(known) > 1 else f"{known[0]:.1f}"


def page() -> str:
    """experiments/results/cleaning/README.md."""
    rows = run_folder.read_lines(RESULTS / "results.jsonl")
    return templates.render("cleaning.md.jinja", table=table(rows), seeds=SEEDS)
