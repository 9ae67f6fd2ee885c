"""`train`: one method, one run folder."""

from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import config, presets
from experiments.commands.flags import Train
from experiments.config import Placement
from experiments.runs import contents
from experiments.safety import trust
from experiments.terminal import QUIET, Progress
from experiments.training import devices
from experiments.training.loop import train
from experiments.training.metrics import percent


def run(command: Train, console: Console) -> None:
    """Trains the method, or resumes it, and says where the results are."""
    experiment, placement, method = command.experiment, command.placement, command.method
    trust.remember_own_code(method)
    devices.check(placement)
    devices.connect(placement)
    progress = Progress(console) if devices.is_main_process() else QUIET
    if command.two_stage:
        # Here, since training alone does without what an audit imports.
        from experiments.commands import two_stage

        two_stage.check(experiment)
    presets.compare_labels(command.preset, experiment.data, progress)
    run_dir = command.run_dir or config.default_run_dir(experiment, method)
    summary = train(method, experiment, run_dir, progress, placement)
    say_results(summary, method, run_dir, placement, progress)
    if command.two_stage:
        summary = two_stage.second_stage(run_dir, method, experiment, placement, console)
        run_dir = run_dir / two_stage.FOLDER
        say_results(summary, method, run_dir, placement, progress)
    progress.say(f"next: {contents.audit_command(run_dir)}")


def say_results(
    summary: dict[str, Any], method: str, run_dir: Path, placement: Placement, progress: Progress
) -> None:
    """Says how accurate a finished run is, and where its results are."""
    metric = summary["metric"].replace("_", " ")
    epochs = min(10, summary["epochs"])
    against = ", against the labels as given" if summary["metric"] != "test_accuracy" else ""
    progress.say(f"{metric}, mean of the last {epochs} epochs: {percent(summary['last_10_mean'])} %{against}")
    if summary.get("noticed"):
        progress.say(f"{method}: {summary['noticed']}")
    progress.say(f"results {run_dir / 'summary.json'}")
    picture = run_dir / f"curves.{placement.figure_format}"
    if picture.exists():
        progress.say(f"picture {picture}")
