"""One HTML page of one or several runs, which a browser shows without anything from elsewhere."""

import dataclasses
import datetime
import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.commands import compare
from experiments.config import norm_of
from experiments.pages import examples as pages_examples
from experiments.pages import plots, suspicious
from experiments.runs import contents, run_folder
from experiments.runs.contents import Data, Predictions, Run
from experiments.terminal import Progress, UserError, check_output, check_range
from experiments.training import metrics, training_data

# Pairs of more classes than this are shown as a picture.
_TABLE_CLASSES = 20


class Known(NamedTuple):
    """A run with its data and predictions, each None if it cannot be had, and why not, in sentences."""

    run: Run
    data: Data | None
    predictions: Predictions | None
    remarks: list[str]


def report(folders: tuple[Path, ...], output: Path | None, examples: int, progress: Progress) -> Path:
    """Writes the page of the runs in `folders`, or in the folders of comparisons among them."""
    if not folders:
        raise UserError("expected at least one RUN, a folder made by `train` or `compare`")
    output = output or (folders[0] if len(folders) == 1 else Path()) / "report.html"
    check_range("--examples", examples, 0)
    check_output(output)
    if output.suffix != ".html":
        raise UserError(f"--output {output}: expected a name that ends in .html")
    runs = [contents.read(folder) for folder in contents.expand(folders)]
    known = [gather(run, progress) for run in runs]
    facts = [facts_of(one) for one in known]
    shared = {key: value for key, value in facts[0].items() if all(own.get(key) == value for own in facts)}
    names = names_of(runs)
    sections = [
        section(f"run-{number}", name, one, examples)
        | {"facts": {key: value for key, value in own.items() if key not in shared and value != name}}
        for number, (name, one, own) in enumerate(zip(names, known, facts, strict=True), 1)
    ]
    page = environment().get_template("report.html.jinja")
    text = page.render(
        title=(suspicious.answer(runs[0]) if len(runs) == 1 else None) or title(runs),
        about=title(runs),
        facts=shared,
        runs=sections,
        comparison=comparison(names, runs) if len(runs) > 1 else None,
        today=datetime.date.today().isoformat(),
        commit=run_folder.provenance()["commit"],
    )
    # The name of a file may hold bytes that are no text: they become question marks.
    run_folder.write_text(output, text)
    progress.say(f"report {output}")
    return output


def environment() -> jinja2.Environment:
    """The templates of pages; what comes from data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = metrics.percent
    return environment


def gather(run: Run, progress: Progress) -> Known:
    """Loads the run's data and asks its model about them, as far as both are there."""
    try:
        data = contents.load_data(run, progress)
    except (UserError, OSError) as error:
        return Known(run, None, None, [f"The data cannot be loaded ({error})."])
    contents.check_indices(run, data)
    try:
        return Known(run, data, contents.predict(run, data, progress), [])
    except UserError as error:
        return Known(run, data, None, [f"The model cannot be loaded ({error})."])


def title(runs: list[Run]) -> str:
    """What all runs are about, as far as it is the same."""
    described = {describe(run) for run in runs}
    return described.pop() if len(described) == 1 else f"{len(runs)} runs"


def describe(run: Run) -> str:
    """Data set, noise and number of seeds in a few words."""
    # Not the record itself, which may leave out what has a default.
    data = dataclasses.asdict(run.experiment.data)
    return compare.describe({"config": {"data": data}, "seeds": range(run.experiment.seeds)})


def names_of(runs: list[Run]) -> list[str]:
    """What tells the runs apart: their methods, else the names of their folders, else where these are."""
    candidates: tuple[list[str], ...] = (
        [run.method for run in runs],
        [run.folder.resolve().name for run in runs],
        [str(run.folder) for run in runs],
    )
    return next(names for names in candidates if len(set(names)) == len(runs) or names is candidates[-1])


