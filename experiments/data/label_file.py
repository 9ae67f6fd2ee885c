"""Training labels from a file, such as those that people gave to CIFAR's images."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data import npz
from experiments.data.dataset import Labels, check_labels
from experiments.terminal import UserError, one_line

# What an npz file may call the labels that it takes for the true ones.
_CLEAN_KEYS = ("clean", "clean_label")


class Reference(NamedTuple):
    """`FILE` or `FILE.npz:KEY`, taken apart."""

    path: Path
    key: str | None


def parse(text: str) -> Reference:
    """Takes a `--labels-file` apart."""
    path, colon, key = text.rpartition(":")
    return Reference(Path(path), key) if colon and path.endswith(".npz") else Reference(Path(text), None)


def read(text: str, own: Labels, num_classes: int, *, numbered: bool = True) -> Labels:
    """The labels that `--labels-file` names, one for each of the source's `own`.

    If the file has the true labels too, they must be the source's own: else it is for other examples, or
    for these in another order. A source that is not `numbered` has an order of its own, so that it must.
    """
    path, key = parse(text)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    not_comparable = (
        f"{path}: the data set comes in an order of its own; expected an npz file that has its labels, as "
        f"'clean', beside the others, to compare them"
    )
    if path.suffix == ".npy":
        if not numbered:
            raise UserError(not_comparable)
        return check_labels(path, "the array", _read_npy(path), len(own), num_classes)
    _refuse_pickle(path)
    arrays = npz.read_all(path)
    for name in _CLEAN_KEYS:
        if name in arrays:
            _check_clean(path, name, arrays[name], own, num_classes)
    if not numbered and not set(_CLEAN_KEYS) & arrays.keys():
        raise UserError(not_comparable)
    key = key or _only_key(path, arrays, len(own))
    if key not in arrays:
        raise UserError(f"{path}: array {key!r} is missing; the file has {sorted(arrays)}")
    return check_labels(path, key, arrays[key], len(own), num_classes)


def _read_npy(path: Path) -> NDArray:
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
    # What NumPy and the parser of its headers raise depends on where the file is damaged.
    except Exception as error:
        hint = "; save its arrays with numpy.savez" if "pickle" in str(error) else ""
        raise UserError(f"{path}: cannot be read as an npy file ({one_line(error)}){hint}") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: expected a single array, got an npz archive; rename it to FILE.npz")
    return array


def _refuse_pickle(path: Path) -> None:
    """PyTorch's files hold pickles, which may run any code when they are read."""
    archive = zipfile.is_zipfile(path)
    if path.suffix in (".pt", ".pth") or (archive and _has_pickle(path)):
        converted = path.with_suffix(".npz").name
        raise UserError(
            f"{path}: is a pickle of PyTorch, which could run code and is not read; if you trust it, convert "
            f'it with python -c "import numpy, torch; numpy.savez({converted!r}, '
            f'**torch.load({path.name!r}, weights_only=False))"'
        )


def _has_pickle(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    # Damaged: reading its arrays will say how.
    except Exception:
        return False


def _check_clean(path: Path, name: str, clean: NDArray, own: Labels, num_classes: int) -> None:
    differing = np.flatnonzero(check_labels(path, name, clean, len(own), num_classes) != own)
    if differing.size:
        first = differing[0]
        raise UserError(
            f"{path}: {name} differs from the data set's own labels in {len(differing)} places, the first at "
            f"index {first} ({clean[first]} there, {own[first]} here); expected labels of the same examples, "
            f"in the same order"
        )


def _only_key(path: Path, arrays: dict[str, NDArray], length: int) -> str:
    def fits(array):
        return array.shape == (length,) and np.issubdtype(array.dtype, np.integer)

    found = [name for name, array in arrays.items() if name not in _CLEAN_KEYS and fits(array)]
    if len(found) != 1:
        raise UserError(
            f"{path}: expected one array of {length} integers, found {found or 'none'} among {sorted(arrays)}"
            f"{'; choose with --labels-file FILE.npz:KEY' if found else ''}"
        )
    return found[0]
