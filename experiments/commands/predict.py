"""`predict`: labels for new examples, from a trained run."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.commands.flags import Predict
from experiments.data import sources
from experiments.data.class_labels import Classes
from experiments.data.sources import Known
from experiments.runs import run_folder, saved_columns, saved_model
from experiments.safety import csv_files
from experiments.terminal import Progress, UserError


def run(command: Predict, console: Console) -> None:
    """Writes the predictions."""
    predict(command.run, command.data, command.output, Progress(console))


def predict(run_dir: Path, data: str, output: Path | None, progress: Progress) -> Path:
    """Writes the predicted label and its probability for every example of `data`."""
    model = saved_model.restore(run_dir)
    resolved = model.resolved
    if output is None:
        output = run_dir / "predictions.csv"
    elif output.suffix not in (".csv", ".npz"):
        raise UserError(f"--output {output} must end in .csv or .npz")
    elif output.exists():
        raise UserError(f"--output {output} exists; nothing is overwritten, choose another name")
    class_names = tuple(resolved.get("class_names") or ())
    asked = model.experiment.data
    offset = resolved.get("offset")
    known = Known(
        channels=1 if resolved["input_shape"][-1] == 1 else 3,
        image_size=asked.image_size,
        classes=Classes(resolved["num_classes"], class_names or None),
        columns=saved_columns.load(run_dir),
        offset=None if offset is None else np.asarray(offset),
        label=asked.label,
        named_by=resolved.get("named_by"),
    )
    images, labels, names, named_by = sources.load_images(data, known, progress)
    found, trained_on = (
        [str(images.dtype), list(images.shape[1:])],
        [resolved["input_dtype"], resolved["input_shape"]],
    )
    if found != trained_on:
        raise UserError(
            f"each example of {data} is {found[0]} {found[1]}, the run was trained on "
            f"{trained_on[0]} {trained_on[1]}"
        )

    of_seeds = saved_model.probabilities(model, images)
    probabilities = of_seeds[saved_model.well_trained(run_dir, model, of_seeds)].mean(axis=0)
    _write(output, probabilities, names, named_by, class_names)

    predicted = probabilities.argmax(axis=1)
    of_epoch = f"the model of epoch {model.epoch}"
    by = "the model selected on validation labels" if model.selected else of_epoch
    progress.say(f"{len(images)} predictions by {by} in {output}")
    if labels is not None:
        progress.say(f"accuracy against the labels in {data}: {np.mean(predicted == labels):.2%}")
    return output


def _write(
    path: Path,
    probabilities: np.ndarray,
    names: list[str] | None,
    named_by: str,
    class_names: tuple[str, ...],
) -> None:
    with run_folder.whole(path) as unfinished:
        if path.suffix == ".npz":
            with unfinished.open("wb") as file:
                np.savez_compressed(file, labels=probabilities.argmax(axis=1), probabilities=probabilities)
        else:
            csv_files.write(unfinished, _rows(probabilities, names, named_by, class_names))


def _rows(
    probabilities: np.ndarray, names: list[str] | None, named_by: str, class_names: tuple[str, ...]
) -> Iterator[list[object]]:
    yield ["index", "label", "probability", *[named_by] * bool(names), *["class"] * bool(class_names)]
    for index, row in enumerate(probabilities):
        label = int(row.argmax())
        known = [*([names[index]] if names else []), *([class_names[label]] if class_names else [])]
        yield [index, label, f"{row[label]:.6f}", *known]
