"""What is to be changed in a run's labels: by the audit's list, by what a person decided, by a rule."""

import csv
import io
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data import array_files
from experiments.data.tables import text_form
from experiments.runs import contents, run_folder
from experiments.runs.audit_files import CUT
from experiments.runs.corrected_data import How
from experiments.safety import csv_files, files
from experiments.terminal import UserError

Action = Literal["relabel", "drop", "keep"]
# With `both`, a suggestion that the model gives at least this probability is taken, else the example dropped.
SURE = 0.8
REVIEWED_COLUMNS = ("index", "decision", "label")


class Decision(NamedTuple):
    """What a person said of an example: the label to use instead, None for `keep` and `drop`."""

    action: Action
    label: int | None


class Change(NamedTuple):
    """A change to one example's label, and why it is made; `label` is None where the example is dropped."""

    example: int
    label: int | None
    why: str


class Rule(NamedTuple):
    """Which labels are changed without a person's decision, and how.

    Attributes:
      above: those with a larger probability of being wrong.
      first: so many of the most suspicious in place of that, None for no such limit.
      reviewed_only: none at all.
    """

    how: How = "relabel"
    above: float = CUT
    first: int | None = None
    reviewed_only: bool = False


def decide(
    suspects: list[contents.Suspect],
    probabilities: NDArray[np.floating],
    decisions: dict[int, Decision],
    rule: Rule,
) -> list[Change]:
    """The changes, in the order of the list; what a person decided comes before the rule."""
    changes = []
    for rank, suspect in enumerate(suspects):
        decision = decisions.get(suspect.example)
        if decision is not None:
            if decision.action != "keep" and decision.label != suspect.given:
                changes.append(Change(suspect.example, decision.label, "reviewed"))
            continue
        if rule.reviewed_only:
            continue
        if rule.first is not None:
            chosen, why = rank < rule.first, f"one of the first {rule.first}"
        else:
            chosen, why = suspect.probability > rule.above, f"probability_wrong above {rule.above:g}"
        if not chosen:
            continue
        sure = probabilities[suspect.example, suspect.suggested] >= SURE
        relabel = rule.how == "relabel" or (rule.how == "both" and sure)
        if relabel and suspect.suggested == suspect.given:
            continue
        changes.append(Change(suspect.example, suspect.suggested if relabel else None, why))
    return changes


def apply(changes: list[Change], given: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The labels `[N]` after the changes, and which examples are kept."""
    labels, kept = given.copy(), np.ones(len(given), bool)
    for change in changes:
        if change.label is None:
            kept[change.example] = False
        else:
            labels[change.example] = change.label
    return labels, kept


def read_suspects(run_dir: Path, num_classes: int) -> tuple[list[contents.Suspect], NDArray[np.floating]]:
    """The list of an audited run, and its probabilities of each class."""
    path = run_dir / "labels.csv"
    if not path.exists():
        raise UserError(f"{run_dir}: has no labels.csv yet; `{contents.audit_command(run_dir)}` makes it")
    suspects = contents.read_suspects(path, num_classes)
    again = f"`{contents.audit_command(run_dir)}` writes it anew"
    try:
        probabilities = array_files.read(run_dir / "audit.npz", ("probabilities",), ())["probabilities"]
    except UserError as error:
        raise UserError(f"{error}; {again}") from error
    examples = max((suspect.example for suspect in suspects), default=0) + 1
    if (
        probabilities.ndim != 2
        or probabilities.shape[1] != num_classes
        or len(probabilities) < examples
        or not np.issubdtype(probabilities.dtype, np.floating)
        or not np.isfinite(probabilities).all()
    ):
        raise UserError(
            f"{run_dir / 'audit.npz'}: probabilities must be finite [N, {num_classes}], got "
            f"{probabilities.dtype} {list(probabilities.shape)}; {again}"
        )
    return suspects, probabilities


def read_reviewed(path: Path, examples: int, names: tuple[str, ...]) -> dict[int, Decision]:
    """What a person decided in the page of `review`, by the index of the example."""
    if not files.regular(path).is_file():
        raise UserError(f"{path}: no such file")
    decisions: dict[int, Decision] = {}
    text, form = text_form.text_and_form(path)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=form.separator)
    missing = [name for name in REVIEWED_COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise UserError(
            f"{path}: has no column {missing[0]!r}; expected the reviewed.csv that the page of `review` saves"
        )
    try:
        for number, row in enumerate(rows, 2):
            decisions.update([_decision(path, number, row, examples, names)])
    # As for a quotation mark without its other half.
    except csv.Error as error:
        raise UserError(f"{path}: row {rows.line_num} cannot be read ({error})") from error
    return decisions


def _decision(
    path: Path, number: int, row: dict[str, str], examples: int, names: tuple[str, ...]
) -> tuple[int, Decision]:
    index, action, label = (row[name] for name in REVIEWED_COLUMNS)
    # Python refuses to read thousands of digits.
    if not (index or "").isdecimal() or len(index) > 18 or int(index) >= examples:
        raise UserError(
            f"{path}: row {number} has index {(index or '')[:20]!r}; expected 0 to {examples - 1}"
        )
    if action == "relabel":
        name = csv_files.original(label or "")
        if name not in names:
            raise UserError(f"{path}: row {number} has label {label!r}, which is no class of the run")
        return int(index), Decision("relabel", names.index(name))
    if action == "drop":
        return int(index), Decision("drop", None)
    if action == "keep":
        return int(index), Decision("keep", None)
    raise UserError(f"{path}: row {number} has decision {action!r}; expected keep, relabel or drop")


def write_record(
    path: Path,
    changes: list[Change],
    given: NDArray[np.integer],
    names: tuple[str, ...],
    known_as: list[str] | None,
    named_by: str,
) -> None:
    """What was changed and why, one line each."""
    rows: list[list[object]] = [
        ["index", *[named_by] * bool(known_as), "given_label", "action", "new_label", "why"]
    ]
    for change in changes:
        known = [known_as[change.example]] if known_as else []
        action = "drop" if change.label is None else "relabel"
        new = "" if change.label is None else names[change.label]
        rows.append([change.example, *known, names[given[change.example]], action, new, change.why])
    with run_folder.whole(path) as unfinished:
        csv_files.write(unfinished, rows)
