"""What a run learnt from the columns of a table, in columns.json and columns.npz; nothing is pickled."""

import json
from pathlib import Path

import numpy as np

from experiments.data.tables.encoding import Encoding
from experiments.runs import run_folder
from experiments.terminal import UserError

COLUMNS, ARRAYS = "columns.json", "columns.npz"


def save(run_dir: Path, encoding: Encoding) -> None:
    """Keeps it in a run folder."""
    with run_folder.whole(run_dir / ARRAYS) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **encoding.arrays)  # type: ignore[arg-type]  # they are arrays
    run_folder.write_json(run_dir / COLUMNS, encoding.columns)


def load(run_dir: Path) -> Encoding | None:
    """What `save` kept; None if the data of the run were no table."""
    path = run_dir / COLUMNS
    if not path.exists():
        return None
    try:
        with np.load(run_dir / ARRAYS, allow_pickle=False) as arrays:
            return Encoding(json.loads(path.read_text()), dict(arrays))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is damaged ({error}); train the run anew") from error
