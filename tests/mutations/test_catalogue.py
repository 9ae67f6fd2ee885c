"""The list of mutations has not been overtaken by the code."""

from pathlib import Path

import pytest

from tests.mutations.catalogue import MUTATIONS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_still_applies(mutation):
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    assert mutation.new != mutation.old
    assert mutation.new != mutation.old
    file, _, test = mutation.tests.partition("::")
    assert f"def {test}" in (ROOT / "tests" / file).read_text()


def test_names_are_used_once():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
