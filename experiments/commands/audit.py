"""Which training labels are probably wrong: ranked, with a suggestion for each, and their share."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

import noisy_optax as nox
from experiments.commands.flags import Audit
from experiments.data.dataset import Dataset, Images, Stream, class_names
from experiments.runs import audit_files, contents, run_folder, saved_model
from experiments.runs.audit_files import Verdict, is_wrong
from experiments.terminal import Progress, UserError, name_cell, print_table
from experiments.training import loop, training_data
from noisy_optax.audit import Dynamics

Method = Literal["dynamics", "mixture", "both"]

# The fields of the dynamics that are arrays over examples.
OF_EXAMPLES = [name for name in Dynamics._fields if name not in ("epochs", "share")]
# Shorter runs than these are not among those that the intervals were measured on.
FEWEST_EPOCHS = 10


class Evidence(NamedTuple):
    """What was measured of each training example of the source, in its order, by each seed.

    Attributes:
      probabilities: of each class, by the shipped model of each seed, or by one that never saw the example.
      dynamics: how each seed predicted the labels while it was trained.
    """

    seeds: range
    given: NDArray[np.int32]
    clean: NDArray[np.int32] | None
    probabilities: NDArray[np.float32]
    dynamics: Dynamics


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
    rate = noise_rate(verdict) if verdict.learnt else None
    judged_wrong = int(np.sum(is_wrong(verdict)))
    result = {
        "learnt": bool(verdict.learnt),
        "estimated_noise_rate": rate,
        "judged_wrong": judged_wrong,
        "method": method,
        "folds": folds,
        "seed": evidence.seeds[chosen[0]],
        "seeds": [evidence.seeds[i] for i in chosen],
        "auroc": auroc(verdict.score, given, evidence.clean),
        "config": run_folder.read_config(run_dir),
        "provenance": run_folder.provenance(),
    }
    order = np.argsort(-verdict.score, kind="stable")
    probabilities = evidence.probabilities[chosen].mean(axis=0)
    audit_files.write(run_dir, order, given, verdict, probabilities, dataset, result, progress)
    if verdict.learnt:
        print_table(console, table(order[:10], given, verdict, dataset))
    else:
        progress.say(not_learnt(evidence, chosen, dataset))
    for line in in_words(rate, judged_wrong, len(given), int(evidence.dynamics.epochs.min())):
        progress.say(line)
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


def not_learnt(evidence: Evidence, chosen: list[int], dataset: Dataset) -> str:
    """That nothing can be said about the labels, and why."""
    given = evidence.given[chosen[0]]
    predicted = np.asarray(evidence.dynamics.latest_prediction)[chosen]
    names = class_names(dataset)
    of_class = np.bincount(given, minlength=len(names))
    found = np.bincount(np.maximum(predicted, 0).ravel(), minlength=len(names)) / len(chosen)
    rare = [name for name, n, m in zip(names, of_class, found, strict=True) if m < n / 2]
    some = ", ".join(rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
    return (
        f"the model has not learnt this task: it almost never predicts {some or 'some of the classes'}, and "
        "what it has not learnt looks like wrong labels. Train longer, with another --learning-rate, or with "
        "--scaling standardize"
    )


def in_words(rate: dict[str, float] | None, judged_wrong: int, examples: int, epochs: int) -> list[str]:
    """What the audit found, in sentences for the terminal.

    >>> in_words({"rate": 0.15, "low": 0.12, "high": 0.18}, 79, 500, 100)
    ['79 of 500 labels (15.8%) are judged wrong; an estimated 12.0% to 18.0% of all are (95% interval)']
    """
    if rate is None:
        return ["the share of wrong labels is not estimated, and no label is judged wrong"]
    lines = [
        f"{judged_wrong:,} of {examples:,} labels ({judged_wrong / examples:.1%}) are judged wrong; an "
        f"estimated {rate['low']:.1%} to {rate['high']:.1%} of all are (95% interval)"
    ]
    if rate["high"] - rate["low"] > 0.1:
        lines.append(
            "the interval is wide, since mistakes of the model would look the same as wrong labels; trust "
            "the order of the list, and look at the examples"
        )
    if epochs < FEWEST_EPOCHS:
        lines.append(
            f"the run has recorded {epochs} epochs; the interval holds for runs of {FEWEST_EPOCHS} and more"
        )
    return lines


def check_writable(run_dir: Path) -> None:
    """Raises UserError where nothing can be written, before hours of training are."""
    contents.check_is_run(run_dir, "audit")
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
    fold = run.resolved.get("fold")
    dataset, given, split = training_data.load(
        run.experiment, progress, None if fold is None else training_data.Fold(*fold)
    )
    check_data(run_dir, run.resolved, dataset)
    shape = given.given.shape
    if folds is None:
        everything: NDArray[np.integer] = np.arange(shape[1])
        parts = iter([(run, split, everything, dataset.train_images)])
    else:
        if not 2 <= folds <= shape[1]:
            raise UserError(
                f"--folds must be from 2 to {shape[1]}, the number of training examples, got {folds}"
            )
        left = shape[1] - -(-shape[1] // folds)
        if left < run.experiment.optimization.batch_size:
            raise UserError(
                f"--folds {folds} leaves {left} examples to train on, less than a batch of the run "
                f"({run.experiment.optimization.batch_size}); train it again with a smaller --batch-size"
            )
        parts = _train_folds(run_dir, run, folds, progress)
    probabilities = np.zeros((*shape, dataset.num_classes), np.float32)
    # The share of wrong labels is judged by the run itself, whatever folds are trained.
    dynamics = run.state.training.audit
    for source, trained_on, indices, images in parts:
        probabilities[:, indices] = saved_model.probabilities(source, images)
        own = in_source_order(source.state.training.audit, trained_on)
        dynamics = dynamics._replace(
            **{
                name: getattr(dynamics, name).at[:, indices].set(getattr(own, name)[:, indices])
                for name in OF_EXAMPLES
            }
        )
    if not np.isfinite(probabilities).all():
        raise UserError(f"{run_dir}: the training diverged, its probabilities are not finite; train it anew")
    dynamics = jax.vmap(with_final)(dynamics, jnp.asarray(probabilities), jnp.asarray(given.given))
    seeds = training_data.seeds_of(run.experiment)
    return dataset, Evidence(seeds, given.given, given.clean, probabilities, dynamics)


def in_source_order(dynamics: Dynamics, split: training_data.Split) -> Dynamics:
    """The dynamics with the examples in the order of the source, not those that are trained on first."""
    rows = np.argsort(np.concatenate([split.training, split.validation]))
    return dynamics._replace(**{name: getattr(dynamics, name)[:, rows] for name in OF_EXAMPLES})


def with_final(dynamics: Dynamics, p: Float[Array, "n C"], given: Int[Array, "n"]) -> Dynamics:
    """The dynamics of one seed, with the model's probabilities for the examples that no epoch weighed.

    A run of an epoch leaves some examples out, and one that fits every label from the start weighs none.
    """
    logits = jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny))
    return nox.audit.record(dynamics, jnp.arange(len(given)), logits, given, where=dynamics.weight == 0)


def check_data(run_dir: Path, expected: dict[str, Any], dataset: Dataset) -> None:
    """Raises UserError if this is not the data that the run was trained on."""
    if not training_data.is_as_recorded(dataset, expected):
        found = training_data.resolved(dataset, expected["train_examples"])["data_hash"]
        raise UserError(
            f"the data have changed since {run_dir} was trained (hash {expected['data_hash']} then, {found} "
            f"now); bring them back or train anew"
        )


def _train_folds(
    run_dir: Path, run: saved_model.Trained, folds: int, progress: Progress
) -> Iterator[tuple[saved_model.Trained, training_data.Split, NDArray[np.integer], Images | Stream]]:
    """A run trained without a fold, its split, and the indices and images of the fold."""
    # Each fold takes the place of the run's own validation part.
    data = dataclasses.replace(run.experiment.data, validation_fraction=0.0)
    experiment = dataclasses.replace(run.experiment, data=data, select="last")
    for fold in (training_data.Fold(index, folds) for index in range(folds)):
        folder = run_dir / "folds" / str(folds) / str(fold.number)
        loop.train(run.method, experiment, folder, progress, fold=fold)
        _, _, split = training_data.load(experiment, progress, fold)
        yield saved_model.restore(folder), split, split.validation, split.validation_images


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
    dynamics = jax.tree.map(lambda x: x[np.asarray(chosen)], evidence.dynamics)
    early = Verdict(*map(np.asarray, nox.audit.judge(dynamics, given)))
    if method == "dynamics" or not early.learnt:
        return early
    log_p = np.log(np.maximum(_at(probabilities, given), np.finfo(np.float32).tiny))
    suggested = probabilities.argmax(axis=1).astype(np.int32)
    late = early._replace(probability_wrong=from_mixture(-log_p), score=-log_p, suggested=suggested)
    if method == "mixture":
        return late
    mean = (early.probability_wrong + late.probability_wrong) / 2
    return early._replace(probability_wrong=mean, score=mean)


def from_mixture(losses: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probability that a label is wrong: of the larger losses in a mixture of two normals."""
    x = jnp.asarray(losses, jnp.float32)
    mixture = nox.ogc.fit_mixture(x, max_rounds=100, tolerance=1e-6)
    probability = 1.0 - np.asarray(nox.ogc.clean_probability(mixture, x), np.float64)
    # A component that is empty leaves nothing to tell apart.
    return np.nan_to_num(probability, nan=0.0)


