"""Breaks copies of the project, one mistake each, and looks whether the tests notice.

    python -m tests.mutations [NAME ...] [--workers N] [--write]

Each mutation is applied to a temporary copy, of which the tests that mirror the broken file run until
their first failure. In the end the tests that failed run on an unbroken copy, where they have to pass:
what fails there too has noticed nothing. The exit code is 1 unless every mutation was noticed.
"""

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.mutations.catalogue import MUTATIONS
from tests.mutations.mutation import Mutation

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).parent / "README.md"
TIMEOUT = 600
TESTS_FAILED = 1  # pytest's exit code; others are errors of its own, such as a file that cannot be imported


class Outcome(NamedTuple):
    """What came of one mutation: `test` is the one that failed, `problem` why none did."""

    mutation: Mutation
    seconds: float
    test: str | None
    problem: str | None


def main(arguments: Sequence[str]) -> int:
    names = [mutation.name for mutation in MUTATIONS]
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or some of: {', '.join(names)}")
    parser.add_argument("--workers", type=int, default=2, help="mutations at a time (default: 2)")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"no mutation is named {', '.join(unknown)}; --help lists them")
    if options.write and options.names:
        parser.error("--write needs all mutations, so give no names")

    chosen = [mutation for mutation in MUTATIONS if mutation.name in (options.names or names)]
    console = Console()
    start = time.monotonic()
    outcomes = run_all(chosen, options.workers, console)
    seconds = time.monotonic() - start
    console.print(as_table(outcomes))
    console.print(summary(outcomes, seconds, options.workers), highlight=False, soft_wrap=True)
    if options.write:
        PAGE.write_text(page(outcomes, seconds, options.workers))
    return int(any(outcome.problem for outcome in outcomes))


def run_all(mutations: Sequence[Mutation], workers: int, console: Console) -> list[Outcome]:
    """The outcomes, in the order of `mutations`."""
    outcomes = {}
    with ThreadPoolExecutor(workers) as pool:
        for future in as_completed([pool.submit(run, mutation) for mutation in mutations]):
            outcome = future.result()
            outcomes[outcome.mutation.name] = outcome
            so_far = f"{len(outcomes)}/{len(mutations)} {outcome.mutation.name}"
            console.print(
                f"{so_far}: {outcome.test or outcome.problem}", highlight=False, markup=False, soft_wrap=True
            )
    return control([outcomes[mutation.name] for mutation in mutations])


def run(mutation: Mutation) -> Outcome:
    """Breaks a copy and runs the tests that should notice."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_project(Path(folder))
        apply(mutation, copy)
        try:
            result = run_tests(copy, [f"tests/{mutation.tests}"], "-x")
        except subprocess.TimeoutExpired:
            return Outcome(mutation, time.monotonic() - start, None, f"still running after {TIMEOUT} s")
    seconds = time.monotonic() - start
    failed = failures(result)
    if result.returncode == TESTS_FAILED and failed:
        return Outcome(mutation, seconds, failed[0], None)
    problem = "no test failed" if result.returncode == 0 else f"pytest ended with {result.returncode}"
    return Outcome(mutation, seconds, None, problem)


def control(outcomes: list[Outcome]) -> list[Outcome]:
    """Runs the tests that failed on an unbroken copy, and takes back those that fail there too."""
    tests = sorted({outcome.test for outcome in outcomes if outcome.test})
    if not tests:
        return outcomes
    with tempfile.TemporaryDirectory() as folder:
        result = run_tests(copy_project(Path(folder)), tests)
    failed = set(failures(result)) if result.returncode in (0, TESTS_FAILED) else set(tests)
    return [
        outcome._replace(test=None, problem=f"{outcome.test} fails without the mistake too")
        if outcome.test in failed
        else outcome
        for outcome in outcomes
    ]


def copy_project(folder: Path) -> Path:
    """What the tests need, copied into `folder`."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("noisy_optax", "experiments", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


def apply(mutation: Mutation, copy: Path) -> None:
    """Breaks one file of a copy."""
    file = copy / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: expected its old text once in {mutation.file}")
    file.write_text(text.replace(mutation.old, mutation.new))


def run_tests(copy: Path, tests: Sequence[str], *options: str) -> subprocess.CompletedProcess:
    """Pytest in a copy; what was compiled is kept in the checkout, for the next mutation."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", *options]
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache")),
    }
    return subprocess.run(
        [*command, *tests],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def failures(result: subprocess.CompletedProcess) -> list[str]:
    """The tests that pytest's summary names."""
    return re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", result.stdout, flags=re.MULTILINE)


def as_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table("mutation", "file", box=box.SIMPLE_HEAD)
    table.add_column("noticed by", overflow="fold")
    table.add_column("seconds", justify="right")
    for row in rows(outcomes):
        table.add_row(*map(escape, row))
    return table


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, str, str, str]]:
    return [
        (
            outcome.mutation.name,
            outcome.mutation.file,
            (outcome.test or f"NOT NOTICED: {outcome.problem}").removeprefix("tests/"),
            f"{outcome.seconds:.0f}",
        )
        for outcome in outcomes
    ]


def summary(outcomes: Sequence[Outcome], seconds: float, workers: int) -> str:
    noticed = sum(outcome.problem is None for outcome in outcomes)
    return (
        f"{noticed} of {len(outcomes)} mutations were noticed, in {seconds / 60:.1f} minutes with {workers} "
        f"at a time,\non {datetime.date.today().isoformat()} at commit {commit()}."
    )


def page(outcomes: Sequence[Outcome], seconds: float, workers: int) -> str:
    """The table as a page of Markdown."""
    lines = [f"| `{n}` | `{f}` | `{t}` | {s} |" for n, f, t, s in rows(outcomes)]
    return "\n".join(
        [
            "# What the tests notice",
            "",
            "This page shows which tests fail if the project is broken on purpose. `make mutations` breaks a",
            "copy of it in each way that [catalogue](catalogue/__init__.py) lists, runs one test file on",
            "each copy, and writes this page.",
            "",
            textwrap.fill(summary(outcomes, seconds, workers), 100),
            "",
            "| mutation | file | first test to fail | seconds |",
            "| --- | --- | --- | ---: |",
            *lines,
            "",
        ]
    )


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
