"""Train and compare classifiers on noisy labels, and predict with them, from the command line."""

import dataclasses
import os
import sys
import warnings
from typing import Annotated

import jax
import tyro
from rich.console import Console
from tyro.conf import subcommand

from experiments import (
    audit_benchmark,
    config,
    devices,
    loss_page,
    matrix,
    plots,
    presets,
    regression,
    run_folder,
    tables,
)
from experiments.audit import audit
from experiments.bench import budgets, gpu
from experiments.claims import report as claims_report
from experiments.compare import compare, percent
from experiments.data import cache, tfds_sets
from experiments.errors import Stopped, UserError
from experiments.predict import predict
from experiments.presets import page
from experiments.progress import Progress
from experiments.report import report
from experiments.train import train

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

BENCHES = {**budgets.PARTS, "gpu": gpu.measure}


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
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(cache.folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


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
    match command:
        case config.Train(experiment, placement, method, run_dir):
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
            compare(methods, experiment, run_dir or config.default_run_dir(experiment), console)
        case config.Matrix():
            matrix.measure(command, console)
        case config.Predict(run_dir, data, output):
            predict(run_dir, data, output, progress)
        case config.Report(folders, output, examples):
            report(folders, output, examples, progress)
        case config.Audit(run_dir, folds, method, seed):
            audit(run_dir, folds, method, seed, console)
        case config.AuditBenchmark(run_dir, folds, work, output):
            config.check_output(output)
            measured = audit_benchmark.measure(run_dir, folds, work, progress)
            console.print(audit_benchmark.table(measured))
            if output is not None:
                run_folder.write_json(output, measured)
        case config.Prepare(name, data_dir):
            tfds_sets.prepare(name.removeprefix("tfds:"), data_dir, progress)
        case config.Bench("all", blocks, output, history):
            config.check_bench(command)
            # Before minutes of measuring, and before a file is written that may change the working tree.
            earlier, provenance = budgets.read_history(history), run_folder.provenance()
            measured = {**budgets.measure(blocks, console), "provenance": provenance}
            line = budgets.entry(measured, provenance)
            console.print(budgets.table(budgets.rows(measured), budgets.before(earlier, line)))
            if output is not None:
                run_folder.write_json(output, measured)
            budgets.append_history(history, line)
            progress.say(f"history {history}")
        case config.Bench(what, blocks, output):
            config.check_bench(command)
            measured = {"bench": what, **BENCHES[what](blocks), "provenance": run_folder.provenance()}
            print(run_folder.as_json(measured))
            if output is not None:
                run_folder.write_json(output, measured)
        case config.Regression(output):
            config.check_output(output)
            measured = regression.measure()
            console.print(regression.table(measured))
            if output is not None:
                run_folder.write_json(output, measured)
        case config.Claims(names, output):
            claims_report.run(names or claims_report.CLAIMS, output, console)
        case config.Losses(figure):
            config.check_figure(figure)
            loss_page.show(loss_page.entries(), console)
            if figure is not None:
                plots.losses(loss_page.curves(loss_page.plain_losses()), figure)
        case config.Presets():
            page.show(presets.PRESETS, console)
        case config.Tables():
            for path in tables.write():
                progress.say(f"written {path}")


if __name__ == "__main__":
    sys.exit(main())
