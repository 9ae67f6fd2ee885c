"""What there is to know of a run: what its folder says, and what its model says of its data."""

import csv
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import noisy_optax as nox
from experiments.config import Experiment
from experiments.data.dataset import Dataset
from experiments.runs import json_records, run_folder, saved_config, saved_model
from experiments.safety import csv_files
from experiments.terminal import Progress, UserError
from experiments.training import metrics, training_data


class Suspect(NamedTuple):
    """A row of labels.csv; `number` is its own, the header's being 1, and `example` the file's index."""

    number: int
    example: int
    given: int
    suggested: int
    probability: float
    file: str | None


class Run(NamedTuple):
    """What a run folder says, the run finished or not.

    Attributes:
      record: its configuration, as in config.json.
      history: the metrics of each finished epoch.
      summary: as in summary.json; of an unfinished run as far as it went, None if it has no epoch yet.
      suspects: the rows of labels.csv, or None without an audit.
      audit: what else the audit found, or None.
      remarks: what is unfinished or damaged, in sentences.
    """

    folder: Path
    method: str
    experiment: Experiment
    record: dict[str, Any]
    provenance: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any] | None
    suspects: list[Suspect] | None
    audit: dict[str, Any] | None
    remarks: list[str]


class Predictions(NamedTuple):
    """What the model that a run ships says of the run's data, counted over seeds.

    Attributes:
      by: which model, in words.
      test: how often true class and predicted class meet, `[C, C]`; None without test data.
      given: the same of given labels and predicted classes of the training examples.
      queue: of optimized gradient clipping: latest losses, `[seeds, queue]`, which of them are valid, and
        the epoch they are of.
    """

    by: str
    test: NDArray[np.integer] | None
    given: NDArray[np.integer]
    queue: tuple[np.ndarray, np.ndarray, int] | None


class Data(NamedTuple):
    """A run's data; true labels and the share of wrong ones per seed are None where they are unknown."""

    dataset: Dataset
    given: NDArray[np.int32]
    clean: NDArray[np.int32] | None
    rate: NDArray[np.float32] | None


def expand(folders: tuple[Path, ...]) -> list[Path]:
    """The run folders that are meant, each once: for one of `compare`, those in it."""
    found: dict[Path, Path] = {}
    for folder in folders:
        inner = [folder]
        if "comparison" in run_folder.read_config(folder):
            inner = runs_in(folder)
            if not inner:
                raise UserError(f"{folder}: is a comparison in which no run has begun yet")
        found |= {path.resolve(): path for path in inner}
    return list(found.values())


def check_is_run(run_dir: Path, verb: str) -> None:
    """Raises UserError for the folder of a comparison; `verb` is what can be done with one of its runs."""
    if "comparison" in run_folder.read_config(run_dir):
        runs = runs_in(run_dir)
        raise UserError(
            f"{run_dir} is a comparison of several runs; {verb} one of them: "
            f"{', '.join(map(str, runs)) or 'none has begun'}"
        )


def runs_in(folder: Path) -> list[Path]:
    """The folders of the runs in the folder of a comparison."""
    return sorted(path.parent for path in folder.glob("*/config.json"))


def read(folder: Path) -> Run:
    """Reads all of a run folder but its checkpoints."""
    method, experiment, record, resolved, provenance = saved_config.read(folder)
    history, remarks = read_history(folder / "metrics.jsonl", experiment.seeds, resolved["num_classes"])
    epochs = experiment.optimization.epochs
    summary = run_folder.read_summary(folder / "summary.json") if (folder / "summary.json").exists() else None
    if summary is None:
        remarks.insert(0, f"This run is not finished: {len(history)} of {epochs} epochs are done.")
        seeds = list(training_data.seeds_of(experiment))
        summary = {**metrics.summarize(history), "seeds": seeds, "config": record} if history else None
    labels, audit = folder / "labels.csv", folder / "audit.json"
    return Run(
        folder=folder,
        method=method,
        experiment=experiment,
        record=record,
        provenance=provenance,
        history=history,
        summary=summary,
        suspects=read_suspects(labels, resolved["num_classes"]) if labels.exists() else None,
        audit=read_audit(audit) if audit.exists() else None,
        remarks=remarks,
    )


