"""The loop over epochs, in the order in which things happen in a run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import noisy_optax as nox
from experiments.config import Experiment, Placement
from experiments.runs import event_files, long_table, run_folder, saved_columns
from experiments.terminal import Progress, Stopped
from experiments.training import devices, epoch_loops, metrics
from experiments.training.checkpoints import Checkpoints, abstract, check_folder
from experiments.training.checkpoints_within_epochs import WithinEpochs
from experiments.training.measurement import compile_measurement, warn_if_diverged, warn_if_nothing_is_learnt
from experiments.training.setup import Run, Setup, set_up, start
from experiments.training.together import ending_together
from experiments.training.training_data import Fold, seeds_of


def train(
    method: str,
    experiment: Experiment,
    run_dir: Path,
    progress: Progress,
    placement: Placement = Placement(),
    fold: Fold | None = None,
) -> dict[str, Any]:
    """Trains `method` in `run_dir`, resuming an interrupted run, and returns what summary.json says."""
    event_files.check(placement.tensorboard)
    check_folder(run_dir)
    with ending_together(run_dir):
        setup = set_up(method, experiment, placement, progress, fold)
        with run_folder.owned(run_dir):
            return train_owned(setup, run_dir, progress)


def train_owned(setup: Setup, run_dir: Path, progress: Progress) -> dict[str, Any]:
    """Trains in a folder that no other process trains in."""
    method, experiment, placement = setup.method, setup.experiment, setup.placement
    run_folder.claim(run_dir, setup.record)
    if setup.dataset.columns is not None and devices.is_main_process():
        saved_columns.save(run_dir, setup.dataset.columns)
    if (run_dir / "summary.json").exists():
        progress.say(f"{run_dir}: already finished")
        return run_folder.read_summary(run_dir / "summary.json")
    checkpoints, within_epochs = Checkpoints(run_dir / "checkpoints"), open_within_epochs(run_dir, setup)
    epoch, run = resume(setup, run_dir, checkpoints, within_epochs, progress)
    history = run_folder.read_metrics(run_dir, epoch)
    train_epoch, evaluate = epoch_runner(setup, within_epochs)
    measure = compile_measurement(setup, evaluate)
    started, diverged, last = time.perf_counter(), False, experiment.optimization.epochs
    seeds = seeds_of(experiment)
    with (
        progress.epochs(method, epoch, last) as report_epoch,
        event_files.opened(placement.tensorboard, run_dir, seeds, history) as add_events,
    ):
        while epoch < last:
            state, batches = train_epoch(epoch, run)
            epoch += 1
            run, measured = measure(epoch, run, state, batches)
            run_folder.append_metrics(run_dir, measured)
            add_events(measured)
            history.append(measured)
            stopping = epoch < last and is_time_over(placement, started)
            if stopping or is_checkpoint_due(epoch, experiment):
                checkpoints.save(epoch, run)
            report_epoch(epoch, metrics.in_words(measured))
            diverged = diverged or warn_if_diverged(method, measured, seeds)
            warn_if_nothing_is_learnt(setup, history)
            if stopping:
                checkpoints.close()
                raise Stopped(f"{run_dir}: stopped after epoch {epoch}; the same command goes on from there")
    checkpoints.close()
    if within_epochs is not None:
        within_epochs.remove()
    return finish(setup, run_dir, run, history, time.perf_counter() - started)


def open_within_epochs(run_dir: Path, setup: Setup) -> WithinEpochs | None:
    """The checkpoints between steps that the configuration asks for."""
    every, batch_size = setup.experiment.checkpoint_every_steps, setup.experiment.optimization.batch_size
    if every is None:
        return None
    return WithinEpochs(run_dir, every, len(setup.split.train_images) // batch_size, batch_size)


def resume(
    setup: Setup,
    run_dir: Path,
    checkpoints: Checkpoints,
    within_epochs: WithinEpochs | None,
    progress: Progress,
) -> tuple[int, Run]:
    """The number of finished epochs and the run after them: at the newest checkpoint, or before step 1."""
    sharding = devices.replicated(setup.parts.mesh)
    epoch, run = 0, start(setup)
    if restored := checkpoints.restore(abstract(run, sharding)):
        epoch, run = restored
        for kept in checkpoints.set_aside_after(epoch):
            progress.say(f"{run_dir}: a damaged checkpoint is kept as {kept}")
        progress.say(f"{run_dir}: resuming after epoch {epoch}")
    if within_epochs is not None:
        epoch, step, run = within_epochs.restore(epoch, run, sharding)
        if step:
            progress.say(f"{run_dir}: resuming after step {step} of epoch {epoch + 1}")
    return epoch, run


def epoch_runner(setup: Setup, within_epochs: WithinEpochs | None) -> tuple[Callable, Callable]:
    """`train_epoch(epoch, run) -> (state, batches)`, and the evaluation that goes with it."""
    parts, split = setup.parts, setup.split
    images = devices.images_everywhere(parts.mesh, split.train_images)
    given = devices.everywhere(parts.mesh, split.train_given)
    run_compiled, evaluate = epoch_loops.compile_loops(parts, setup.experiment)

    def train_epoch(epoch, run):
        keys = (
            jax.vmap(jax.random.fold_in, (0, None))(setup.keys[purpose], epoch)
            for purpose in ("order", "augment")
        )
        resumption = within_epochs.arguments(epoch, run) if within_epochs is not None else {}
        return run_compiled(run.state, setup.inputs, images, given, *keys, **resumption)

    return train_epoch, evaluate


def is_checkpoint_due(epoch: int, experiment: Experiment) -> bool:
    """Whether the run is saved after this epoch: every few epochs, and after the last one."""
    return epoch == experiment.optimization.epochs or epoch % experiment.checkpoint_every == 0


def is_time_over(placement: Placement, started: float) -> bool:
    """Whether the minutes that the user gave are over."""
    minutes = placement.stop_after
    return minutes is not None and time.perf_counter() > started + 60 * minutes


def finish(
    setup: Setup, run_dir: Path, run: Run, history: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """Writes the summary of a finished run and draws its pictures, which must not cost it the summary."""
    given, noticed = setup.given, setup.parts.method.noticed
    summary = {
        **metrics.summarize(history),
        "seeds": list(seeds_of(setup.experiment)),
        "seconds": seconds,
        # Seeds whose loss was not a number at the end: what they predict means nothing.
        "diverged": diverged_seeds(setup, history),
        "noticed": None if noticed is None else noticed(run.state.loss),
        "realised_noise": None if given.rate is None else {"rate": given.rate, "matrix": given.matrix},
        "config": setup.record,
        "provenance": run_folder.provenance(),
    }
    if devices.is_main_process():
        seeds = summary["seeds"]
        long_table.write(
            run_dir / "results.csv",
            long_table.rows(setup.method, setup.experiment.data, seeds, run_folder.as_read(history)),
        )
    # This file says that the run is finished.
    run_folder.write_json(run_dir / "summary.json", summary)
    if devices.is_main_process():
        plot(setup, history, run.state.loss, run_dir)
    return summary


def diverged_seeds(setup: Setup, history: list[dict[str, Any]]) -> list[int]:
    """The seeds whose training loss was not finite in the last epoch."""
    # As it is read back from a file, what is not a number is None.
    losses = np.asarray(history[-1]["train_loss"], float)
    return [
        seed for seed, loss in zip(seeds_of(setup.experiment), losses, strict=True) if not np.isfinite(loss)
    ]


def plot(setup: Setup, history: list[dict[str, Any]], loss_state: Any, run_dir: Path) -> None:
    """The pictures of a finished run."""
    # Here, so that training begins before Matplotlib has been imported.
    from experiments.pages import drawing, plots

    method, suffix = setup.method, setup.placement.figure_format

    def draw(name, function, *args):
        path = run_dir / f"{name}.{suffix}"
        with drawing.spared(path):
            function(*args, path, title=method)

    draw("curves", plots.curves, history)
    if "group_b" in history[-1]:
        draw("groups", plots.groups, history)
    if isinstance(loss_state, nox.ogc.OGCState):
        queue, valid = np.asarray(loss_state.queue), np.asarray(loss_state.valid)
        draw("threshold", plots.threshold, history)
        draw("mixture", plots.mixture, queue, valid, history[-1])
