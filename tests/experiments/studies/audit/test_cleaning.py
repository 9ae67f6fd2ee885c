"""The table of the two stages."""

from experiments.studies.audit import cleaning


def test_seeds_are_summed_up_by_cell():
    def row(cell, seed, second, other):
        shares = {"right_before": 0.6, "right_after": 0.9, "first": 0.8}
        return {"cell": cell, "seed": seed, "second": second, "clean_learning": other, **shares}

    table = cleaning.table([row("none", 0, 0.7, 0.5), row("none", 1, 0.9, 0.5), row("rules", 0, 0.75, None)])
    *_, first, second = table.splitlines()
    assert first == ("| digits, clean | 60.0 ± 0.0 | 90.0 ± 0.0 | 80.0 ± 0.0 | 80.0 ± 14.1 | 50.0 ± 0.0 |")
    assert second == "| titles in Yoruba, keyword rules | 60.0 | 90.0 | 80.0 | 75.0 |  |"
