"""Runs the whole suite in several virtual environments, and writes a table of what passed.

    python -m tests.versions VENV [VENV ...]

The exit code is 1 if a test failed in one of them.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.mutations.__main__ import commit

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).parent / "README.md"
PACKAGES = (
    "jax",
    "flax",
    "optax",
    "orbax-checkpoint",
    "chex",
    "numpy",
    "scikit-learn",
    "tensorflow-datasets",
)
_ASK = f"""
import json, platform
from importlib.metadata import version
print(json.dumps({{"python": platform.python_version()}} | {{name: version(name) for name in {PACKAGES}}}))
"""


class Outcome(NamedTuple):
    """What came of the suite in one environment."""

    versions: dict[str, str]
    passed: int
    skipped: int
    failed: list[str]
    seconds: float


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.versions", description=__doc__.splitlines()[0])
    parser.add_argument("environments", nargs="+", type=Path, metavar="VENV", help="a virtual environment")
    parser.add_argument("--workers", type=int, default=2, help="tests at a time (default: 2)")
    options = parser.parse_args(arguments)
    outcomes = [run(environment, options.workers) for environment in options.environments]
    PAGE.write_text(page(outcomes))
    print(PAGE.read_text())
    return int(any(outcome.failed for outcome in outcomes))


def run(environment: Path, workers: int) -> Outcome:
    """The suite with the Python of an environment."""
    python = environment.absolute() / "bin" / "python"
    asked = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "tests.xml"
        command = [python, "-m", "pytest", "-q", "-n", str(workers), "--dist", "worksteal"]
        subprocess.run([*command, f"--junitxml={found}"], cwd=ROOT, check=False)
        suite = ElementTree.parse(found).getroot()[0]
    cases = list(suite.iter("testcase"))
    failed = [
        f"{case.get('classname')}.{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - skipped - len(failed)
    return Outcome(json.loads(asked.stdout), passed, skipped, failed, float(suite.get("time", "nan")))


def page(outcomes: Sequence[Outcome]) -> str:
    """The table as a page of Markdown."""
    rows = [
        ["", *(f"python {outcome.versions['python']}" for outcome in outcomes)],
        ["---"] * (len(outcomes) + 1),
        *(
            [name, *(outcome.versions[name] for outcome in outcomes)]
            for name in outcomes[0].versions
            if name != "python"
        ),
        ["passed", *(f"{outcome.passed:,}" for outcome in outcomes)],
        ["skipped", *(str(outcome.skipped) for outcome in outcomes)],
        ["failed", *(", ".join(outcome.failed) or "0" for outcome in outcomes)],
        ["minutes", *(f"{outcome.seconds / 60:.0f}" for outcome in outcomes)],
    ]
    return "\n".join(
        [
            "# The suite with the oldest and the newest versions",
            "",
            "`make versions` runs all tests that are not slow in one environment for each column, and writes",
            f"this page. It was written on {datetime.date.today().isoformat()} at commit {commit()}.",
            "",
            *(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows),
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
