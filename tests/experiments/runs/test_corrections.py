"""What a list of changes does to the labels, and what is written of it."""

import csv

import numpy as np

from experiments.runs import corrections
from experiments.runs.corrections import Change

GIVEN = np.array([0, 1, 2, 0, 1], np.int32)
CHANGES = [Change(4, 0, "reviewed"), Change(2, None, "one of the first 2"), Change(0, 2, "reviewed")]


def test_each_change_is_made_to_its_example_and_the_labels_given_stay():
    given = GIVEN.copy()
    labels, kept = corrections.apply(CHANGES, given)
    assert labels.tolist() == [2, 1, 2, 0, 0]
    assert kept.tolist() == [True, True, False, True, True]
    assert given.tolist() == GIVEN.tolist()


def test_the_record_has_the_label_before_and_after(tmp_path):
    path = tmp_path / "changes.csv"
    corrections.write_record(path, CHANGES, GIVEN, ("a", "b", "c"), [f"{i}.png" for i in range(5)], "file")
    with path.open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [
        ("4", "4.png", "b", "relabel", "a", "reviewed"),
        ("2", "2.png", "c", "drop", "", "one of the first 2"),
        ("0", "0.png", "a", "relabel", "c", "reviewed"),
    ]
