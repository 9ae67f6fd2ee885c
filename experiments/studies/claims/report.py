"""Runs the claims, one after the other, and tells what held: on the terminal and on a page."""

import importlib
import inspect
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.runs import run_folder
from experiments.studies import templates
from experiments.studies.claims import Claim
from experiments.studies.claims.check import Check, verdict
from experiments.studies.templates import markdown
from experiments.terminal import UserError

RESULTS = Path(__file__).parents[2] / "results" / "claims"

CLAIMS: dict[str, ModuleType] = {
    name: importlib.import_module(f"experiments.studies.claims.{name}") for name in get_args(Claim)
}


def run(names: Iterable[str], output: Path, console: Console) -> None:
    """Measures each claim, shows it, and writes NAME.json and, where there is one, the picture NAME.png."""
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file; expected a folder, which is made if it is not there")
    output.mkdir(parents=True, exist_ok=True)
    # Before the first file is written, which may change the working tree.
    provenance = run_folder.provenance()
    lines = []
    for name in names:
        claim, started = CLAIMS[name], time.perf_counter()
        with console.status(f"measuring {name}"):
            measured = claim.measure()
        seconds = time.perf_counter() - started
        run_folder.write_json(
            output / f"{name}.json", {**measured, "seconds": seconds, "provenance": provenance}
        )
        # As a reader of the file has it.
        measured = run_folder.read_json(output / f"{name}.json")
        if hasattr(claim, "picture"):
            claim.picture(measured, output / f"{name}.png")
        console.print(table(claim, measured))
        console.print(details(claim.checks(measured)))
        lines.append(line(name, claim, measured))
        console.print(f"{lines[-1]}\nresults {output / f'{name}.json'}, {seconds:.0f} s\n", soft_wrap=True)
    if len(lines) > 1:
        console.print("\n".join(lines), soft_wrap=True)


def headline(claim: ModuleType) -> str:
    """The claim in a sentence."""
    return (inspect.getdoc(claim) or "").partition("\n")[0]


def line(name: str, claim: ModuleType, measured: dict[str, Any]) -> str:
    """Claim, verdict, and the numbers of the parts that did not hold, or else of the first."""
    checks = claim.checks(measured)
    failed = [check for check in checks if not check.held]
    numbers = "; ".join(f"{check.statement}: {check.measured}" for check in failed or checks[:1])
    of = f"{len(checks) - len(failed)} of {len(checks)}"
    return f"{name}: {verdict(checks)} ({of}). {headline(claim)} {'Not so' if failed else 'So'}: {numbers}"


def table(claim: ModuleType, measured: dict[str, Any]) -> Table:
    """What was measured, for the terminal."""
    heading, *rows = claim.rows(measured)
    printed = Table(title=headline(claim), box=box.SIMPLE)
    printed.add_column(heading[0])
    for column in heading[1:]:
        printed.add_column(column, justify="right")
    for row in rows:
        printed.add_row(*row)
    return printed


def details(checks: Iterable[Check]) -> Table:
    """The parts of a claim, for the terminal."""
    printed = Table(box=box.SIMPLE)
    for heading in ("part of the claim", "measured", "held"):
        printed.add_column(heading)
    for check in checks:
        printed.add_row(check.statement, check.measured, "yes" if check.held else "no")
    return printed


def page() -> str:
    """The page beside the results: every claim, what was measured, and whether it held."""
    files = {name: RESULTS / f"{name}.json" for name in CLAIMS}
    measured = {name: run_folder.read_json(file) for name, file in files.items() if file.exists()}
    overview = [["claim", "paper", "verdict"], ["---"] * 3]
    for name, claim in CLAIMS.items():
        overview.append([f"[{headline(claim)}](#{name})", claim.PAPER, _in_short(claim, measured.get(name))])
    sections = (section(name, CLAIMS[name], own) for name, own in measured.items())
    return templates.render(
        "claims.md.jinja",
        overview=markdown(overview),
        sections="".join(sections),
    )


def _in_short(claim: ModuleType, measured: dict[str, Any] | None) -> str:
    if measured is None:
        return "not measured yet"
    checks = claim.checks(measured)
    return f"{verdict(checks)} ({sum(check.held for check in checks)} of {len(checks)})"


def section(name: str, claim: ModuleType, measured: dict[str, Any]) -> str:
    """A claim on the page."""
    checks = claim.checks(measured)
    parts = [["part of the claim", "measured", "held"], ["---"] * 3]
    parts += [[check.statement, check.measured, "yes" if check.held else "**no**"] for check in checks]
    heading, *rows = claim.rows(measured)
    rule = ["---", *["---:"] * (len(heading) - 1)]
    picture = f"![{headline(claim)}]({name}.png)\n\n" if hasattr(claim, "picture") else ""
    return templates.render(
        "claim.md.jinja",
        name=name,
        description=inspect.getdoc(claim),
        paper=claim.PAPER,
        verdict=verdict(checks).capitalize(),
        parts=markdown(parts),
        measured=measured,
        rows=markdown([heading, rule, *rows]),
        picture=picture,
    )
