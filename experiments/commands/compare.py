"""`compare`: several methods under the same conditions, under one kind of noise or under several."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments import config, method_names, methods, presets
from experiments.commands.flags import Compare
from experiments.config import Experiment, Placement
from experiments.pages import drawing, plots
from experiments.runs import event_files, long_table, run_folder
from experiments.safety import trust
from experiments.terminal import QUIET, Progress, UserError, name_cell, print_table
from experiments.training import metrics
from experiments.training.checkpoints import check_folder
from experiments.training.loop import train
from experiments.training.metrics import percent


def run(command: Compare, console: Console) -> None:
    """Trains the methods under the noise, or under each of several, and shows a table."""
    experiment = command.experiment
    for name in command.methods:
        trust.remember_own_code(name)
    event_files.check(command.tensorboard)
    presets.compare_labels(command.preset, experiment.data, Progress(console))
    placement = Placement(figure_format=command.figure_format, tensorboard=command.tensorboard)
    default = config.default_run_dir(experiment, "matrix" if command.noises else None)
    run_dir = command.run_dir or default
    check_folder(run_dir)
    if command.noises:
        matrix(command.methods, command.noises, experiment, run_dir, console, placement)
    else:
        compare(command.methods, experiment, run_dir, console, placement)


def compare(
    names: tuple[str, ...],
    experiment: Experiment,
    run_dir: Path,
    console: Console,
    placement: Placement = Placement(),
) -> dict[str, Any]:
    """Trains each method in a folder of its own and writes summary.json, results.csv and a picture."""
    check(names, experiment)
    run_folder.claim(run_dir, config.shared_record(experiment))
    progress = Progress(console)
    summaries, histories, tables = {}, {}, []
    for name, summary, history in _train_each(names, experiment, run_dir, progress, placement):
        summaries[name], histories[name] = summary, history
        tables.append(long_table.rows(name, experiment.data, summary["seeds"], history))

    result = collect(summaries)
    if left_out := _earlier_methods(run_dir) - set(names):
        progress.say(f"{run_dir} also has {', '.join(sorted(left_out))}, not among --methods this time")
    print_table(console, table(result))
    long_table.write(run_dir / "results.csv", itertools.chain.from_iterable(tables))
    run_folder.write_json(run_dir / "summary.json", result)
    picture = run_dir / f"comparison.{placement.figure_format}"
    with drawing.spared(picture):
        plots.comparison(histories, result["metric"], picture, title=describe(result))
    progress.say(f"results {run_dir / 'summary.json'}")
    if picture.exists():
        progress.say(f"picture {picture}")
    if result["metric"] == "train_accuracy":
        progress.say(
            "there are no test or validation data: the methods are ranked by how well they reproduce the "
            "given labels, the wrong ones too; hold some out with --validation-fraction 0.1"
        )
    return result


def matrix(
    names: tuple[str, ...],
    noises: tuple[str, ...],
    experiment: Experiment,
    run_dir: Path,
    console: Console,
    placement: Placement = Placement(),
) -> dict[str, Any]:
    """Trains each method under each noise in a folder of its own; writes matrix.json and a heat map."""
    data, progress = experiment.data, Progress(console)
    if data.noise != "none" or data.noise_rate is not None:
        raise UserError("--noises chooses the noise; leave out --noise and --noise-rate")
    if (data.labels_file is not None) != ("labels-file" in noises):
        raise UserError("--labels-file FILE and `labels-file` in --noises belong together")
    columns = {noise: under_noise(experiment, noise) for noise in noises}
    for column in columns.values():
        check(names, column)
    run_folder.claim(run_dir, config.shared_record(experiment))

    results, tables = {}, []
    for noise, column in columns.items():
        (run_dir / noise).mkdir(exist_ok=True)
        summaries = {}
        for name, summary, history in _train_each(names, column, run_dir / noise, QUIET, placement):
            progress.say(f"{noise}  {name}  {percent(summary['last_10_mean'])}")
            summaries[name] = summary
            tables.append(long_table.rows(name, column.data, summary["seeds"], history))
        results[noise] = collect(summaries)

    measured = {"cells": results, "provenance": run_folder.provenance()}
    print_table(console, matrix_table(measured))
    long_table.write(run_dir / "results.csv", itertools.chain.from_iterable(tables))
    run_folder.write_json(run_dir / "matrix.json", measured)
    picture = run_dir / f"matrix.{placement.figure_format}"
    with drawing.spared(picture):
        plots.matrix(accuracies(measured), picture)
    progress.say(f"results {run_dir / 'matrix.json'}")
    if picture.exists():
        progress.say(f"picture {picture}")
    return measured


def _earlier_methods(run_dir: Path) -> set[str]:
    """The methods of the last comparison in this folder."""
    path = run_dir / "summary.json"
    content = run_folder.read_json(path) if path.exists() else None
    found = content.get("methods") if isinstance(content, dict) else None
    return set(found) if isinstance(found, dict) else set()


def _train_each(
    names: tuple[str, ...], experiment: Experiment, run_dir: Path, progress: Progress, placement: Placement
) -> Iterator[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Trains each method in a folder of its own; yields its name, summary and metrics."""
    for name in names:
        folder = run_dir / config.folder_name(name)
        summary = train(name, experiment, folder, progress, placement)
        yield name, summary, run_folder.read_metrics(folder, summary["epochs"])