def facts_of(known: Known) -> dict[str, str]:
    """What a run was, from its configuration and its surroundings."""
    run, resolved = known.run, known.run.record["resolved"]
    data, model, optimization = run.experiment.data, run.experiment.model, run.experiment.optimization
    shape = " x ".join(map(str, resolved["input_shape"]))
    classes, examples = resolved["num_classes"], resolved["train_examples"]
    hyperparameters = [
        f"{key} = {value}" for own in run.record["hyperparameters"].values() for key, value in own.items()
    ]
    network = [
        model.model,
        *([f"width {model.width}"] if model.model in ("mlp", "cnn") else []),
        *([f"{norm_of(model)} norm"] if norm_of(model) != "none" else []),
        model.precision,
    ]
    rate = f"learning rate {optimization.learning_rate:g} ({optimization.learning_rate_schedule})"
    seeds, epochs = training_data.seeds_of(run.experiment), len(run.history)
    made = run.provenance
    # As "cpu cpu", its platform and model.
    device = made.get("device", "").split()
    packages = [f"{name} {made[name]}" for name in ("jax", "flax", "optax") if name in made]
    facts = {
        "Data set": f"{data.dataset}, {classes} classes, {examples} training examples of {shape}",
        "Noise": noise_of(run),
        "Wrong labels": realised_rate(known),
        "Held out": f"{data.validation_fraction:.0%} for validation" if data.validation_fraction else "",
        "Method": run.method,
        "Noticed": (run.summary or {}).get("noticed", ""),
        "Hyper-parameters": ", ".join(hyperparameters),
        "Model": ", ".join(network),
        "Optimizer": f"{optimization.optimizer}, {rate}, batches of {optimization.batch_size}",
        "Augmentation": ", ".join(run.experiment.augmentation.augment),
        "Epochs": str(epochs) if epochs == optimization.epochs else f"{epochs} of {optimization.epochs}",
        "Seeds": f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0]),
        "Code": ", ".join([made.get("commit", "unknown"), *packages]),
        "Computed on": ", ".join([made.get("machine", "unknown"), *dict.fromkeys(device)]),
        "Trained": trained_on(run),
    }
    return {key: value for key, value in facts.items() if value}


def noise_of(run: Run) -> str:
    """What was done to the training labels."""
    data = run.experiment.data
    if data.labels_file is not None:
        return f"labels of {data.labels_file}"
    return "labels as given" if data.noise == "none" else f"{data.noise}, rate {data.noise_rate:g}"


def realised_rate(known: Known) -> str:
    """The share of wrong training labels over the seeds."""
    noise = (known.run.summary or {}).get("realised_noise")
    rate = noise["rate"] if noise else None if known.data is None else known.data.rate
    if rate is None:
        return "unknown, because the true labels are not known"
    return f"{metrics.percent(metrics.spread(np.asarray(rate, float)))} %"


def trained_on(run: Run) -> str:
    """The day of the last epoch."""
    path = run.folder / "metrics.jsonl"
    return datetime.date.fromtimestamp(path.stat().st_mtime).isoformat() if path.exists() else ""


