"""The second stage of `train --two-stage`: audits a run, corrects its labels and trains on them anew."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.commands import audit
from experiments.config import Data, Experiment, Placement
from experiments.runs import corrections, run_folder
from experiments.runs.corrections import Rule
from experiments.terminal import Progress, UserError
from experiments.training import training_data
from experiments.training.loop import train

# In the folder of the first stage.
FOLDER, LABELS = "second", "corrected.npy"


def check(experiment: Experiment) -> None:
    """Raises UserError where the seeds have labels of their own, which one correction cannot serve."""
    if experiment.seeds > 1 and experiment.data.noise != "none":
        raise UserError(
            f"--two-stage corrects one set of labels, and --noise draws one for each of {experiment.seeds} "
            f"seeds; run them one by one with --seeds 1 --first-seed N"
        )


def second_stage(
    run_dir: Path, method: str, experiment: Experiment, placement: Placement, console: Console
) -> dict[str, Any]:
    """Trains on the labels that the audit of the first stage corrects; the summary of that run."""
    progress = Progress(console)
    labels = run_dir / LABELS
    # Resumed, the second stage has to go on with the labels that it began with.
    if not labels.exists():
        write_corrected(run_dir, experiment, labels, console)
    corrected = dataclasses.replace(experiment, data=corrected_data(experiment.data, labels))
    return train(method, corrected, run_dir / FOLDER, progress, placement)


def write_corrected(run_dir: Path, experiment: Experiment, path: Path, console: Console) -> None:
    """Audits the run and writes its given labels, those that are judged wrong replaced by the suggested."""
    audit.audit(run_dir, None, "dynamics", None, console)
    progress = Progress(console)
    dataset, given, _ = training_data.load(experiment, progress)
    suspects, probabilities = corrections.read_suspects(run_dir, dataset.num_classes)
    changes = corrections.decide(suspects, probabilities, {}, Rule())
    labels, _ = corrections.apply(changes, given.given[0])
    names = dataset.class_names
    with run_folder.whole(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, labels if names is None else np.array(names)[labels])
    progress.say(f"second stage: {len(changes):,} of {len(labels):,} labels corrected, in {path}")


def corrected_data(data: Data, labels: Path) -> Data:
    """The same examples with the labels of a file; where clean labels are known, they are compared."""
    asked = dataclasses.replace(data, noise="none", noise_rate=None, labels_file=None, corrections=None)
    known = data.noise != "none" or data.labels_file is not None
    if known or data.dataset.startswith("npy:"):
        # Their column was in the former file.
        return dataclasses.replace(asked, labels_file=str(labels), label=None, id=None)
    return dataclasses.replace(asked, corrections=str(labels))