def read_history(
    path: Path, seeds: int | None = None, num_classes: int | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """The epochs in metrics.jsonl, and a remark if a last line was left out that a kill had cut off."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    history: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            epoch = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines):
                return history, ["The last line of metrics.jsonl is incomplete and was left out."]
            raise UserError(
                f"{path}: line {number} is damaged; expected an epoch's metrics as JSON"
            ) from None
        wrong = json_records.wrong_epoch(epoch, history[0] if history else None, num_classes)
        if wrong is None and seeds is not None and len(epoch["train_loss"]) != seeds:
            wrong = f"expected the metrics of {seeds} seeds"
        if wrong:
            raise UserError(f"{path}: line {number} is damaged: {wrong}")
        history.append(epoch)
    return history, []


_COLUMNS = ("rank", "index", "given_label", "suggested_label", "probability_wrong")


def read_suspects(path: Path, num_classes: int) -> list[Suspect]:
    """The rows of an audit's labels.csv, the most suspicious first."""
    suspects = []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise _not_an_audit(path, 1, f"has no column {missing[0]!r}")
        for number, row in enumerate(_readable(path, rows), 2):
            try:
                index, given, suggested = (int(row[name]) for name in _COLUMNS[1:4])
                probability = float(row["probability_wrong"])
            except (TypeError, ValueError):
                found = ", ".join(f"{name} {row[name]!r}" for name in _COLUMNS[1:])
                raise _not_an_audit(path, number, f"has {found}; expected numbers") from None
            if index < 0 or not all(0 <= label < num_classes for label in (given, suggested)):
                found = f"has index {index} and labels {given} and {suggested}"
                raise _not_an_audit(path, number, f"{found}; expected labels in [0, {num_classes})")
            if not 0 <= probability <= 1:
                raise _not_an_audit(path, number, f"has probability_wrong {probability}; expected 0 to 1")
            known_as = csv_files.original(row.get("file") or "") or None
            suspects.append(Suspect(number, index, given, suggested, probability, known_as))
    return suspects


def _readable(path: Path, rows: csv.DictReader) -> Iterator[dict[str, str]]:
    try:
        yield from rows
    # A quotation mark without its other half makes the rest of the file one field, too long to be read.
    except csv.Error as error:
        raise _not_an_audit(path, rows.line_num, f"cannot be read ({error})") from error


def _not_an_audit(path: Path, row: int, found: str) -> UserError:
    return UserError(f"{path}: row {row} {found}; `{audit_command(path.parent)}` writes the file anew")


def audit_command(run_dir: Path) -> str:
    """What a person types to have a run's labels audited."""
    return f"python -m experiments audit {shlex.quote(str(run_dir))}"


def read_audit(path: Path) -> dict[str, Any]:
    """An audit's audit.json; its estimated_noise_rate is None where the model has not learnt."""
    audit = run_folder.read_json(path)
    if wrong := json_records.wrong_audit(audit):
        raise UserError(
            f"{path}: expected an estimated_noise_rate with rate, low and high ({wrong}); "
            f"`{audit_command(path.parent)}` writes the file anew"
        )
    return audit


def audited_seed(run_dir: Path, seeds: range) -> int:
    """The seed whose labels an audit judged."""
    path = run_dir / "audit.json"
    seed = read_audit(path).get("seed")
    if seed is None or seed not in seeds:
        raise UserError(f"{path}: seed is {seed}; expected one of the run, {seeds[0]} to {seeds[-1]}")
    return seed


def load_data(run: Run, progress: Progress) -> Data:
    """The data that the run was trained on; UserError if they are no longer to be had."""
    dataset, given, _ = training_data.load(run.experiment, progress)
    if not training_data.is_as_recorded(dataset, run.record["resolved"]):
        raise UserError(f"{run.experiment.data.dataset} is no longer what the run was trained on")
    return Data(dataset, given.given, given.clean, given.rate)


def check_indices(run: Run, data: Data) -> None:
    """Raises UserError if the audit speaks of examples that the data do not have."""
    examples = len(data.dataset.train_images)
    for suspect in run.suspects or ():
        if suspect.example >= examples:
            found = f"has index {suspect.example}; expected less than {examples}, the training examples"
            raise _not_an_audit(run.folder / "labels.csv", suspect.number, found)


def predict(run: Run, data: Data, progress: Progress) -> Predictions:
    """Asks the run's model about its data; UserError if there is no model yet."""
    model = saved_model.restore(run.folder)
    by = "the model selected on validation labels" if model.selected else f"the model of epoch {model.epoch}"
    progress.say(f"{run.folder}: predicting with {by}")
    dataset, test = data.dataset, None
    of_train = saved_model.probabilities(model, dataset.train_images)
    well = saved_model.well_trained(run.folder, model, of_train)
    if dataset.test_images is not None and dataset.test_labels is not None:
        of_test = saved_model.probabilities(model, dataset.test_images)[well]
        test = _pairs(dataset.test_labels, of_test.argmax(axis=-1), dataset.num_classes)
    given = _pairs(data.given[well], of_train[well].argmax(axis=-1), dataset.num_classes)
    loss = model.state.loss
    queue = None
    if isinstance(loss, nox.ogc.OGCState):
        queue = np.asarray(loss.queue), np.asarray(loss.valid), model.epoch
    return Predictions(by, test, given, queue)


def _pairs(labels: NDArray, predicted: NDArray, num_classes: int) -> NDArray[np.integer]:
    """How often label and prediction meet, `[C, C]`; labels are `[n]` or, like predictions, `[seeds, n]`."""
    pairs = labels * num_classes + predicted
    return np.bincount(pairs.ravel(), minlength=num_classes**2).reshape(num_classes, num_classes)
