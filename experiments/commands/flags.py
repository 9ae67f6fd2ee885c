"""The flags of each command; those that `train` and `compare` share are in `config.Experiment`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from experiments.config import Experiment, Placement
from experiments.runs.corrected_data import How
from experiments.training.devices import FigureFormat

# The order in which `--help` shows them: what is set first comes first.
_DATA = (
    *("dataset", "label", "id", "num_classes", "data_dir", "image_size", "stream", "scaling"),
    "validation_fraction",
)
_LABELS = ("noise", "noise_rate", "labels_file", "corrections")
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
_TRAIN = (*_DATA, *_LABELS, "method", "two_stage", *_REST, *_DEVICES, *_KEPT, "stop_after")
_COMPARE = (*_DATA, *_LABELS, "noises", "methods", *_REST, *_KEPT)

_METHOD = (
    "LOSS or LOSS+TRANSFORMATION, each NAME or NAME:KEY=VALUE,... with hyper-parameters, or FILE.py:NAME"
)


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one method. The same command resumes an interrupted run."""

    experiment: Experiment = Experiment()
    placement: Placement = Placement()
    method: Annotated[str, arg(help=f"{_METHOD}. `list methods` has all.")] = "recommended"
    run_dir: Path | None = None
    """Where the results go; by default runs/DATA-NOISE-RATE-METHOD."""
    preset: str | None = None
    """A paper's setting, for all other flags; `list presets` has all."""
    two_stage: bool = False
    """Then audit, correct the labels and train again, in RUN/second."""


@dataclasses.dataclass(frozen=True)
class Compare:
    """Train several methods on the same data and seeds, under one or several kinds of noise."""

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
    """A paper's setting, for all other flags; `list presets` has all."""


ORDERS = {Train: _TRAIN, Compare: _COMPARE}


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict labels with a trained run. With several seeds, the mean of their probabilities predicts."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of a finished or interrupted run of `train`."""
    data: Annotated[Positional[str], arg(metavar="DATA")]
    """A table, a picture, a folder of pictures (or of sub-folders, or with train and test), an npy file, an
    npz file with an array `images`, `test_images` or `train_images`; or `digits` (its test part)."""
    output: Path | None = None
    """FILE.csv (index, label, probability, and the id or file and the class if they have names) or FILE.npz
    (labels, probabilities), which must not exist yet; by default RUN/predictions.csv, written anew."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Make one HTML page of runs: numbers, curves, confusions, and the labels that an audit suspects."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...")]
    """Folders of `train` (finished or not), or of `compare`, which includes all runs in the folder."""
    output: Path | None = None
    """FILE.html; by default report.html in RUN, or in the current folder if there are several RUNs."""
    examples: int = 60
    """How many of the most suspicious training examples to show for each run that has an `audit`."""


@dataclasses.dataclass(frozen=True)
class Audit:
    """Rank the training labels of a run by how probable it is that they are wrong."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of a finished or interrupted run of `train`; labels.csv (every training example, the most
    suspicious first), audit.json and audit.npz are written there."""
    folds: int | None = None
    """Judge each example by a model that was not trained on it: divide the data into this many parts and
    train the run's method again without each part in turn, in RUN/folds. The same command resumes."""
    method: Literal["dynamics", "mixture", "both"] = "dynamics"
    """The evidence: `dynamics`, the probability of the given label relative to the other classes during the
    training; `mixture`, two normals fitted to the final model's losses; `both`, the mean of the two."""
    seed: int | None = None
    """Audit the labels of this seed. By default, audit the first seed if noise was drawn for each seed,
    and the mean over all seeds otherwise."""


@dataclasses.dataclass(frozen=True)
class Review:
    """Make a page to look at the labels that an audit suspects, and to decide on each, offline."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of a run with an `audit`."""
    output: Path | None = None
    """FILE.html; by default review.html in RUN."""
    examples: int | None = None
    """How many of the most suspicious training examples to show; by default all that are judged wrong, and
    at least 50."""


@dataclasses.dataclass(frozen=True)
class Clean:
    """Write the data of an audited run with corrected labels, in the form they came in."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """Folder of a run with an `audit`."""
    output: Path
    """What to write: a file like that of the data, or a folder for a folder of pictures; for vectors or
    pictures also the labels alone, as FILE.npy or FILE.csv. Nothing is overwritten."""
    how: How = "relabel"
    """`relabel`: take the suggested label; `drop`: leave the example out; `both`: take the suggested label
    where the model gives it a probability of 0.8 or more, and leave the example out elsewhere."""
    above: float = 0.5
    """Change labels with a larger probability of being wrong."""
    first: int | None = None
    """Change so many of the most suspicious labels, in place of --above."""
    reviewed: Path | None = None
    """The reviewed.csv that the page of `review` saves. Its decisions come before --above and --first."""
    only_reviewed: bool = False
    """Change nothing but what is decided in --reviewed."""


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Download a TensorFlow data set and write it so that training reads it without TensorFlow."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """The name in TensorFlow Datasets, e.g. cifar10 or NAME/CONFIGURATION:VERSION."""
    data_dir: str | None = None
    """The folder to write to; by default the variable TFDS_DATA_DIR, or TensorFlow Datasets' own default."""


@dataclasses.dataclass(frozen=True)
class List:
    """List the losses, the methods, or the presets (settings of papers)."""

    what: Positional[Literal["losses", "methods", "presets"]]
    """`losses`: formulas, hyper-parameters with ranges, properties, papers; `methods`: what --method takes;
    `presets`: what --preset takes."""
    details: bool = False
    """For each preset, also print its source, what differs from it, and the command."""
    figure: Path | None = None
    """A PNG, PDF or SVG file. Draws the values and slopes of the losses against the label's probability."""
