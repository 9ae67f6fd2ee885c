"""Which training labels are probably wrong: ranked, with a suggestion for each, and their share."""

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

import noisy_optax as nox
from experiments.commands.flags import Audit
from experiments.data.dataset import Dataset
from experiments.runs import contents, run_folder, saved_model
from experiments.terminal import Progress, UserError
from experiments.training import loop, training_data

Method = Literal["dynamics", "mixture", "both"]

# Slope of the probability in the margin, in units of the mean absolute margin: chosen on digits with seeds 0
# to 4; the benchmark scores it on others.
STEEPNESS = 4.5


class Evidence(NamedTuple):
    """What was measured of each training example of the source, in its order, by each seed.

    Attributes:
      probabilities: of each class, by the shipped model of each seed, or by one that never saw the example.
      margins: mean margin over the training, see `dynamics.Dynamics`.
      votes: the class that training predicts most often.
      leads: by what share of the weight, at most 1.
      disagreement: share of labels that were not predicted after a tenth of the epochs, of each seed.
    """

    seeds: range
    given: NDArray[np.int32]
    clean: NDArray[np.int32] | None
    probabilities: NDArray[np.float32]
    margins: NDArray[np.float32]
    votes: NDArray[np.int32]
    leads: NDArray[np.float32]
    disagreement: NDArray[np.float64]


class Verdict(NamedTuple):
    """How probable it is that each label is wrong, a score that ranks the examples, and better labels."""

    probability_wrong: NDArray[np.float64]
    score: NDArray[np.float64]
    suggested: NDArray[np.int32]


class Rate(NamedTuple):
    """Estimated share of wrong labels with its standard error and 95 % interval."""

    rate: float
    standard_error: float
    low: float
    high: float


def run(command: Audit, console: Console) -> None:
    """Audits the run's labels."""
    audit(command.run, command.folds, command.method, command.seed, console)


def audit(
    run_dir: Path, folds: int | None, method: Method, seed: int | None, console: Console
) -> dict[str, Any]:
    """Writes labels.csv, audit.json and audit.npz into `run_dir` and prints the most suspicious labels."""
    progress = Progress(console)
    check_writable(run_dir)
    dataset, evidence = collect(run_dir, folds, progress)
    chosen = choose_seeds(evidence, seed)
    verdict = judge(evidence, chosen, method)
    given = evidence.given[chosen[0]]
    rate = noise_rate(verdict.probability_wrong, disagreement(evidence, chosen))
    result = {
        "estimated_noise_rate": rate._asdict(),
        "method": method,
        "folds": folds,
        "seed": evidence.seeds[chosen[0]],
        "seeds": [evidence.seeds[i] for i in chosen],
        "auroc": auroc(verdict.score, given, evidence.clean),
        "config": run_folder.read_config(run_dir),
        "provenance": run_folder.provenance(),
    }
    order = np.argsort(-verdict.score, kind="stable")
    write(run_dir, order, given, verdict, evidence.probabilities[chosen].mean(axis=0), dataset, result)
    console.print(table(order[:10], given, verdict, dataset))
    progress.say(
        f"estimated noise rate {rate.rate:.1%} ± {rate.standard_error:.1%}, 95 % interval {rate.low:.1%} to "
        f"{rate.high:.1%}"
    )
    if result["auroc"] is not None:
        progress.say(f"area under the ROC curve against the clean labels {result['auroc']:.3f}")
    for name in ("labels.csv", "audit.json", "audit.npz"):
        progress.say(f"written {run_dir / name}")
    if folds is None:
        progress.say(
            "the probabilities in audit.npz are of the model on its own training examples; "
            "--folds 5 makes them out of sample"
        )
    return result


def check_writable(run_dir: Path) -> None:
    """Raises UserError where nothing can be written, before hours of training are."""
    run_folder.read_config(run_dir)
    probe = run_dir / "labels.csv.unfinished"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{run_dir} cannot be written to ({error.strerror}); copy the run folder to where it can be"
        ) from error


