"""The flags of each command; those that `train` and `compare` share are in `config.Experiment`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from experiments.config import Experiment, Placement
from experiments.training.devices import FigureFormat

# The order in which `--help` shows them: what is set first comes first.
_DATA = ("dataset", "data_dir", "image_size", "stream", "standardize", "validation_fraction")
_LABELS = ("noise", "noise_rate", "labels_file")
_OPTIMIZATION = (
    *("epochs", "batch_size", "optimizer", "learning_rate", "learning_rate_schedule", "learning_rate_steps"),
    *("learning_rate_factor", "warmup_epochs", "momentum", "nesterov", "weight_decay", "weight_decay_on"),
    *("l1_decay", "gradient_norm_clip", "perturbed_statistics"),
)
_NETWORK = ("model", "width", "norm", "precision")
_AUGMENTATION = ("augment", "crop_padding", "rotation_degrees", "evaluate_flipped")
_RUN = ("preset", "run_dir", "seeds", "first_seed", "select")
_DEVICES = ("devices", "coordinator", "processes", "process_id")
_KEPT = ("group_statistics", "figure_format", "tensorboard", "checkpoint_every", "checkpoint_every_steps")
_REST = (*_RUN, *_OPTIMIZATION, *_NETWORK, *_AUGMENTATION)
_TRAIN = (*_DATA, *_LABELS, "method", *_REST, *_DEVICES, *_KEPT, "stop_after")
_COMPARE = (*_DATA, *_LABELS, "noises", "methods", *_REST, *_KEPT)

_METHOD = (
    "LOSS or LOSS+TRANSFORMATION, each NAME or NAME:KEY=VALUE,... with hyper-parameters, or FILE.py:NAME"
)


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one method; the same command again resumes where it was interrupted."""

    experiment: Experiment = Experiment()
    placement: Placement = Placement()
    method: Annotated[str, arg(help=f"{_METHOD}. `list methods` has all.")] = "cross_entropy"
    run_dir: Path | None = None
    """Where the results go; by default runs/DATA-NOISE-RATE-METHOD."""
    preset: str | None = None
    """A paper's setting, the default of all other flags; `list presets` has all."""


@dataclasses.dataclass(frozen=True)
class Compare:
    """Train several methods on the same data and seeds, under one kind of noise or several, and tabulate."""

    experiment: Experiment = Experiment(seeds=3)
    methods: Annotated[tuple[str, ...], arg(help=f"One or more, each {_METHOD}.")] = (
        "cross_entropy",
        "mean_absolute_error",
        "generalized_cross_entropy",
        "phuber_cross_entropy",
        "phuber_generalized_cross_entropy",
        "symmetric_cross_entropy",
        "dal",
        "mae_logit_bias",
        "ogc",
        "cross_entropy+saner",
    )
    noises: tuple[str, ...] = ()
    """In place of --noise, several: `none`, KIND-RATE such as `symmetric-0.4`, or `labels-file` for those of
    --labels-file."""
    figure_format: FigureFormat = "png"
    """The format of the pictures."""
    tensorboard: bool = False
    """Also write the metrics as event files for TensorBoard, in each method's folder."""
    run_dir: Path | None = None
    """Where the results go, a folder per method; by default runs/DATA-NOISE-RATE-compare."""
    preset: str | None = None
    """A paper's setting, the default of all other flags; `list presets` has all."""


ORDERS = {Train: _TRAIN, Compare: _COMPARE}


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict labels with a trained run; several seeds predict with the mean of their probabilities."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of a finished or interrupted run of `train`."""
    data: Annotated[Positional[str], arg(metavar="DATA")]
    """`digits` (its test part); `npz:FILE` or just FILE, with an array `images` or `test_images`;
    `folder:DIR` with image files, or with sub-folders of them, or with such a DIR/test beside DIR/train."""
    output: Path | None = None
    """FILE.csv (index, label, probability, and file and class where they have names) or FILE.npz (labels,
    probabilities); RUN/predictions.csv."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Make one HTML page of runs: numbers, curves, confusions, and the labels that an audit suspects."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...")]
    """Folders of `train`, finished or not, or of `compare`, which stand for all runs in them."""
    output: Path | None = None
    """FILE.html; report.html in RUN, or in the current folder if there are several RUNs."""
    examples: int = 60
    """How many of the most suspicious training examples to show of each run, after an `audit` of it."""


@dataclasses.dataclass(frozen=True)
class Audit:
    """Rank the training labels of a run by how probable it is that they are wrong."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of a finished or interrupted run of `train`; labels.csv (every training example, the most
    suspicious first), audit.json and audit.npz are written there."""
    folds: int | None = None
    """Judge each example by a model that never saw it: train the run's method anew, without each of so many
    parts in turn, in RUN/folds; resumes where it was interrupted."""
    method: Literal["dynamics", "mixture", "both"] = "dynamics"
    """The evidence: `dynamics`, how the given label's probability compared with the others' while the run
    was training; `mixture`, two normals fitted to the final model's losses; `both`, their mean."""
    seed: int | None = None
    """Audit the labels of this seed; by default of the first one, if noise was drawn for each, or the mean
    over all seeds."""


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Download a TensorFlow data set and write it so that training reads it without TensorFlow."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """As TensorFlow Datasets calls it, e.g. cifar10 or NAME/CONFIGURATION:VERSION."""
    data_dir: str | None = None
    """The folder to write to; by default the variable TFDS_DATA_DIR, or TensorFlow Datasets' own default."""


@dataclasses.dataclass(frozen=True)
class List:
    """List what can be named: the losses, the methods, or the papers' settings."""

    what: Positional[Literal["losses", "methods", "presets"]]
    """`losses`: formulas, hyper-parameters with ranges, properties, papers; `methods`: what --method takes;
    `presets`: what --preset takes."""
    details: bool = False
    """Print for each preset also where it was read, what differs and the command."""
    figure: Path | None = None
    """A PNG, PDF or SVG file for the values and slopes of the losses against the label's probability."""
