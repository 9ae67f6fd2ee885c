"""What config.json says of a run, with every field checked: the folder may come from somebody else."""

import math
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from experiments import config
from experiments.config import Experiment
from experiments.runs import run_folder
from experiments.safety import json_types
from experiments.terminal import UserError

# No more classes and no larger examples than data sets may have.
MOST_CLASSES, MOST_NUMBERS = 1_000_000, 2**31


class Resolved(TypedDict):
    """What `training_data.resolved` keeps."""

    num_classes: int
    input_shape: tuple[int, ...]
    input_dtype: str
    train_examples: int
    examples: int
    data_hash: str
    class_names: NotRequired[list[str] | None]
    named_by: NotRequired[str]
    offset: NotRequired[list[float]]
    fold: NotRequired[tuple[int, int]]


class _Content(TypedDict):
    resolved: Resolved


class SavedConfig(NamedTuple):
    """What config.json says; `record` is all of it, and `provenance` what code wrote it."""

    method: str
    experiment: Experiment
    record: dict[str, Any]
    resolved: dict[str, Any]
    provenance: dict[str, str]


def read(run_dir: Path) -> SavedConfig:
    """The configuration of a run; UserError naming the file and the field that is wrong."""
    path = run_dir / "config.json"
    record = run_folder.read_config(run_dir)
    provenance = run_folder.read_json(path).get("provenance", {})
    try:
        method, experiment = config.from_record(record)
        wrong = json_types.mismatch(record, _Content) or json_types.mismatch(
            provenance, dict[str, str], "provenance"
        )
        wrong = wrong or _inconsistent(record["resolved"], experiment)
        if wrong:
            raise UserError(wrong)
    except UserError as error:
        raise UserError(f"{path}: expected the configuration of a run ({error})") from error
    return SavedConfig(method, experiment, record, record["resolved"], provenance)


def _inconsistent(resolved: dict[str, Any], experiment: Experiment) -> str | None:
    """What cannot be of the data of any run."""
    classes, shape, names = resolved["num_classes"], resolved["input_shape"], resolved.get("class_names")
    ranges = (
        ("num_classes", classes, 2, MOST_CLASSES),
        ("train_examples", resolved["train_examples"], experiment.optimization.batch_size, MOST_NUMBERS),
        ("examples", resolved["examples"], resolved["train_examples"], MOST_NUMBERS),
        ("the product of input_shape", math.prod(shape), 1, MOST_NUMBERS),
    )
    for name, value, least, most in ranges:
        if not least <= value <= most:
            return f"resolved: {name} must be from {least} to {most}, got {value}"
    if len(shape) not in (1, 3) or min(shape) < 1:
        return f"resolved.input_shape must be [D] or [H, W, C], got {shape}"
    if names is not None and len(set(names)) != classes:
        return f"resolved.class_names must be {classes} different names, got {len(set(names))}"
    if "offset" in resolved and len(resolved["offset"]) != shape[-1]:
        return f"resolved.offset must be {shape[-1]} numbers, got {len(resolved['offset'])}"
    number, of = resolved.get("fold", (0, 1))
    return None if 0 <= number < of else f"resolved.fold must be its number and how many, got {[number, of]}"
