"""The results of a folder: one JSON object a line in results.jsonl, added as soon as it is measured."""

import json
import warnings
from pathlib import Path
from typing import Any

from experiments.runs import run_folder
from experiments.terminal import UserError

FILE = "results.jsonl"


def read(folder: Path) -> list[dict[str, Any]]:
    """All results, of which each has a `name`; a last line that a kill cut short is dropped from the file."""
    path = folder / FILE
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    results = []
    for number, line in enumerate(lines, 1):
        try:
            result = json.loads(line)
            results.append({"name": result["name"], **result})
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise UserError(
                    f"{path}: line {number} is not a result; delete the line, or choose another folder"
                ) from error
            warnings.warn(f"{path}: the last line is incomplete and is dropped", stacklevel=2)
            run_folder.write_text(path, "".join(f"{line}\n" for line in lines[:-1]))
    return results


def add(folder: Path, result: dict[str, Any]) -> None:
    """Adds a result as the last line."""
    folder.mkdir(parents=True, exist_ok=True)
    run_folder.append_line(folder / FILE, result)
