"""The published setting of OGC on CIFAR-10 with symmetric noise of 50 %, for as long as minutes are left."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from experiments import presets
from experiments.config import Experiment, Model, Placement
from experiments.runs import run_folder
from experiments.studies.gpu.pictures import Sheets
from experiments.studies.gpu.session import Job, Session
from experiments.terminal import QUIET, Stopped
from experiments.training.loop import train

PRESET = "ogc-cifar10-sym0.5"
# Seconds that are worth reading the data for; and what reading, compiling and the last epoch may take.
LEAST_SECONDS, OVERHEAD_SECONDS = 90.0, 45.0
TOY_EPOCHS = 3


def carry_out(now: Session, sheets: Sheets, folder: Path, *, toy: bool) -> None:
    """Trains until the minutes are over; the checkpoint, of 90 MB, is for the next call on the same machine.

    The results get a line for each call, named by how many epochs there are then, so that the last is what
    counts.
    """
    run_dir = folder / "published"
    job = Job(
        f"published / {PRESET} / after {_epochs(run_dir)} epochs",
        lambda: 0.0 if toy else LEAST_SECONDS,
        lambda: _train(now, sheets, run_dir, toy=toy),
    )
    if (run_dir / "summary.json").exists():
        now.say(f"published / {PRESET}: finished")
        return
    now.carry_out(job)


def _epochs(run_dir: Path) -> int:
    path = run_dir / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def _train(now: Session, sheets: Sheets, run_dir: Path, *, toy: bool) -> dict[str, Any]:
    file = run_dir.parent / "pictures.npz"
    if not file.exists():
        _write(file, sheets)
    experiment = _experiment(file, toy=toy)
    minutes = max(0.0, now.left() - (0 if toy else OVERHEAD_SECONDS)) / 60
    method = presets.by_name(PRESET).train.method
    try:
        train(method, experiment, run_dir, QUIET, Placement(stop_after=minutes))
    except Stopped as reached:
        now.say(str(reached))
    metrics = run_folder.read_metrics(run_dir, _epochs(run_dir))
    names = ("train_loss", "train_accuracy", "memorised", "test_accuracy", "tau")
    return {
        "kind": "published",
        "preset": PRESET,
        "method": method,
        "model": experiment.model.model,
        "precision": experiment.model.precision,
        "epochs": len(metrics),
        "of_epochs": experiment.optimization.epochs,
        **{name: [epoch[name][0] for epoch in metrics] for name in names},
    }


def _experiment(file: Path, *, toy: bool) -> Experiment:
    """The preset in bfloat16, on the pictures that are at hand."""
    preset = presets.by_name(PRESET).train.experiment
    asked = dataclasses.replace(
        preset,
        data=dataclasses.replace(preset.data, dataset=f"npz:{file}"),
        model=dataclasses.replace(preset.model, precision="bfloat16"),
    )
    if not toy:
        return asked
    return dataclasses.replace(
        asked,
        model=Model("cnn", width=16),
        optimization=dataclasses.replace(
            asked.optimization, epochs=TOY_EPOCHS, batch_size=32, learning_rate_steps=(1, 2)
        ),
    )


def _write(file: Path, sheets: Sheets) -> None:
    with run_folder.whole(file) as unfinished, unfinished.open("wb") as opened:
        np.savez(
            opened,
            train_images=sheets.train_images,
            train_labels=sheets.labels["clean"],
            test_images=sheets.test_images,
            test_labels=sheets.test_labels,
        )
