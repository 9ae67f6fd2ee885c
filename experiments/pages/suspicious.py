"""What an audit says of a run, for the report: the answer, the worst examples, what cleaning changes."""

from collections import Counter
from typing import Any

import numpy as np

from experiments.pages import examples
from experiments.runs import audit_files
from experiments.runs.contents import Data, Run, Suspect

# Columns of a suspicious row of a table, and pairs of given and suggested class, that are shown.
_CELLS_SHOWN, _CHANGES_SHOWN = 12, 8


def changes_of(rows: list[Suspect], classes: list[str]) -> list[tuple[str, str, int]]:
    """How often each class would become each other one where the labels are judged wrong; the most first."""
    counts = Counter(
        (row.given, row.suggested)
        for row in rows
        if row.probability > audit_files.CUT and row.given != row.suggested
    )
    return [
        (classes[given], classes[suggested], count)
        for (given, suggested), count in counts.most_common(_CHANGES_SHOWN)
    ]


def answer(run: Run) -> str | None:
    """What the audit found, as a headline; None without an audit."""
    if run.audit is None or run.suspects is None:
        return None
    rate, total = run.audit["estimated_noise_rate"], len(run.suspects)
    if rate is None:
        return "The model has not learnt this task, so nothing can be said about its labels"
    likely = sum(row.probability > audit_files.CUT for row in run.suspects)
    interval = f"between {rate['low']:.1%} and {rate['high']:.1%} of all are"
    return f"{likely:,} of {total:,} labels look wrong; {interval}"


def ceiling(run: Run) -> str | None:
    """What accuracy on given labels can reach at most, if that is what was measured."""
    if run.summary is None or run.summary["metric"] == "test_accuracy" or run.audit is None:
        return None
    rate = run.audit["estimated_noise_rate"]
    if rate is None:
        return None
    return (
        f"This accuracy is measured against given labels, of which an estimated {rate['low']:.1%} to "
        f"{rate['high']:.1%} are wrong. A model without any mistake would reach {1 - rate['high']:.1%} to "
        f"{1 - rate['low']:.1%}."
    )


def suspects(run: Run, data: Data | None, classes: list[str], number: int) -> dict[str, Any] | None:
    """The most suspicious training examples, as images if that is what they are; None without an audit."""
    if run.suspects is None:
        return None
    rows = run.suspects
    shown = rows[:number]
    clean = None if data is None else data.clean
    indices = np.array([row.example for row in shown], int)
    pictures = cells = None
    if data is not None and shown:
        pictures = examples.pictures_of(data, indices)
        cells = examples.rows_of(run, indices)
    return {
        "total": len(rows),
        "likely": sum(row.probability > audit_files.CUT for row in rows),
        "shown": [
            {
                "index": row.example,
                "given": classes[row.given],
                "suggested": classes[row.suggested],
                "probability": row.probability,
                "file": row.file,
                "picture": pictures[i] if pictures else None,
                "cells": cells[i][:_CELLS_SHOWN] if cells else None,
                "true": None if clean is None else classes[clean[row.example]],
                "wrong": clean is not None and bool(clean[row.example] != row.given),
            }
            for i, row in enumerate(shown)
        ],
        "clean_known": clean is not None,
        "wrong": 0 if clean is None else sum(bool(clean[row.example] != row.given) for row in shown),
        "images": data is not None and examples.shows_images(data),
        "changes": changes_of(rows, classes),
        "loaded": data is not None,
    }