def collect(run_dir: Path, folds: int | None, progress: Progress) -> tuple[Dataset, Evidence]:
    """What is known of every training example, from the run or from models trained without its fold."""
    run = saved_model.restore(run_dir)
    dataset, given, _ = training_data.load(run.experiment, progress)
    check_data(run_dir, run.resolved, dataset)
    shape = given.given.shape
    if folds is None:
        everything: NDArray[np.integer] = np.arange(shape[1])
        parts = iter([(everything, run, saved_model.probabilities(run, dataset.train_images))])
    else:
        if not 2 <= folds <= shape[1]:
            raise UserError(
                f"--folds must be from 2 to {shape[1]}, the number of training examples, got {folds}"
            )
        parts = _train_folds(run_dir, run, folds, progress)
    probabilities = np.zeros((*shape, dataset.num_classes), np.float32)
    margins, votes, leads = np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.ones(shape, np.float32)
    for indices, source, own in parts:
        if source.dynamics is None:
            raise UserError(
                f"{run_dir} was trained by a version that did not record what an audit needs; train it anew"
            )
        probabilities[:, indices] = own
        margin, weight, vote, lead = (np.asarray(x)[:, indices] for x in source.dynamics)
        # A run of an epoch leaves some examples out, and one that fits every label from the start weighs 0.
        seen = weight > 0
        labels = given.given[:, indices]
        margins[:, indices] = np.where(seen, margin / np.where(seen, weight, 1), _margins(own, labels))
        votes[:, indices] = np.where(seen, vote, own.argmax(axis=-1))
        leads[:, indices] = np.where(seen, lead / np.where(seen, weight, 1), 1)
    if not (np.isfinite(probabilities).all() and np.isfinite(margins).all()):
        raise UserError(f"{run_dir}: the training diverged, its probabilities are not finite; train it anew")
    seeds = training_data.seeds_of(run.experiment)
    return dataset, Evidence(
        seeds, given.given, given.clean, probabilities, margins, votes, leads, early_disagreement(run_dir)
    )