def comparison(names: list[str], runs: list[Run]) -> dict[str, Any]:
    """A row for each run, the best mean of the last epochs first, and the runs' curves above each other."""
    metric = {name: run.summary["metric"] for name, run in zip(names, runs, strict=True) if run.summary}
    style = {
        name: {
            "color": plots.COLOURS[i % len(plots.COLOURS)],
            "linestyle": ("-", "--", ":", "-.")[i // len(plots.COLOURS) % 4],
        }
        for i, name in enumerate(names)
    }
    rows = [
        {
            "name": name,
            "anchor": f"run-{number}",
            "data": describe(run),
            "metric": metric.get(name, "").replace("_", " "),
            "summary": run.summary,
            "memorised": last(run, "memorised"),
            "unfinished": bool(run.remarks),
            **style[name],
        }
        for number, (name, run) in enumerate(zip(names, runs, strict=True), 1)
    ]
    rows.sort(key=lambda row: -row["summary"]["last_10_mean"]["mean"] if row["summary"] else 1)
    histories = {name: run.history for name, run in zip(names, runs, strict=True) if run.history}
    panels = [
        plots.overlay({name: histories[name] for name in histories if metric[name] == own}, own, style)
        for own in dict.fromkeys(metric.values())
    ]
    memorised = {name: history for name, history in histories.items() if "memorised" in history[-1]}
    panels += [plots.overlay(memorised, "memorised", style)] if memorised else []
    return {
        "rows": rows,
        "same_data": len({row["data"] for row in rows}) == 1,
        "same_metric": len(set(metric.values())) <= 1,
        "metric": next(iter(metric.values()), "").replace("_", " "),
        "oracle": "test_accuracy" in metric.values(),
        "drawings": [plots.svg(panel, f"comparison-{i}") for i, panel in enumerate(panels)],
    }


def section(anchor: str, name: str, known: Known, examples: int) -> dict[str, Any]:
    """All that the template shows of one run."""
    run, predictions = known.run, known.predictions
    classes = class_names(run)
    return {
        "anchor": anchor,
        "name": name,
        "folder": str(run.folder),
        "remarks": [*run.remarks, *known.remarks],
        "summary": run.summary,
        "averaged": min(10, len(run.history)),
        "memorised": last(run, "memorised"),
        "drawings": drawings(anchor, known),
        "by": predictions.by if predictions else None,
        "test": confusion(predictions.test, classes)
        if predictions and predictions.test is not None
        else None,
        "given": confusion(predictions.given, classes) if predictions else None,
        "recall": recall(known, classes),
        "many_classes": len(classes) > _TABLE_CLASSES,
        "audit": run.audit,
        "answer": suspicious.answer(run),
        "ceiling": suspicious.ceiling(run),
        "shell_folder": shlex.quote(str(run.folder)),
        "audit_command": contents.audit_command(run.folder),
        "suspects": suspicious.suspects(run, known.data, classes, examples),
        "config": json.dumps(run.record, indent=1),
    }


def class_names(run: Run) -> list[str]:
    """The names of the classes, or their numbers."""
    resolved = run.record["resolved"]
    return list(resolved.get("class_names") or map(str, range(resolved["num_classes"])))


def last(run: Run, name: str) -> dict[str, Any] | None:
    """A metric of the last epoch over the seeds, or None if it was not measured."""
    return metrics.spread(np.asarray(run.history[-1][name], float)) if last_has(run, name) else None


def last_has(run: Run, name: str) -> bool:
    """Whether the last epoch has that metric."""
    return bool(run.history) and name in run.history[-1]


def drawings(anchor: str, known: Known) -> dict[str, list[plots.Drawing]]:
    """The panels of a run by the heading that they come under."""
    run = known.run
    panels = {"Learning curves": plots.curve_panels(run.history) if run.history else []}
    if last_has(run, "probability_threshold"):
        panels["Clipping threshold and mixture"] = plots.threshold_panels(run.history)
        queue = known.predictions.queue if known.predictions else None
        if queue is not None and queue[2] <= len(run.history):
            losses, valid, epoch = queue
            panel = plots.mixture_panel(losses, valid, run.history[epoch - 1])
            panels["Clipping threshold and mixture"].append(panel)
    if last_has(run, "group_b"):
        panels["Groups of gradient components"] = plots.group_panels(run.history)
    return {
        heading: [plots.svg(panel, f"{anchor}-{number}-{i}") for i, panel in enumerate(own)]
        for number, (heading, own) in enumerate(panels.items())
    }


def confusion(pairs: NDArray[np.integer] | None, classes: list[str]) -> dict[str, Any] | None:
    """Counts as shares of their rows: in a table or, of many classes, a picture and the largest of them."""
    if pairs is None:
        return None
    shares = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, shares)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:_TABLE_CLASSES]
    readable = len(classes) <= _TABLE_CLASSES
    return {
        "classes": classes,
        "long_names": max(map(len, classes)) > 3,
        "rows": list(zip(classes, shares.tolist(), strict=True)) if readable else None,
        "picture": None if readable else picture_of(shares),
        "largest": [
            (classes[i // len(classes)], classes[i % len(classes)], wrong.flat[i])
            for i in largest
            if wrong.flat[i] > 0
        ],
        "agreement": np.trace(pairs) / max(pairs.sum(), 1),
    }


def picture_of(shares: NDArray[np.floating]) -> str:
    """A matrix of shares as a picture, darker for more."""
    return pages_examples.data_uri(Image.fromarray(np.uint8(255 * (1 - shares))), "png")


def recall(known: Known, classes: list[str]) -> list[dict[str, Any]] | None:
    """Per class, the last epoch's recall over the seeds on test data and how many examples that rests on."""
    if not last_has(known.run, "test_recall"):
        return None
    table = np.asarray(known.run.history[-1]["test_recall"], float)
    labels = None if known.data is None else known.data.dataset.test_labels
    counts = None if labels is None else np.bincount(labels, minlength=len(classes)).tolist()
    return [
        {
            "name": name,
            "count": None if counts is None else counts[i],
            # A class without test examples has none.
            "recall": metrics.spread(table[:, i]) if np.isfinite(table[:, i]).all() else None,
        }
        for i, name in enumerate(classes)
    ]
