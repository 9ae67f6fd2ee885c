"""What a run depends on: these dataclasses are the command line, the saved config and the presets."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from tyro.conf import Positional, arg

from experiments import methods
from experiments.data import label_file
from experiments.terminal import UserError

Noise = Literal[
    "none", "symmetric", "uniform", "pair", "asymmetric", "superclass", "next_of_five", "instance"
]

NOISE_KINDS: tuple[str, ...] = get_args(Noise)[1:]

# Spread over the flags of its owner instead of getting a prefix of its own.
_flat = arg(name="")
_methods_help = (
    f"LOSS or LOSS+TRANSFORMATION, each a NAME or NAME:KEY=VALUE,... with hyper-parameters. Losses are "
    f"{', '.join(methods.names())}; transformations are {', '.join(methods.transformation_names())}."
)

# One group of flags per method that has hyper-parameters, e.g. `--phuber-cross-entropy.tau`.
Hyperparameters = dataclasses.make_dataclass(
    "Hyperparameters",
    [
        (method.__name__, flags, dataclasses.field(default_factory=flags))
        for method in (*methods.METHODS, *methods.TRANSFORMATIONS)
        if (flags := methods.flags_of(method)) is not None
    ],
    frozen=True,
)

_NO_CHANGES = Hyperparameters()


@dataclasses.dataclass(frozen=True)
class Data:
    """The examples, and what is done to their training labels."""

    dataset: str = "digits"
    """`digits` (scikit-learn's, embedded); `npz:FILE` with the arrays train_images, train_labels and
    optionally test_images, test_labels, train_clean_labels; `folder:DIR` with a sub-folder of PNG, JPEG or
    WebP files for each class, or DIR/train and DIR/test with them; `tfds:NAME`, or just cifar10, cifar100,
    mnist or fashion_mnist, from TensorFlow Datasets (`prepare` it once)."""
    data_dir: str | None = None
    """Where TensorFlow Datasets are; by default the variable TFDS_DATA_DIR, or its own default."""
    image_size: int | None = None
    """Scale the images of a folder or a TensorFlow data set to this height and width, whatever their shape;
    needed if sizes differ."""
    noise: Noise = "none"
    """What wrong labels to add: to another class (symmetric), to any class, the true one included
    (uniform), to the next class (pair), by CIFAR-10's class map (asymmetric; of ten classes five change), to
    the next class of CIFAR-100's superclass (superclass) or of the same five class numbers, 0 to 4, 5 to 9
    and so on (next_of_five), to a class that depends on what the example looks like (instance)."""
    noise_rate: float | None = None
    """Fraction of training labels to change, 0 to 1; needed unless the noise is `none`. Of asymmetric noise,
    the fraction within the classes that change."""
    labels_file: str | None = None
    """Train on labels from FILE.npy or FILE.npz:KEY, such as CIFAR-N's, whose rate of error is then measured
    against the data set's own; KEY may be left out where only one array fits. If the file has an array
    `clean` or `clean_label`, it must equal the data set's own labels. In place of --noise."""
    stream: bool = False
    """Leave the images on disk and read each batch when it is needed, for data larger than the memory; one
    seed, and of an npz file only an uncompressed one."""
    validation_fraction: float = 0.0
    """Fraction of the training examples held out, with the labels as given, for validation."""
    standardize: bool = False
    """Subtract the training mean and divide by the standard deviation, per channel (images) or feature."""


@dataclasses.dataclass(frozen=True)
class Model:
    """The network."""

    model: Literal[
        "mlp", "cnn", "cnn8", "resnet18", "resnet34", "resnet50", "wideresnet40_2", "wideresnet28_10",
        "speedrun"
    ] = "mlp"  # fmt: skip
    """`mlp`: two hidden layers. The others want images [N, H, W, C]. `cnn`: two 3x3 convolutions and a hidden
    layer; `cnn8`: the 8 layers of the papers on robust losses; `resnet18` to `resnet50` and
    `wideresnet40_2`, `wideresnet28_10` (depth, widening): as on CIFAR, with a 3x3 convolution first;
    `speedrun`: whitening and six 3x3 convolutions, which learn CIFAR-10 in seconds on a GPU."""
    width: int = 256
    """Units in a hidden layer of `mlp` and `cnn`; the convolutions of `cnn` have an eighth and a quarter of
    it as channels, those of `speedrun` a quarter of it, all of it and all of it."""
    norm: Literal["default", "none", "batch", "group"] = "default"
    """Normalisation after each convolution and hidden layer (of `cnn`, the convolutions only); by default
    none in `mlp` and `cnn`, batch in the others."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What convolutions and hidden layers are computed in; parameters, norms and logits stay float32."""


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training images, new ones each epoch."""

    augment: tuple[Literal["crop", "flip", "rotate"], ...] = ()
    """In the order given: `crop` pads with black and cuts out a window of the old size; `flip` mirrors left
    and right, half of the time; `rotate` turns about the centre, with black corners."""
    crop_padding: int = 4
    """Pixels of padding on each side."""
    rotation_degrees: float = 15.0
    """Largest angle, either way."""
    evaluate_flipped: bool = False
    """Predict with the mean of the logits of each image and its mirror image."""


@dataclasses.dataclass(frozen=True)
class Optimization:
    """The optimizer and its steps."""

    epochs: int = 100
    """Passes over the training examples."""
    batch_size: int = 64
    """Examples per step; an epoch's last, smaller batch is dropped."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """`sgd`: stochastic gradient descent with momentum; `adamw`: Adam with decoupled weight decay, which
    wants a --learning-rate near 0.001."""
    learning_rate: float = 0.1
    """Of the first epoch, or of the first after the warm-up."""
    learning_rate_schedule: Literal["cosine", "step", "constant", "triangle"] = "cosine"
    """From epoch to epoch: `cosine` ends at 0; `step` multiplies by --learning-rate-factor after each of
    --learning-rate-steps epochs. From batch to batch: `triangle` falls to 0 in equal steps after the
    warm-up."""
    learning_rate_steps: tuple[int, ...] = ()
    """Epochs after which the step schedule lowers the rate, counted from the start, e.g. 40 80."""
    learning_rate_factor: float = 0.1
    """What the step schedule multiplies by."""
    warmup_epochs: int = 0
    """Epochs in which the rate rises in equal steps, one per batch; cosine decays over those that remain."""
    momentum: float = 0.9
    """Heavy-ball momentum; of adamw, the decay of the first moment."""
    nesterov: bool = False
    """Nesterov's form of the momentum."""
    weight_decay: float = 5e-4
    """Added to the gradient by sgd, to the step by adamw."""
    weight_decay_on: Literal["all", "kernels"] = "all"
    """`all` parameters, as PyTorch does it, or `kernels`: no biases and no norms."""
    l1_decay: float = 0.0
    """Weight of the sum of all parameters' absolute values, whose slope joins the gradient before it is
    clipped: a part of active negative losses."""
    gradient_norm_clip: float | None = 5.0
    """Largest global norm of a step's gradient; None for no limit."""
    perturbed_statistics: bool = False
    """With a sharpness-aware method and --norm batch, keep the batch statistics of the perturbed pass, as
    SANER's published code does, rather than those of the parameters that are trained."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that decides a result but the method."""

    data: Annotated[Data, _flat] = Data()
    model: Annotated[Model, _flat] = Model()
    augmentation: Annotated[Augmentation, _flat] = Augmentation()
    optimization: Annotated[Optimization, _flat] = Optimization()
    hyperparameters: Annotated[Hyperparameters, _flat] = _NO_CHANGES  # type: ignore[valid-type]
    seeds: int = 1
    """How many runs with seeds of their own (noise, initialisation, order), trained side by side."""
    first_seed: int = 0
    """The seeds are first_seed, first_seed + 1, ..."""
    select: Literal["last", "validation"] = "last"
    """Whose parameters `predict` uses: the last epoch's, or those of the best accuracy on the
    held-out given labels (needs --validation-fraction)."""
    group_statistics: bool = False
    """Log after each epoch which share of the gradient's components is in each of SANER's groups and, where
    clean labels are known, how much each group fits wrong labels compared to right ones; on the first 128
    training examples, with SAM's perturbation of length 0.1, whatever the method's own."""
    checkpoint_every: int = 10
    """Epochs between checkpoints."""
    checkpoint_every_steps: int | None = None
    """With --stream, also a checkpoint after so many steps within an epoch, to resume at that very batch."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where and how long a run happens, none of which changes its result but for rounding."""

    devices: int = 1
    """Devices of this host to split each batch over; a run may be resumed on another number."""
    coordinator: str | None = None
    """Of a run on several hosts, each starting the same command: HOST:PORT of the first, or `auto` where
    JAX can find out (Slurm, Open MPI, Kubernetes, Cloud TPU). The run folder must be shared by all."""
    processes: int | None = None
    """How many processes the run has; with --coordinator HOST:PORT."""
    process_id: int | None = None
    """Which of them this is, from 0; with --coordinator HOST:PORT."""
    stop_after: float | None = None
    """Minutes of training after which to stop, with a checkpoint, at the end of an epoch; the exit code is
    then 75, and the same command goes on."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one method; the same command again resumes where it was interrupted."""

    experiment: Annotated[Experiment, _flat] = Experiment()
    placement: Annotated[Placement, _flat] = Placement()
    method: Annotated[str, arg(help=_methods_help)] = "cross_entropy"
    run_dir: Path | None = None
    """Where the results go; by default runs/ and a name made of data set, noise and method."""
    preset: str | None = None
    """Start from a paper's setting, which becomes the default of all other flags; `presets` lists them."""


@dataclasses.dataclass(frozen=True)
class Compare:
    """Train several methods on the same data, noise and seeds, and tabulate them."""

    experiment: Annotated[Experiment, _flat] = Experiment(seeds=3)
    methods: Annotated[tuple[str, ...], arg(help=f"One or more, {_methods_help}")] = methods.DEFAULT
    run_dir: Path | None = None
    """Where the results go, one folder per method; by default runs/ and a name made of data set and noise."""


@dataclasses.dataclass(frozen=True)
class Matrix:
    """Train every method under every kind of noise, and tabulate them; digits: an hour or two."""

    experiment: Annotated[Experiment, _flat] = Experiment(seeds=10)
    methods: Annotated[tuple[str, ...], arg(help=f"At most 15, {_methods_help}")] = methods.MATRIX
    cells: tuple[str, ...] = (
        "none",
        "symmetric-0.2",
        "symmetric-0.4",
        "symmetric-0.6",
        "symmetric-0.8",
        "pair-0.3",
        "instance-0.4",
    )
    """none, or KIND-RATE with a kind of --noise; with --labels-file its labels are the only column."""
    run_dir: Path = Path("runs/matrix")
    """Where the results go, a folder per cell with one per method in it; what is there is not run again."""


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
class AuditBenchmark:
    """Measure the audit against cleanlab's score on digits, or on a given run; with --output as JSON."""

    run: Path | None = None
    """Folder of a run of `train` with known clean labels, to measure instead of digits."""
    folds: int = 5
    """Parts of the training set for what is measured out of sample."""
    work: Path = Path("runs/audit-benchmark")
    """Where digits are trained; resumes."""
    output: Path | None = None
    """A file for the results as JSON, besides the table."""


@dataclasses.dataclass(frozen=True)
class Prepare:
    """Download a TensorFlow data set and write it so that training reads it without TensorFlow."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """As TensorFlow Datasets calls it, e.g. cifar10 or NAME/CONFIGURATION:VERSION."""
    data_dir: str | None = None
    """Where to; by default the variable TFDS_DATA_DIR, or its own default."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Measure speed and memory, a few minutes; `all` shows the budgets, what is one of them prints JSON."""

    what: Positional[
        Literal["all", "ogc", "sharpness", "memory", "losses", "training", "program", "startup", "commands"]
    ]
    """`ogc`: training step over cross-entropy's, refit over scikit-learn's, memory by chunk size;
    `sharpness`: SANER's training step over SGD's and SAM's; `memory`: early-learning regularization's over
    cross-entropy's; `losses`: each loss over cross-entropy;
    `training`: an epoch over that of a plain loop, and what makes a step dearer; `program`: operations in a
    compiled step, and what is compiled again; `startup`: the import, and what comes before the first epoch;
    `commands`: `compare`, and a run that is killed and resumed."""
    blocks: int = 15
    """How often the two sides of a ratio are timed in turn."""
    output: Path | None = None
    """A file for the JSON, besides."""
    history: Path = Path("runs/bench-history.jsonl")
    """Where `all` adds a line to, and finds what was measured before on a machine of the same kind."""


@dataclasses.dataclass(frozen=True)
class Regression:
    """Compare clipping by gradient norms with fixed limits, on a regression with wrong targets."""

    output: Path | None = None
    """A file for the results as JSON, besides the table."""


@dataclasses.dataclass(frozen=True)
class Claims:
    """Test what the papers claim, on small data: what was measured, whether it held; 15 minutes for all."""

    names: Positional[
        tuple[
            Literal[
                "long_servedio",
                "outliers",
                "gradient_ratio",
                "dal_dynamics",
                "many_classes",
                "group_fitting",
                "saner_ablation",
            ],
            ...,
        ]
    ] = ()
    """Which ones; all by default. PHuber: `long_servedio` and `outliers`, linear models with label noise and
    outliers; OGC: `gradient_ratio` of wrong to right labels; `dal_dynamics`, early and late; logit bias:
    `many_classes`; SANER: `group_fitting` of the gradient's components, `saner_ablation` of alpha and k."""
    output: Path = Path("runs/claims")
    """The folder for NAME.json of each claim, with all numbers, and NAME.png where there is a picture."""


@dataclasses.dataclass(frozen=True)
class Losses:
    """List the losses: what they are, hyper-parameters with ranges and defaults, properties, papers."""

    figure: Path | None = None
    """A PNG file for their values and slopes against the label's probability."""


@dataclasses.dataclass(frozen=True)
class Presets:
    """List the papers' settings that `train --preset` takes: what to expect, cost, what differs, command."""


@dataclasses.dataclass(frozen=True)
class Tables:
    """Rewrite the tables in README.md and experiments/results from the results committed there."""


def check(experiment: Experiment) -> None:
    """Raises UserError for values that no single flag's type can rule out."""
    data, model, optimization = experiment.data, experiment.model, experiment.optimization
    if data.noise == "none" and data.noise_rate:
        raise UserError(
            f"--noise-rate {data.noise_rate} has no effect with --noise none; choose a noise model"
        )
    if data.noise != "none" and data.noise_rate is None:
        raise UserError(f"--noise {data.noise} needs --noise-rate, a fraction from 0 to 1")
    if data.noise != "none" and data.labels_file is not None:
        raise UserError(
            f"--noise {data.noise} and --labels-file {data.labels_file} both choose the labels; leave out one"
        )
    infinity = float("inf")
    _in_range("--noise-rate", data.noise_rate or 0, 0, 1)
    if data.image_size is not None:
        _in_range("--image-size", data.image_size, 1, infinity)
    _in_range("--validation-fraction", data.validation_fraction, 0, 1)
    _in_range("--width", model.width, 8, infinity)
    if model.width != Model.width and model.model not in ("mlp", "cnn", "speedrun"):
        raise UserError(f"--width has no effect with --model {model.model}; it is for mlp, cnn and speedrun")
    _check_augmentation(experiment.augmentation)
    _in_range("--epochs", optimization.epochs, 1, infinity)
    _in_range("--batch-size", optimization.batch_size, 1, infinity)
    _in_range("--learning-rate", optimization.learning_rate, 0, infinity, exclude=(0, infinity))
    _check_schedule(optimization)
    _in_range("--momentum", optimization.momentum, 0, 1, exclude=(1,))
    _in_range("--weight-decay", optimization.weight_decay, 0, infinity, exclude=(infinity,))
    _in_range("--l1-decay", optimization.l1_decay, 0, infinity, exclude=(infinity,))
    if optimization.gradient_norm_clip is not None:
        _in_range("--gradient-norm-clip", optimization.gradient_norm_clip, 0, infinity, exclude=(0, infinity))
    _in_range("--seeds", experiment.seeds, 1, infinity)
    _in_range("--first-seed", experiment.first_seed, 0, 2**32 - experiment.seeds)
    _in_range("--checkpoint-every", experiment.checkpoint_every, 1, infinity)
    if experiment.checkpoint_every_steps is not None:
        _in_range("--checkpoint-every-steps", experiment.checkpoint_every_steps, 1, infinity)
        if not data.stream:
            raise UserError("--checkpoint-every-steps needs --stream; without, see --checkpoint-every")
    if data.stream and experiment.seeds > 1:
        raise UserError(
            f"--stream reads the batches of one seed, got --seeds {experiment.seeds}; run seeds one by one "
            f"with --seeds 1 --first-seed N"
        )
    if experiment.select == "validation" and not data.validation_fraction:
        raise UserError("--select validation needs --validation-fraction above 0")


def _check_augmentation(augmentation: Augmentation) -> None:
    _in_range("--crop-padding", augmentation.crop_padding, 1, float("inf"))
    _in_range("--rotation-degrees", augmentation.rotation_degrees, 0, 180, exclude=(0,))
    if len(set(augmentation.augment)) < len(augmentation.augment):
        raise UserError(
            f"--augment takes each change once, got {' '.join(augmentation.augment)}; leave out the second"
        )


def _check_schedule(optimization: Optimization) -> None:
    steps, schedule = optimization.learning_rate_steps, optimization.learning_rate_schedule
    if schedule == "step" and not steps:
        raise UserError("--learning-rate-schedule step needs --learning-rate-steps, e.g. 40 80")
    if schedule != "step" and steps:
        raise UserError(
            f"--learning-rate-steps has no effect with --learning-rate-schedule {schedule}; choose step "
            f"or give no steps"
        )
    # Steps after the last epoch never come: a preset, say, may be tried for an epoch or two.
    if list(steps) != sorted({step for step in steps if step > 0}):
        raise UserError(f"--learning-rate-steps must rise and be positive, got {' '.join(map(str, steps))}")
    _in_range("--learning-rate-factor", optimization.learning_rate_factor, 0, 1, exclude=(0,))
    _in_range("--warmup-epochs", optimization.warmup_epochs, 0, optimization.epochs - 1)


def check_bench(command: Bench) -> None:
    """Raises UserError for what would otherwise come up after minutes of measuring."""
    _in_range("--blocks", command.blocks, 1, float("inf"))
    check_output(command.output)


def check_output(output: Path | None, flag: str = "--output") -> None:
    """Raises UserError if a file cannot be written there."""
    if output is not None and not output.parent.is_dir():
        raise UserError(f"{flag} {output}: the folder {output.parent} does not exist")


def check_report(output: Path, examples: int) -> None:
    """Raises UserError if the page cannot be written there, or for a negative number of examples."""
    _in_range("--examples", examples, 0, float("inf"))
    check_output(output)
    if output.suffix != ".html":
        raise UserError(f"--output {output}: expected a name that ends in .html")


def check_figure(figure: Path | None) -> None:
    """Raises UserError if a picture cannot be written there."""
    check_output(figure, "--figure")
    if figure is not None and figure.suffix != ".png":
        raise UserError(f"--figure {figure}: expected a name that ends in .png")


def _in_range(flag: str, value: float, least: float, most: float, *, exclude: tuple[float, ...] = ()) -> None:
    if not least <= value <= most or value in exclude:
        opening, closing = ("(" if least in exclude else "["), (")" if most in exclude else "]")
        raise UserError(f"{flag} must be in {opening}{least:g}, {most:g}{closing}, got {value:g}")


def hyperparameters_of(method: str, experiment: Experiment) -> dict[str, dict[str, Any]]:
    """Hyper-parameters of a method's loss and transformation, by name: its own before those of the flags."""
    resolved = {}
    for name, own in methods.parse(method):
        flags = getattr(experiment.hyperparameters, name, None)
        resolved[name] = {} if flags is None else {**dataclasses.asdict(flags), **own}
    return resolved


def hyperparameters(**changes: dict[str, Any]) -> Hyperparameters:  # type: ignore[valid-type]
    """The defaults with the changes of each method, by its name."""
    changed = {name: dataclasses.replace(getattr(_NO_CHANGES, name), **own) for name, own in changes.items()}
    return dataclasses.replace(_NO_CHANGES, **changed)


def norm_of(model: Model) -> Literal["none", "batch", "group"]:
    """The normalisation that is meant."""
    if model.norm != "default":
        return model.norm
    return "none" if model.model in ("mlp", "cnn") else "batch"


def _resolved(experiment: Experiment) -> dict[str, Any]:
    model = dataclasses.replace(experiment.model, norm=norm_of(experiment.model))
    return dataclasses.asdict(dataclasses.replace(experiment, model=model))


def as_record(method: str, experiment: Experiment) -> dict[str, Any]:
    """The configuration of a run as it is saved: only what the run depends on."""
    record = _resolved(experiment)
    resolved = hyperparameters_of(method, experiment)
    return {"method": "+".join(resolved), **record, "hyperparameters": resolved}


def from_record(record: dict[str, Any]) -> tuple[str, Experiment]:
    """The inverse of `as_record`, up to hyper-parameters of other methods."""
    try:
        return _from_record(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"config.json is damaged or of another version of this program ({error!r})"
        ) from error


def _from_record(record: dict[str, Any]) -> tuple[str, Experiment]:
    flags = {
        name: found(**own)
        for name, own in record["hyperparameters"].items()
        if (found := methods.flags_of(methods.by_name(name))) is not None
    }
    return record["method"], Experiment(
        data=Data(**record["data"]),
        model=Model(**record["model"]),
        augmentation=Augmentation(**_with_tuple(record["augmentation"], "augment")),
        optimization=Optimization(**_with_tuple(record["optimization"], "learning_rate_steps")),
        hyperparameters=Hyperparameters(**flags),
        seeds=record["seeds"],
        first_seed=record["first_seed"],
        select=record["select"],
        group_statistics=record["group_statistics"],
        checkpoint_every=record["checkpoint_every"],
        checkpoint_every_steps=record.get("checkpoint_every_steps"),
    )


def _with_tuple(record: dict[str, Any], name: str) -> dict[str, Any]:
    # JSON has lists only.
    return {**record, name: tuple(record[name])}


def shared_record(experiment: Experiment) -> dict[str, Any]:
    """What the runs of one comparison have in common."""
    record = _resolved(experiment)
    del record["hyperparameters"]
    return {"comparison": record}


def default_run_dir(experiment: Experiment, method: str | None = None) -> Path:
    """`runs/` and a name that tells the data set, the noise and the method."""
    data = experiment.data
    kind, _, where = data.dataset.partition(":")
    # A folder's name may have dots in it, and `.` has no name of its own.
    if kind == "folder":
        dataset = Path(where).resolve().name
    elif kind == "npz":
        dataset = Path(where).stem
    else:
        dataset = folder_name((where or kind).replace("/", "-"))
    if data.labels_file is not None:
        file, key = label_file.parse(data.labels_file)
        noise = ["labels", file.stem, *([folder_name(key)] if key else [])]
    else:
        noise = [] if data.noise == "none" else [data.noise, str(data.noise_rate)]
    return Path("runs") / "-".join([dataset, *noise, folder_name(method) if method else "compare"])


def folder_name(method: str) -> str:
    """`name:key=value` without the characters that some file systems refuse."""
    return method.replace(":", "-").replace(",", "-")
