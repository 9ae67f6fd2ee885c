"""Measures the results on digits: each is a command of `compare`, and a file in experiments/results."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from experiments.__main__ import parse
from experiments.commands import compare
from experiments.runs import run_folder
from experiments.studies import digits, regression, results_pages
from experiments.studies.audit import ranking
from experiments.studies.claims import report as claims_report
from experiments.studies.figures import learned_first
from experiments.terminal import Progress, UserError

DOCS = results_pages.README.parent / "docs"


class Measurement(NamedTuple):
    """One file of results, and the command of `compare` that measures it.

    Attributes:
      name: of the file in experiments/results/digits, without its ending.
      flags: what follows `compare`.
    """

    name: str
    flags: tuple[str, ...]


def measurements() -> Iterator[Measurement]:
    """All comparisons on digits, in the order in which they are measured."""
    later = ("--seeds", "10", "--first-seed", "100")
    no_clip = ("--gradient-norm-clip", "None")
    for noise in digits.FIRST_NOISES:
        yield _compared(noise, noise, digits.FIRST_METHODS)
    forty = "symmetric-0.4"
    many = ("--seeds", "30", "--first-seed", "100")
    yield _compared(f"{forty}-30-seeds", forty, digits.BOUNDED_METHODS, *many)
    for noise in digits.MODE_NOISES:
        yield _compared(f"modes-sgd-{noise}", noise, digits.MODES, *later)
    for noise in digits.MODE_NOISES:
        adamw = ("--optimizer", "adamw", "--learning-rate", "0.001")
        yield _compared(f"modes-adamw-{noise}", noise, digits.MODES, *later, *adamw)
    for noise in digits.FIRST_NOISES:
        yield _compared(f"sharpness-{noise}", noise, digits.SHARPNESS, *no_clip)
    for noise in digits.MORE_NOISES:
        yield _compared(f"more-{noise}", noise, digits.MORE_METHODS)
    for noise in digits.OTHER_NOISES:
        yield _compared(f"others-{noise}", noise, digits.OTHER_METHODS)
    yield _compared(f"sharpness-{forty}-30-seeds", forty, digits.SHARPNESS, *many, *no_clip)
    yield _compared("curves", forty, tuple(learned_first.METHODS))
    yield _matrix("matrix", digits.METHODS)
    for decay in digits.ELR_DECAYS:
        yield _matrix(f"elr-{decay}", ("elr",), "--weight-decay", decay)


def _compared(name: str, noise: str, methods: tuple[str, ...], *flags: str) -> Measurement:
    kind, _, rate = noise.partition("-")
    seeds = () if "--seeds" in flags else ("--seeds", "10")
    labels = ("--noise", kind, *(("--noise-rate", rate) if rate else ()))
    return Measurement(name, (*labels, *seeds, *flags, "--methods", *methods))


def _matrix(name: str, methods: tuple[str, ...], *flags: str) -> Measurement:
    return Measurement(name, ("--noises", *digits.NOISES, "--seeds", "10", *flags, "--methods", *methods))


def measure(work: Path, only: tuple[str, ...], console: Console) -> None:
    """Measures what is asked for in `work` and copies the results to where they are committed."""
    known = {measurement.name: measurement for measurement in measurements()}
    further = ("regression", "claims", "audit")
    if unknown := set(only) - set(known) - set(further):
        raise UserError(f"--only has {min(unknown)}; expected some of {', '.join([*known, *further])}")
    chosen = only or (*known, *further)
    # First all, then the copies, so that what is measured runs on code without uncommitted changes.
    copies: dict[Path, Path] = {}
    for name in chosen:
        if name in known:
            copies |= _measure_on_digits(known[name], work, console)
    if "regression" in chosen:
        run_folder.write_json(work / "regression.json", regression.measure())
        copies[work / "regression.json"] = results_pages.RESULTS.parent / "regression.json"
    if "claims" in chosen:
        claims_report.run(claims_report.CLAIMS, work / "claims", console)
        copies |= {file: claims_report.RESULTS / file.name for file in (work / "claims").iterdir()}
    if "audit" in chosen:
        measured = ranking.measure(None, 5, work / "audit-benchmark", Progress(console))
        run_folder.write_json(work / "audit.json", measured)
        copies[work / "audit.json"] = ranking.RESULTS / "digits.json"
    for source, target in copies.items():
        shutil.copyfile(source, target)
    if "curves" in chosen:
        learned_first.write_curves(work / "curves" / "results.csv", learned_first.CURVES)
    results_pages.write()


def _measure_on_digits(measurement: Measurement, work: Path, console: Console) -> dict[Path, Path]:
    folder = work / measurement.name
    command = parse(["compare", *measurement.flags, "--run-dir", str(folder)])
    compare.run(command, console)
    if measurement.name == "curves":
        return {}
    summary = folder / ("matrix.json" if "--noises" in measurement.flags else "summary.json")
    copies = {summary: results_pages.RESULTS / f"{measurement.name}.json"}
    if measurement.name == "matrix":
        copies[folder / "matrix.png"] = DOCS / "matrix.png"
    return copies
