"""What a run depends on: these dataclasses are the command line, the saved config and the presets."""

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from experiments import method_names
from experiments.data import label_file
from experiments.data import options as data_options
from experiments.data.options import NOISE_KINDS, Data, Noise
from experiments.data.pictures import augmentation
from experiments.data.pictures.augmentation import Augmentation
from experiments.models import options as model_options
from experiments.models.options import Model, norm_of
from experiments.safety import json_types
from experiments.terminal import UserError, check_range
from experiments.training import optimizers
from experiments.training.devices import Placement
from experiments.training.optimizers import Optimization

__all__ = [
    "NOISE_KINDS",
    "Augmentation",
    "Data",
    "Experiment",
    "Model",
    "Noise",
    "Optimization",
    "Placement",
    "as_record",
    "check",
    "default_run_dir",
    "folder_name",
    "from_record",
    "norm_of",
    "shared_record",
]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides a result, except the method."""

    data: Data = Data()
    model: Model = Model()
    augmentation: Augmentation = Augmentation()
    optimization: Optimization = Optimization()
    seeds: int = 1
    """Runs side by side, each with a seed of its own."""
    first_seed: int = 0
    """The first of the seeds, which are consecutive."""
    select: Literal["last", "validation"] = "last"
    """The epoch that `predict` uses: the last, or the best on what --validation-fraction holds out."""
    group_statistics: bool = False
    """Log after each epoch the shares of SANER's groups of gradient components and, if clean labels are
    known, how much each fits wrong labels compared to right ones; on 128 training examples, with SAM's
    perturbation of length 0.1."""
    checkpoint_every: int = 10
    """Epochs between checkpoints."""
    checkpoint_every_steps: int | None = None
    """With --stream, steps between checkpoints within an epoch, to resume at that very batch."""


def check(experiment: Experiment) -> None:
    """Raises UserError for values that no single flag's type can rule out."""
    data_options.check(experiment.data)
    model_options.check(experiment.model)
    augmentation.check(experiment.augmentation)
    optimizers.check(experiment.optimization)
    check_range("--seeds", experiment.seeds, 1)
    check_range("--first-seed", experiment.first_seed, 0, 2**32 - experiment.seeds)
    check_range("--checkpoint-every", experiment.checkpoint_every, 1)
    if experiment.checkpoint_every_steps is not None:
        check_range("--checkpoint-every-steps", experiment.checkpoint_every_steps, 1)
        if not experiment.data.stream:
            raise UserError("--checkpoint-every-steps needs --stream; without, see --checkpoint-every")
    if experiment.data.stream and experiment.seeds > 1:
        raise UserError(
            f"--stream reads the batches of one seed, got --seeds {experiment.seeds}; run seeds one by one "
            f"with --seeds 1 --first-seed N"
        )
    if experiment.select == "validation" and not experiment.data.validation_fraction:
        raise UserError("--select validation needs --validation-fraction above 0")


def _resolved(experiment: Experiment) -> dict[str, Any]:
    model = dataclasses.replace(experiment.model, norm=norm_of(experiment.model))
    return dataclasses.asdict(dataclasses.replace(experiment, model=model))


def as_record(method: str, experiment: Experiment) -> dict[str, Any]:
    """The configuration of a run as it is saved: only what the run depends on."""
    record = _resolved(experiment)
    resolved = method_names.hyperparameters(method)
    own = method_names.own_code(method)
    return {
        "method": "+".join(resolved),
        **record,
        "hyperparameters": resolved,
        **({"own_code": own} if own else {}),
    }


def from_record(record: dict[str, Any]) -> tuple[str, Experiment]:
    """The inverse of `as_record`, up to hyper-parameters of other methods; every field is checked."""
    if wrong := json_types.mismatch(record, _Record):
        raise UserError(f"config.json is damaged or of another version of this program: {wrong}")
    method, experiment = _from_record(record)
    check(experiment)
    return method, experiment


class _Record(TypedDict):
    """What `as_record` returns."""

    hyperparameters: dict[str, dict[str, bool | int | float | str | None]]
    data: Data
    model: Model
    augmentation: Augmentation
    optimization: Optimization
    seeds: int
    first_seed: int
    select: Literal["last", "validation"]
    group_statistics: bool
    checkpoint_every: int
    checkpoint_every_steps: NotRequired[int | None]


def _from_record(record: dict[str, Any]) -> tuple[str, Experiment]:
    return method_names.spelled(record["hyperparameters"]), Experiment(
        data=Data(**record["data"]),
        model=Model(**record["model"]),
        augmentation=Augmentation(**_with_tuple(record["augmentation"], "augment")),
        optimization=Optimization(**_with_tuple(record["optimization"], "learning_rate_steps")),
        seeds=record["seeds"],
        first_seed=record["first_seed"],
        select=record["select"],
        group_statistics=record["group_statistics"],
        checkpoint_every=record["checkpoint_every"],
        checkpoint_every_steps=record.get("checkpoint_every_steps"),
    )


def _with_tuple(record: dict[str, Any], name: str) -> dict[str, Any]:
    # JSON has lists only.
    return {**record, name: tuple(record.get(name, ()))}


def shared_record(experiment: Experiment) -> dict[str, Any]:
    """What the runs of one comparison have in common."""
    return {"comparison": _resolved(experiment)}


def default_run_dir(experiment: Experiment, method: str | None = None) -> Path:
    """`runs/` and a name that tells the data set, the noise and the method."""
    data = experiment.data
    kind, _, where = data.dataset.partition(":")
    # A folder's name may have dots in it, and `.` has no name of its own.
    if kind in ("folder", "npz", "npy", "csv"):
        path = Path(where).resolve()
        path = path if kind == "folder" else path.with_suffix("")
        # Files of one name in several folders are different data sets.
        parts = [path.name] if path.parent == Path.cwd() else path.parts[-2:]
        dataset = folder_name("-".join(part.strip("/") for part in parts).strip("-"))
    else:
        dataset = folder_name(where or kind)
    if data.labels_file is not None:
        file, key = label_file.parse(data.labels_file)
        noise = ["labels", folder_name(file.stem), *([folder_name(key)] if key else [])]
    else:
        noise = [] if data.noise == "none" else [data.noise, str(data.noise_rate)]
    return Path("runs") / "-".join([dataset, *noise, folder_name(method) if method else "compare"])


def folder_name(method: str) -> str:
    """`name:key=value` without the characters that some file systems, or checkpoints, refuse."""
    return re.sub(r"[:,/\\\ud800-\udfff]", "-", re.sub(r"[^+:]*?([^/+:]+)\.py:", r"\1-", method))