def noise_rate(verdict: Verdict) -> dict[str, float]:
    """The estimated share of wrong labels, by the names of `nox.audit.NoiseRate`."""
    found = nox.audit.noise_rate(nox.audit.Verdict(*map(jnp.asarray, verdict)))
    return {name: float(value) for name, value in found._asdict().items()}


def auroc(
    score: NDArray[np.floating], given: NDArray[np.integer], clean: NDArray[np.integer] | None
) -> float | None:
    """Area under the ROC curve of finding the wrong labels; None if none or all are wrong, or unknown."""
    if clean is None or (given == clean).all() or (given != clean).all():
        return None
    return float(roc_auc_score(given != clean, score))


def _at(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.floating]:
    return np.take_along_axis(probabilities, labels[..., None], axis=-1)[..., 0]


def table(
    order: NDArray[np.integer], given: NDArray[np.integer], verdict: Verdict, dataset: Dataset
) -> Table:
    """The most suspicious labels for the terminal."""
    printed = Table(title="labels most probably wrong", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("rank", "index", "given", "suggested", "wrong with probability"):
        printed.add_column(heading, justify="right", no_wrap=True)
    if dataset.train_names:
        printed.add_column(name_cell(dataset.named_by), overflow="fold")
    names = class_names(dataset)
    for rank, index in enumerate(order, 1):
        labels = [name_cell(names[label]) for label in (given[index], verdict.suggested[index])]
        name = [name_cell(dataset.train_names[index])] if dataset.train_names else []
        printed.add_row(str(rank), str(index), *labels, f"{verdict.probability_wrong[index]:.4f}", *name)
    return printed