def early_disagreement(run_dir: Path) -> NDArray[np.float64]:
    """Share of the training labels that each seed did not predict after a tenth of the epochs, `[seeds]`."""
    history, _ = contents.read_history(run_dir / "metrics.jsonl")
    accuracy = np.asarray(history[len(history) // 10]["train_accuracy"])
    return 1 - accuracy


def check_data(run_dir: Path, expected: dict[str, Any], dataset: Dataset) -> None:
    """Raises UserError if this is not the data that the run was trained on."""
    found = training_data.resolved(dataset, expected["train_examples"])["data_hash"]
    if found != expected["data_hash"]:
        raise UserError(
            f"the data have changed since {run_dir} was trained (hash {expected['data_hash']} then, {found} "
            f"now); bring them back or train anew"
        )


def _train_folds(
    run_dir: Path, run: saved_model.Trained, folds: int, progress: Progress
) -> Iterator[tuple[NDArray[np.integer], saved_model.Trained, NDArray[np.float32]]]:
    """Indices that a fold holds out, the run trained without them, and its probabilities for them."""
    # Each fold takes the place of the run's own validation part.
    data = dataclasses.replace(run.experiment.data, validation_fraction=0.0)
    experiment = dataclasses.replace(run.experiment, data=data, select="last")
    for fold in (training_data.Fold(index, folds) for index in range(folds)):
        folder = run_dir / "folds" / str(folds) / str(fold.number)
        loop.train(run.method, experiment, folder, progress, fold=fold)
        _, _, split = training_data.load(experiment, progress, fold)
        own = saved_model.restore(folder)
        yield split.validation, own, saved_model.probabilities(own, split.validation_images)


def choose_seeds(evidence: Evidence, seed: int | None) -> list[int]:
    """Which seeds to use, counted from 0: all that share their labels, unless one is asked for."""
    if seed is not None:
        if seed not in evidence.seeds:
            raise UserError(
                f"--seed must be from {evidence.seeds[0]} to {evidence.seeds[-1]}, the seeds of the run, got "
                f"{seed}"
            )
        return [evidence.seeds.index(seed)]
    same = (evidence.given == evidence.given[0]).all()
    return list(range(len(evidence.seeds))) if same else [0]


def judge(evidence: Evidence, chosen: list[int], method: Method) -> Verdict:
    """The labels of the chosen seeds, which share them, by one kind of evidence or by two."""
    given = evidence.given[chosen[0]]
    probabilities = evidence.probabilities[chosen].mean(axis=0)
    margins = evidence.margins[chosen].mean(axis=0, dtype=np.float64)
    votes = np.zeros(probabilities.shape)
    for i in chosen:
        votes[np.arange(len(given)), evidence.votes[i]] += evidence.leads[i]
    # Where few labels are wrong, most of the margins' weight is on the first epochs, when nothing is learnt.
    probability_wrong = no_more_than(from_margins(margins), disagreement(evidence, chosen))
    early = Verdict(probability_wrong, -margins, votes.argmax(axis=1).astype(np.int32))
    if method == "dynamics":
        return early
    log_p = np.log(np.maximum(_at(probabilities, given), np.finfo(np.float32).tiny))
    late = Verdict(from_mixture(-log_p), -log_p, probabilities.argmax(axis=1).astype(np.int32))
    if method == "mixture":
        return late
    mean = (early.probability_wrong + late.probability_wrong) / 2
    return Verdict(mean, mean, early.suggested)


def from_margins(margins: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability that a label is wrong: logistic in its margin, in units of the mean absolute margin.

    >>> from_margins(np.array([-0.5, 0.0, 0.5])).round(2)
    array([1. , 0.5, 0. ])
    """
    unit = np.abs(margins).mean()
    return expit(-STEEPNESS * np.asarray(margins, np.float64) / max(float(unit), 1e-30))


def disagreement(evidence: Evidence, chosen: list[int]) -> float:
    """Share of the labels that the chosen seeds did not predict after a tenth of the epochs."""
    return float(evidence.disagreement[chosen].mean())


def no_more_than(probability_wrong: NDArray[np.floating], share: float) -> NDArray[np.float64]:
    """The same order, with the log-odds lowered so that at most a share of the labels is above 1/2.

    >>> no_more_than(np.array([0.9, 0.6, 0.8, 0.1]), 0.25).round(2)
    array([0.6 , 0.2 , 0.4 , 0.02])
    """
    p = np.clip(np.asarray(probability_wrong, np.float64), 1e-12, 1 - 1e-12)
    log_odds = logit(p)
    allowed = int(share * len(p))
    if np.sum(p > 0.5) <= allowed:
        return p
    falling = np.sort(log_odds)[::-1]
    # Half way between the last that may be above and the first that may not.
    limit = falling[0] if allowed == 0 else (falling[allowed - 1] + falling[allowed]) / 2
    return expit(log_odds - limit)


def from_mixture(losses: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability that a label is wrong: of the larger losses in a mixture of two normals."""
    x = jnp.asarray(losses, jnp.float32)
    mixture = nox.ogc.fit_mixture(x, max_rounds=100, tolerance=1e-6)
    state = nox.ogc.ogc_loss(learning_rate=0.0).init()._replace(mixture=mixture)
    probability = 1.0 - np.asarray(nox.ogc.clean_probability(state.mixture, x), np.float64)
    # A component that is empty leaves nothing to tell apart.
    return np.nan_to_num(probability, nan=0.0)


def noise_rate(probability_wrong: NDArray[np.floating], disagreement: float = 0.0) -> Rate:
    """The share of labels that are more probably wrong than right, with its error.

    The variance is that of a share of so many examples, `r (1 - r) / n`, and the square of half the share of
    labels on the wrong side of 1/2 that the probabilities themselves expect, the mean of `min(p, 1 - p)`:
    such mistakes may be all of one kind. The interval reaches up to the early disagreement, in which wrong
    labels are counted together with those that are only hard.

    >>> noise_rate(np.array([0.0, 0.0, 0.0, 1.0])).rate
    0.25
    """
    p = np.asarray(probability_wrong, np.float64)
    rate = float(np.mean(p > 0.5))
    error = float(np.sqrt(rate * (1 - rate) / len(p) + np.mean(np.minimum(p, 1 - p)) ** 2 / 4))
    return Rate(rate, error, max(rate - 1.96 * error, 0.0), min(max(rate + 1.96 * error, disagreement), 1.0))


def auroc(
    score: NDArray[np.floating], given: NDArray[np.integer], clean: NDArray[np.integer] | None
) -> float | None:
    """Area under the ROC curve of finding the wrong labels; None if none or all are wrong, or unknown."""
    if clean is None or (given == clean).all() or (given != clean).all():
        return None
    return float(roc_auc_score(given != clean, score))


def _margins(probabilities: NDArray[np.floating], given: NDArray[np.integer]) -> NDArray[np.floating]:
    """`dynamics.margins` of probabilities."""
    others = probabilities.copy()
    np.put_along_axis(others, given[..., None], 0.0, axis=-1)
    return _at(probabilities, given) - others.max(axis=-1)


def _at(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.floating]:
    return np.take_along_axis(probabilities, labels[..., None], axis=-1)[..., 0]


def write(
    run_dir: Path,
    order: NDArray[np.integer],
    given: NDArray[np.integer],
    verdict: Verdict,
    probabilities: NDArray[np.floating],
    dataset: Dataset,
    result: dict[str, Any],
) -> None:
    """The three files, each whole or not at all."""

    def csv_file(path):
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows(rows(order, given, verdict, dataset))

    def npz_file(path):
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                given_labels=given.astype(np.int32),
                probabilities=probabilities.astype(np.float32),
                probability_wrong=verdict.probability_wrong.astype(np.float32),
            )

    for name, make in (("labels.csv", csv_file), ("audit.npz", npz_file)):
        with run_folder.whole(run_dir / name) as unfinished:
            make(unfinished)
    # Last: with it the audit is finished.
    run_folder.write_json(run_dir / "audit.json", result)


def rows(
    order: NDArray[np.integer], given: NDArray[np.integer], verdict: Verdict, dataset: Dataset
) -> Iterator[list[object]]:
    """The lines of labels.csv."""
    files, names = dataset.train_files, dataset.class_names
    yield [
        *("rank", "index", "given_label", "suggested_label", "probability_wrong"),
        *["file"] * bool(files),
        *["given_class", "suggested_class"] * bool(names),
    ]
    for rank, index in enumerate(order, 1):
        labels = int(given[index]), int(verdict.suggested[index])
        yield [
            *(rank, int(index), *labels, f"{verdict.probability_wrong[index]:.6f}"),
            *([files[index]] if files else []),
            *([names[label] for label in labels] if names else []),
        ]


def table(
    order: NDArray[np.integer], given: NDArray[np.integer], verdict: Verdict, dataset: Dataset
) -> Table:
    """The most suspicious labels for the terminal."""
    printed = Table(title="labels most probably wrong", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("rank", "index", "given", "suggested", "wrong with probability"):
        printed.add_column(heading, justify="right", no_wrap=True)
    if dataset.train_files:
        printed.add_column("file", overflow="fold")
    names = dataset.class_names or tuple(map(str, range(dataset.num_classes)))
    for rank, index in enumerate(order, 1):
        labels = escape(names[given[index]]), escape(names[verdict.suggested[index]])
        file = [escape(dataset.train_files[index])] if dataset.train_files else []
        printed.add_row(str(rank), str(index), *labels, f"{verdict.probability_wrong[index]:.4f}", *file)
    return printed
