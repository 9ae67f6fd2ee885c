"""Train and compare classifiers on noisy labels, and predict with them, from the command line."""

import dataclasses
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from rich.console import Console
from tyro.conf import subcommand

from experiments import config, presets
from experiments.data import cache
from experiments.terminal import Progress, Stopped, UserError

Command = (
    Annotated[config.Train, subcommand("train")]
    | Annotated[config.Compare, subcommand("compare")]
    | Annotated[config.Matrix, subcommand("matrix")]
    | Annotated[config.Predict, subcommand("predict")]
    | Annotated[config.Report, subcommand("report")]
    | Annotated[config.Audit, subcommand("audit")]
    | Annotated[config.AuditBenchmark, subcommand("audit-benchmark")]
    | Annotated[config.Prepare, subcommand("prepare")]
    | Annotated[config.Bench, subcommand("bench")]
    | Annotated[config.Regression, subcommand("regression")]
    | Annotated[config.Claims, subcommand("claims")]
    | Annotated[config.Losses, subcommand("losses")]
    | Annotated[config.Presets, subcommand("presets")]
    | Annotated[config.Tables, subcommand("tables")]
)


STOPPED = 75


def main(args: list[str] | None = None) -> int:
    """Runs one command; returns 0, or 2 after a one-line message about what the user can mend.

    75, which says "try again" by convention, if `--stop-after` ended a run before its last epoch.
    """
    console, errors = Console(), Console(stderr=True)

    def show_warning(message, *_, **__):
        errors.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)

    warnings.showwarning = show_warning
    keep_compiled_programs()
    try:
        run(parse(sys.argv[1:] if args is None else args), console)
    except Stopped as reached:
        console.print(str(reached), markup=False, highlight=False, soft_wrap=True)
        return STOPPED
    except UserError as error:
        errors.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return 2
    except BrokenPipeError:
        # Whoever read our output, `head` say, has seen enough; nothing is left to say or to flush.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except OSError as error:
        errors.print(f"error: {_describe(error)}", markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        errors.print("interrupted; a training run resumes at its last checkpoint")
        return 130
    return 0


def keep_compiled_programs() -> None:
    """Lets the next command find what this one has compiled, unless JAX has been told where to keep that."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache.folder() / "compiled"))
        # Many small ones add up at every start.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def parse(args: list[str]) -> Command:
    """The command that the arguments spell; those of `train` start from the preset, if they name one."""
    preset = presets.chosen(args)
    default = (
        tyro.MISSING_NONPROP if preset is None else dataclasses.replace(preset.train, preset=preset.name)
    )
    return tyro.cli(
        Command,
        args=args,
        default=default,
        prog="python -m experiments",
        description=__doc__,
    )


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def run(command: Command, console: Console) -> None:
    """Carries out a parsed command."""
    progress = Progress(console)
    # Each command imports what it needs, for all of it together takes seconds to import.
    match command:
        case config.Train(experiment, placement, method, run_dir):
            from experiments.training import devices
            from experiments.training.loop import train
            from experiments.training.metrics import percent

            devices.check(placement)
            devices.connect(placement)
            if not devices.is_main_process():
                progress = Progress(Console(quiet=True))
            run_dir = run_dir or config.default_run_dir(experiment, method)
            summary = train(method, experiment, run_dir, progress, placement)
            spread = percent(summary["last_10_mean"])
            progress.say(f"{summary['metric'].replace('_', ' ')}, mean of the last 10 epochs: {spread} %")
            progress.say(f"results {run_dir / 'summary.json'}")
            progress.say(f"picture {run_dir / 'curves.png'}")
        case config.Compare(experiment, methods, run_dir):
            from experiments.commands.compare import compare

            compare(methods, experiment, run_dir or config.default_run_dir(experiment), console)
        case config.Matrix():
            from experiments.commands import matrix

            matrix.measure(command, console)
        case config.Predict(run_dir, data, output):
            from experiments.commands.predict import predict

            predict(run_dir, data, output, progress)
        case config.Report(folders, output, examples):
            from experiments.pages.report import report

            report(folders, output, examples, progress)
        case config.Audit(run_dir, folds, method, seed):
            from experiments.commands.audit import audit

            audit(run_dir, folds, method, seed, console)
        case config.AuditBenchmark(run_dir, folds, work, output):
            from experiments.studies import audit_benchmark

            config.check_output(output)
            measured = audit_benchmark.measure(run_dir, folds, work, progress)
            console.print(audit_benchmark.table(measured))
            _write(output, measured)
        case config.Prepare(name, data_dir):
            from experiments.data import tfds_sets

            tfds_sets.prepare(name.removeprefix("tfds:"), data_dir, progress)
        case config.Bench(what, blocks, output, history):
            from experiments.studies.bench import budgets

            config.check_bench(command)
            _write(output, budgets.run(what, blocks, history, console))
        case config.Regression(output):
            from experiments.studies import regression

            config.check_output(output)
            measured = regression.measure()
            console.print(regression.table(measured))
            _write(output, measured)
        case config.Claims(names, output):
            from experiments.studies.claims import report as claims_report

            claims_report.run(names or claims_report.CLAIMS, output, console)
        case config.Losses(figure):
            from experiments.methods import LOSSES
            from experiments.pages import loss_page, plots

            config.check_figure(figure)
            loss_page.show(loss_page.entries(), console)
            if figure is not None:
                plots.losses(loss_page.curves(LOSSES), figure)
        case config.Presets():
            from experiments.presets import page

            page.show(presets.PRESETS, console)
        case config.Tables():
            from experiments.studies import results_pages

            for path in results_pages.write():
                progress.say(f"written {path}")


def _write(output: Path | None, measured: dict[str, Any]) -> None:
    from experiments.runs import run_folder

    if output is not None:
        run_folder.write_json(output, measured)


if __name__ == "__main__":
    sys.exit(main())