def check(names: tuple[str, ...], experiment: Experiment) -> None:
    """Raises UserError for what would otherwise come up after some methods have been trained."""
    config.check(experiment)
    setting = methods.Setting(2, experiment.optimization.epochs, 1, optax.constant_schedule(0.1), 1)
    seen = []
    for name in names:
        method_names.build(name, setting)
        resolved = method_names.hyperparameters(name)
        if resolved in seen:
            raise UserError(f"--methods has {name} twice; expected different methods")
        seen.append(resolved)
    if not seen:
        raise UserError("--methods needs at least one method")


def under_noise(experiment: Experiment, noise: str) -> Experiment:
    """The experiment with the noise that is spelled `none`, `labels-file` or `KIND-RATE`."""
    if noise == "labels-file":
        return experiment
    data = dataclasses.replace(experiment.data, labels_file=None)
    if noise == "none":
        return dataclasses.replace(experiment, data=data)
    kind, _, rate = noise.rpartition("-")
    try:
        data = dataclasses.replace(
            data,
            noise=kind,  # type: ignore[arg-type]  # checked below
            noise_rate=float(rate),
        )
    except ValueError:
        raise UserError(f"--noises has {noise}; expected none or KIND-RATE, e.g. symmetric-0.4") from None
    if kind not in config.NOISE_KINDS:
        raise UserError(f"--noises has {noise}; the kinds are {', '.join(config.NOISE_KINDS)}")
    return dataclasses.replace(experiment, data=data)


def collect(summaries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the runs share, once, and the results of each."""
    first = next(iter(summaries.values()))
    own = {
        name: {
            **{key: summary[key] for key in ("last_10_mean", "last", "best_epoch")},
            "seconds": summary.get("seconds"),
            "diverged": summary.get("diverged", []),
            "hyperparameters": summary["config"]["hyperparameters"],
            "commit": summary["provenance"]["commit"],
        }
        for name, summary in summaries.items()
    }
    shared = {
        key: value for key, value in first["config"].items() if key not in ("method", "hyperparameters")
    }
    return {
        **{key: first[key] for key in ("metric", "epochs", "seeds", "realised_noise")},
        "config": shared,
        "provenance": run_folder.provenance(),
        "methods": own,
    }


def describe(result: dict[str, Any]) -> str:
    """Data set, noise and number of seeds in a few words."""
    data = result["config"]["data"]
    noise = "labels as given" if data["noise"] == "none" else f"{data['noise']} noise {data['noise_rate']:g}"
    if data.get("labels_file") is not None:
        noise = f"labels of {data['labels_file']}"
    seeds = len(result["seeds"])
    return f"{data['dataset']}, {noise}, {seeds} seed{'s' if seeds > 1 else ''}"


def table(result: dict[str, Any]) -> Table:
    """The comparison for a person to read, in percent, best method first."""
    title = f"{result['metric'].replace('_', ' ')} in %: {describe(result)}"
    # Few lines: the longest plain names leave just room for the numbers on a terminal of 80 columns, and
    # those with hyper-parameters take several rows.
    # Names as they are, not strings, in which Rich would look for markup.
    shown = name_cell(title, style="table.title")
    printed = Table(title=shown, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    printed.add_column("method", overflow="fold")
    # A short run has no ten last epochs, and its mean includes the first ones.
    mean = "last-10 mean" if result["epochs"] >= 10 else f"mean of {result['epochs']}"
    for heading in (mean, "last epoch", "best epoch"):
        printed.add_column(heading, justify="right", no_wrap=True)
    if result["metric"] == "test_accuracy":
        printed.caption = "best epoch is chosen on the test data: an oracle"
    ranked = sorted(
        result["methods"].items(),
        key=lambda item: (bool(item[1].get("diverged")), -item[1]["last_10_mean"]["mean"]),
    )
    for name, own in ranked:
        lost, seeds = len(own.get("diverged", [])), len(result["seeds"])
        if lost:
            printed.add_row(name_cell(name).append(f"\n(diverged: {lost} of {seeds} seeds)"), "", "", "")
            continue
        cells = (metrics.percent(own[key]) for key in ("last_10_mean", "last", "best_epoch"))
        printed.add_row(name_cell(name), *cells)
    return printed


def accuracies(measured: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """Last-10 mean accuracy in percent, `[seeds]`, by cell and method."""
    return {
        cell: {
            method: 100 * np.asarray(own["last_10_mean"]["per_seed"])
            for method, own in result["methods"].items()
        }
        for cell, result in measured["cells"].items()
    }


def matrix_table(measured: dict[str, Any]) -> Table:
    """The matrix for a person to read, in percent."""
    shown = accuracies(measured)
    title = "accuracy in %, mean of the last 10 epochs, mean over seeds"
    # Narrow: seven columns of numbers leave just room for names on a terminal of 80 columns.
    printed = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    printed.add_column("method", overflow="fold")
    for cell in shown:
        kind, _, rate = cell.partition("-")
        heading = kind if len(kind) <= 5 else f"{kind[:4]}."
        printed.add_column(f"{heading}\n{rate}", justify="right", no_wrap=True)
    for method in next(iter(shown.values())):
        printed.add_row(name_cell(method), *(f"{np.mean(of_cell[method]):.2f}" for of_cell in shown.values()))
    return printed
