"""What a run learnt from the columns of a table, in columns.json and columns.npz; nothing is pickled."""

from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import numpy as np

from experiments.data import array_files
from experiments.data.tables import encoding
from experiments.data.tables.encoding import Encoding
from experiments.runs import run_folder
from experiments.safety import json_types
from experiments.terminal import UserError

COLUMNS, ARRAYS = "columns.json", "columns.npz"


class _Column(TypedDict):
    name: str
    kind: Literal["number", "category", "text", "constant"]
    categories: NotRequired[list[str]]
    others: NotRequired[bool]


def save(run_dir: Path, learnt: Encoding) -> None:
    """Keeps it in a run folder."""
    with run_folder.whole(run_dir / ARRAYS) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **learnt.arrays)  # type: ignore[arg-type]  # they are arrays
    run_folder.write_json(run_dir / COLUMNS, learnt.columns)


def load(run_dir: Path) -> Encoding | None:
    """What `save` kept; None if the data of the run were no table."""
    path = run_dir / COLUMNS
    if not path.exists():
        return None
    try:
        columns = run_folder.read_json(path)
        if wrong := json_types.mismatch(columns, list[_Column]):
            raise UserError(f"{path}: {wrong}")
        learnt = encoding.Encoding(columns, array_files.read_all(run_dir / ARRAYS))
        if wrong := encoding.wrong(learnt):
            raise UserError(f"{run_dir / ARRAYS}: {wrong}")
    except UserError as error:
        raise UserError(f"{path}: is damaged ({error}); train the run anew") from error
    return learnt
