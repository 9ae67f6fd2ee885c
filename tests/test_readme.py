import re

import jax
import pytest

from experiments.studies import results_pages
from experiments.studies.audit import ranking
from experiments.studies.bench import page
from experiments.studies.claims import report
from experiments.studies.figures import learned_first
from experiments.studies.recipe import real_size

README = results_pages.README.read_text()


def test_the_python_examples_run():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 4
    # As on a reader's machine, where bias vectors broadcast.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec("\n".join(blocks), {})


def test_the_tables_are_those_of_the_committed_results():
    assert results_pages.readme(README) == README
    for page_with_figure in (README, results_pages.INDEX.read_text()):
        assert learned_first.claim(learned_first.read_curves(learned_first.CURVES)) in page_with_figure
    assert results_pages.results_page() == (results_pages.RESULTS / "README.md").read_text()
    assert real_size.page() == real_size.PAGE.read_text()
    assert ranking.page() == (ranking.RESULTS / "README.md").read_text()
    assert page.page() == (page.RESULTS / "README.md").read_text()
    assert report.page() == (report.RESULTS / "README.md").read_text()


def test_the_commands_it_shows_exist():

    from experiments.__main__ import parse

    commands = re.findall(r"^python -m experiments (.*?)$", README, flags=re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        parse(command.split())


def test_level_is_two_standard_errors_below():
    assert results_pages.level_from(70.0, 2.0, 4, 0.0, 5) == pytest.approx(68.0)
    assert results_pages.level_from(70.0, 0.0, 3, 3.0, 9) == pytest.approx(68.0)
