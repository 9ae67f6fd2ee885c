"""Labels as people have them, numbers, names, votes or distributions, as indices of classes."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data.dataset import Labels, check_labels
from experiments.terminal import UserError

# A vote that was not cast.
NO_VOTE = -1
# So many names of classes may come with any few examples.
MANY_NAMES = 1000


class Classes(NamedTuple):
    """How many classes there are, and their names if they have any."""

    number: int
    names: tuple[str, ...] | None


def to_indices(
    source: Path | str,
    arrays: dict[str, NDArray],
    lengths: dict[str, int],
    *,
    names: tuple[str, ...] | None = None,
    num_classes: int | None = None,
) -> tuple[dict[str, Labels], Classes]:
    """Labels of all parts of a source as indices of the same classes.

    Args:
      source: where they come from, for messages.
      arrays: the labels of each part as the source has them, see `one_for_each`.
      lengths: how many examples each part has.
      names: of the classes, if the source says them; else those that occur, in their order.
      num_classes: how many there are, if that is known; else one more than the largest number.

    Returns:
      The labels of each part, int32 `[N]`, and the classes.
    """
    single = {key: one_for_each(source, key, array, lengths[key]) for key, array in arrays.items()}
    kinds = {labels.dtype.kind for labels in single.values()}
    if len(kinds - {"u"}) > 1 and "U" in kinds:
        raise UserError(f"{source}: {' and '.join(single)} must all be names or all be numbers")
    if "U" in kinds:
        if names is None and num_classes is not None:
            raise UserError(f"{source}: labels are names; expected numbers of {num_classes} classes")
        found = np.unique(np.concatenate(list(single.values())))
        names = names or in_order(found)
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise UserError(f"{source}: label {str(unknown[0])!r} is not among the class names")
        index = {name: i for i, name in enumerate(names)}
        single = {key: np.array([index[name] for name in labels]) for key, labels in single.items()}
    count = len(names) if names else num_classes
    if num_classes is not None and count != num_classes:
        raise UserError(f"{source}: has {count} class names; expected {num_classes} classes")
    checked = {key: check_labels(source, key, labels, lengths[key], count) for key, labels in single.items()}
    if count is None:
        count = int(max(labels.max() for labels in checked.values())) + 1
    return checked, Classes(count, names)


def one_for_each(source: Path | str, key: str, labels: NDArray, length: int) -> NDArray:
    """One label for each example: integers or names, `[N]`.

    Accepted are integers, whole floats, booleans and strings `[N]` or `[N, 1]`; one-hot rows `[N, C]`;
    distributions `[N, C]`, of which the largest is taken; and votes of several people `[N, A]`, integers
    with -1 for none, of which the most frequent is taken, in a tie the class with more votes in all.
    """
    if labels.dtype.kind == "f":
        # What is summed and compared below does not fit into float16.
        with np.errstate(invalid="ignore"):
            labels = labels.astype(np.promote_types(labels.dtype, np.float64))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "iufb" and len(labels):
        labels = _of_rows(source, key, labels)
    if labels.ndim != 1:
        raise UserError(
            f"{source}: {key} must be [N], one-hot or probabilities [N, C], or votes [N, people], got shape "
            f"{list(labels.shape)}"
        )
    if len(labels) != length:
        raise UserError(f"{source}: {key} has {len(labels)} entries for {length} examples")
    if labels.dtype.kind in "SU":
        return _names(source, key, labels)
    if labels.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            # Beyond 2^53, floats are too far apart to be numbers of classes.
            bad = np.flatnonzero(~((np.abs(labels) < 2**53) & (labels == np.round(labels))))
        if bad.size:
            raise UserError(
                f"{source}: {key} must be class numbers or names, got {labels[bad[0]]} at index {bad[0]}"
            )
        return labels.astype(np.int64)
    if labels.dtype.kind not in "iub":
        raise UserError(f"{source}: {key} must be class numbers or names, got {labels.dtype}")
    return labels.astype(np.int64)


def _names(source: Path | str, key: str, labels: NDArray) -> NDArray[np.str_]:
    try:
        names = np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels
        missing = [i for i, name in enumerate(names.tolist()) if not name.strip()]
    # Any bytes may stand in a file; some are no characters.
    except (SystemError, ValueError) as error:
        raise UserError(f"{source}: {key} holds bytes that are no text") from error
    if missing:
        raise UserError(f"{source}: {key} has no name at index {missing[0]}")
    return names


def _of_rows(source: Path | str, key: str, rows: NDArray) -> NDArray[np.int64]:
    if ((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all():
        return rows.argmax(axis=1)
    if rows.dtype.kind == "f":
        if not (
            np.isfinite(rows).all() and (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3)
        ):
            raise UserError(
                f"{source}: {key} is [N, C] and floating; expected rows of probabilities, of sum 1"
            )
        return rows.argmax(axis=1)
    return majority(source, key, rows)


def majority(source: Path | str, key: str, votes: NDArray) -> NDArray[np.int64]:
    """The most frequent vote of each row; in a tie, of these the class with the most votes in all rows.

    >>> majority("votes", "votes", np.array([[0, 0, 2], [1, 2, -1], [2, -1, -1]]))
    array([0, 2, 2])
    """
    votes = votes.astype(np.int64)
    bad = np.flatnonzero((votes < NO_VOTE).any(axis=1) | (votes == NO_VOTE).all(axis=1))
    if bad.size:
        raise UserError(
            f"{source}: {key} has votes of several people; expected class numbers and {NO_VOTE} for none, at "
            f"least one vote in each row, got {votes[bad[0]].tolist()} at index {bad[0]}"
        )
    # Only of the classes that occur: one huge vote would make as many.
    classes, found = np.unique(votes, return_inverse=True)
    found = found.reshape(votes.shape)
    in_row = np.stack([(votes == one[:, None]).sum(axis=1) for one in votes.T], axis=1)
    in_all = np.bincount(found.ravel(), minlength=len(classes))[found]
    cast = votes != NO_VOTE
    order = np.lexsort((votes, in_all, np.where(cast, in_row, -1)), axis=-1)[:, -1:]
    return np.take_along_axis(votes, order, axis=1)[:, 0]


def in_order(names: NDArray[np.str_]) -> tuple[str, ...]:
    """Names in the order of the alphabet, numbers in their own.

    >>> in_order(np.array(["10", "9"]))
    ('9', '10')
    """
    numbers = all(name.removeprefix("-").isdecimal() for name in names)
    return tuple(sorted(map(str, names), key=int if numbers else None))


def check_empty_classes(
    source: Path | str, labels: Labels, classes: Classes, num_classes: int | None = None
) -> None:
    """Warns of classes without training examples, which are a mistake more often than not.

    Raises UserError if these are most classes, and nobody said that there are so many.
    """
    empty = np.flatnonzero(np.bincount(labels, minlength=classes.number) == 0)
    if not empty.size:
        return
    if classes.names and classes.number > max(MANY_NAMES, 2 * len(labels)) and num_classes is None:
        raise UserError(
            f"{source}: has names of {classes.number:,} classes and labels of {len(labels):,} examples; "
            f"leave out names, or say that it is right with --num-classes {classes.number}"
        )
    if 2 * len(empty) > classes.number and classes.names is None and num_classes is None:
        raise UserError(
            f"{source}: labels up to {classes.number - 1} make {classes.number} classes, of which "
            f"{len(empty)} have no example; number the classes from 0, give their names as labels, or leave "
            f"out examples whose label stands for unknown"
        )
    names = [classes.names[i] if classes.names else str(i) for i in empty[:3]]
    which = ", ".join(names) + (f" and {len(empty) - 3} more" if len(empty) > 3 else "")
    hint = ""
    if not classes.names:
        hint = "; classes are numbered from 0" + (
            ", and labels that count from 1 need 1 subtracted" if empty[0] == 0 and len(empty) == 1 else ""
        )
    warnings.warn(
        f"{source}: of {classes.number} classes, {which} {'has' if len(empty) == 1 else 'have'} no training "
        f"example{hint}",
        stacklevel=2,
    )


def known_to(source: Path | str, key: str, labels: NDArray, length: int, classes: Classes) -> Labels | None:
    """Labels to compare predictions with, as indices of a run's classes; None with a warning if they are not.

    They may stand for "unknown", and would only be compared.
    """
    try:
        found, _ = to_indices(
            source, {key: labels}, {key: length}, names=classes.names, num_classes=classes.number
        )
    except UserError as error:
        warnings.warn(f"labels ignored, since the run has {classes.number} classes: {error}", stacklevel=2)
        return None
    return found[key]
