import re

import jax
import pytest

from experiments import audit_benchmark, tables
from experiments.bench import page
from experiments.claims import report

README = tables.README.read_text()


def test_the_python_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 4
    # As on a reader's machine, where bias vectors broadcast.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec("\n".join(blocks), {})


def test_the_tables_are_those_of_the_committed_results():
    assert tables.readme(README) == README
    assert tables.results_page() == (tables.RESULTS / "README.md").read_text()
    assert tables.cifar10n_page() == (tables.CIFAR10N / "README.md").read_text()
    assert audit_benchmark.page() == (audit_benchmark.RESULTS / "README.md").read_text()
    assert page.page() == (page.RESULTS / "README.md").read_text()
    assert report.page() == (report.RESULTS / "README.md").read_text()


def test_the_commands_it_shows_exist():
    import tyro

    from experiments.__main__ import Command

    commands = re.findall(r"^python -m experiments (.*?)$", README, flags=re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        tyro.cli(Command, args=command.split())


def test_level_is_two_standard_errors_below():
    assert tables.level_from(70.0, 2.0, 4, 0.0, 5) == pytest.approx(68.0)
    assert tables.level_from(70.0, 0.0, 3, 3.0, 9) == pytest.approx(68.0)
