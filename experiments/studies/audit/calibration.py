"""Whether the audit's probabilities and intervals mean what they say, on 308 runs of many kinds.

Each run trains once on labels of which the right ones are known, and is audited. The list, and which half a
run belongs to, were fixed before the first run. The audit was designed on one half, and its calibration is
reported on the other. A finished run is a line of experiments/results/calibration/HALF.jsonl, and is not run
again.
"""

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.commands import audit
from experiments.commands.compare import under_noise
from experiments.config import Data, Experiment, Optimization
from experiments.runs import run_folder
from experiments.studies import data_sets
from experiments.studies.data_sets import Examples, Sources
from experiments.studies.recipe.cells import on_features
from experiments.terminal import Progress
from experiments.training.loop import train

RESULTS = Path(__file__).parents[2] / "results" / "calibration"

Half = Literal["design", "reported"]
METHODS = ("cross_entropy", "generalized_cross_entropy", "dal", "recommended")
EPOCHS = (10, 25, 100)
RATES = (0.02, 0.06, 0.2, 0.4)
NOISES = tuple(f"{kind}-{rate}" for rate in RATES for kind in ("symmetric", "pair", "instance"))
# What people gave, or rules that people wrote.
OF_PEOPLE = {
    "text": ("rules", "rules"),
    "features 5000": ("cifar10n_aggregate", "cifar10n_worst"),
}
LARGE_NOISES = ("none", "cifar10n_aggregate", "cifar10n_worst", "symmetric-0.06", "instance-0.2")
TABLE_CLASSES, TABLE_SEPARATIONS = (2, 5, 10), (1.0, 2.0)
BINS = 10


class Run(NamedTuple):
    """One training.

    Attributes:
      data: which data set, and how many examples of it where there is a choice.
      noise: `none`, `KIND-RATE`, or the name of a label set that people made.
      seed: of everything that is drawn, the choice of the examples included.
    """

    data: str
    noise: str
    method: str
    epochs: int
    seed: int

    @property
    def half(self) -> Half:
        """Runs with even seeds are for the design, those with odd seeds are reported."""
        return "reported" if self.seed % 2 else "design"


def runs() -> Iterator[Run]:
    """All runs.

    >>> len(list(runs())), sum(run.half == "design" for run in runs())
    (308, 154)
    """
    settings = list(itertools.product(METHODS, EPOCHS))
    for data in ("digits 300", "digits 1500", "table 300", "table 1500", "text", "features 5000"):
        people = OF_PEOPLE.get(data)
        for number, (method, epochs) in enumerate(settings):
            # Each pair of a kind and a rate comes equally often, never twice with one setting.
            own = [NOISES[(number + step) % len(NOISES)] for step in (0, 5, 10)]
            noises = ["none", *own] if people is None else ["none", own[0], *people]
            for place, noise in enumerate(noises):
                yield Run(data, noise, method, epochs, 4 * number + (place + number) % 4)
    for place, noise in enumerate(LARGE_NOISES):
        for number, method in enumerate(METHODS):
            yield Run(
                "features 50000",
                noise,
                method,
                EPOCHS[(place + number) % 3],
                4 * place + (place + number) % 4,
            )


def measure(half: Half, sources: Sources, progress: Progress) -> None:
    """Trains and audits what is not finished yet; adds a line for each run."""
    jobs = ((run, functools.partial(one, run, sources, progress)) for run in runs() if run.half == half)
    run_folder.add_missing(
        RESULTS / f"{half}.jsonl", jobs, lambda row: Run(*(row[name] for name in Run._fields))
    )


def one(run: Run, sources: Sources, progress: Progress) -> dict[str, Any]:
    """Trains and audits; the line of its results."""
    progress.say(", ".join(map(str, run)))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "run"
        summary = train(run.method, experiment_of(run, sources, Path(work)), folder, progress)
        accuracy = run_folder.read_metrics(folder, run.epochs)[-1]["test_accuracy"][0]
        evidence = audit.collect(folder, None, progress)[1]
    given = evidence.given[0]
    # Without noise, the given labels are the right ones.
    wrong = given != (given if evidence.clean is None else evidence.clean)
    verdict = audit.judge(evidence, [0], "dynamics")
    return {
        **run._asdict(),
        "examples": len(wrong),
        "test_accuracy": accuracy,
        "wrong": float(wrong.mean()),
        "learnt": bool(verdict.learnt),
        "estimate": audit.noise_rate(verdict),
        "auroc": audit.auroc(verdict.score, given, evidence.clean),
        "bins": bins(verdict.probability_wrong, wrong),
        "seconds": round(summary["seconds"], 1),
        "commit": summary["provenance"]["commit"],
    }


def bins(probability: NDArray[np.floating], wrong: NDArray[np.bool_]) -> list[list[float]]:
    """For each tenth of [0, 1]: examples with such a probability, their mean probability, wrong labels.

    >>> bins(np.array([0.02, 0.04, 1.0]), np.array([False, True, True]))[0]
    [2, 0.03, 1]
    """
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    members = [place == number for number in range(BINS)]
    return [
        [
            int(own.sum()),
            round(float(probability[own].mean()), 6) if own.any() else 0.0,
            int(wrong[own].sum()),
        ]
        for own in members
    ]


def experiment_of(run: Run, sources: Sources, work: Path) -> Experiment:
    """The configuration of a run, its data written into `work`."""
    examples, label_sets = examples_of(run, sources)
    given = None
    if run.noise in label_sets:
        given = data_sets.write_labels(work, "given", label_sets[run.noise])
    data = Data(dataset=data_sets.write(work, "data", examples), labels_file=given, scaling="none")
    if run.data.startswith("features"):
        experiment = on_features(data, run.epochs)
    else:
        experiment = Experiment(data, optimization=Optimization(epochs=run.epochs))
    experiment = dataclasses.replace(experiment, first_seed=run.seed, checkpoint_every=run.epochs)
    return experiment if data.labels_file else under_noise(experiment, run.noise)


def examples_of(run: Run, sources: Sources) -> tuple[Examples, dict[str, NDArray]]:
    """The examples of a run, and the label sets of their training part that people made."""
    kind, _, size = run.data.partition(" ")
    rng = np.random.default_rng(run.seed)
    match kind:
        case "digits":
            from sklearn.datasets import load_digits

            digits = load_digits()
            order = rng.permutation(len(digits.target))
            pixels, labels = digits.images[order, ..., None] / 16, digits.target[order]
            return Examples(pixels[: int(size)], labels[: int(size)], pixels[1500:], labels[1500:]), {}
        case "table":
            classes = TABLE_CLASSES[run.seed // 2 % len(TABLE_CLASSES)]
            separation = TABLE_SEPARATIONS[run.seed // 4 % len(TABLE_SEPARATIONS)]
            # No class is drawn at random: such a row would count as wrong, and its label as right.
            return data_sets.table(int(size), classes, run.seed, separation, flipped=0.0), {}
        case "text":
            examples, by_rules = data_sets.text(sources)
            return examples, {"rules": by_rules}
        case "features":
            examples, label_sets = data_sets.features(sources)
            rows = rng.permutation(len(examples.train_y))[: int(size)]
            part = examples._replace(train_x=examples.train_x[rows], train_y=examples.train_y[rows])
            return part, {name: labels[rows] for name, labels in label_sets.items() if name != "test"}
    raise ValueError(f"no data set {run.data}")
