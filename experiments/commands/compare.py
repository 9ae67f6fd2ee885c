"""Several methods under the same conditions: one run each, one table, one picture."""

from pathlib import Path
from typing import Any

import optax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments import config, methods
from experiments.pages import plots
from experiments.runs import run_folder
from experiments.terminal import Progress, UserError
from experiments.training import metrics
from experiments.training.loop import train


def compare(
    names: tuple[str, ...], experiment: config.Experiment, run_dir: Path, console: Console
) -> dict[str, Any]:
    """Trains each method in a folder of its own and writes summary.json and comparison.png."""
    check(names, experiment)
    run_folder.claim(run_dir, config.shared_record(experiment))
    progress = Progress(console)
    summaries, histories = {}, {}
    for name in names:
        folder = run_dir / config.folder_name(name)
        summaries[name] = train(name, experiment, folder, progress)
        histories[name] = run_folder.read_metrics(folder, summaries[name]["epochs"])

    result = collect(summaries)
    console.print(table(result))
    picture = run_dir / "comparison.png"
    plots.comparison(histories, result["metric"], picture, title=describe(result))
    run_folder.write_json(run_dir / "summary.json", result)
    progress.say(f"results {run_dir / 'summary.json'}")
    progress.say(f"picture {picture}")
    return result


def check(names: tuple[str, ...], experiment: config.Experiment) -> None:
    """Raises UserError for what would otherwise come up after some methods have been trained."""
    config.check(experiment)
    setting = methods.Setting(2, experiment.optimization.epochs, 1, optax.constant_schedule(0.1), 1)
    seen = []
    for name in names:
        resolved = config.hyperparameters_of(name, experiment)
        methods.build(resolved, setting)
        if resolved in seen:
            raise UserError(f"--methods has {name} twice; expected different methods")
        seen.append(resolved)
    if not seen:
        raise UserError("--methods needs at least one method")


def collect(summaries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the runs share, once, and the results of each."""
    first = next(iter(summaries.values()))
    own = {
        name: {
            **{key: summary[key] for key in ("last_10_mean", "last", "best_epoch", "seconds")},
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
    printed = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    printed.add_column("method", overflow="fold")
    for heading in ("last-10 mean", "last epoch", "best epoch"):
        printed.add_column(heading, justify="right", no_wrap=True)
    if result["metric"] == "test_accuracy":
        printed.caption = "best epoch is chosen on the test data: an oracle"
    ranked = sorted(result["methods"].items(), key=lambda item: -item[1]["last_10_mean"]["mean"])
    for name, own in ranked:
        printed.add_row(name, *(metrics.percent(own[key]) for key in ("last_10_mean", "last", "best_epoch")))
    return printed
