"""Measures the library and the methods; what the pages of results are made from.

Nothing here is needed to train, compare or audit: that is `python -m experiments`.
"""

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.console import Console
from tyro.conf import Positional, subcommand

from experiments import terminal
from experiments.__main__ import guarded
from experiments.runs import run_folder
from experiments.studies.claims import Claim
from experiments.studies.data_sets import Sources
from experiments.terminal import Progress, check_output, check_range


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
class Bench:
    """Measure speed and memory, a few minutes; `all` shows the budgets, what is one of them prints JSON."""

    what: Positional[
        Literal["all", "ogc", "sharpness", "memory", "losses", "training", "program", "startup", "commands"]
    ]
    """`ogc`: training step over cross-entropy's, refit over scikit-learn's, memory by chunk size;
    `sharpness`: SANER's training step over SGD's and SAM's; `memory`: steps with a memory, and steps that an
    audit records, over cross-entropy's; `losses`: each loss over cross-entropy;
    `training`: an epoch over that of a plain loop, and what makes a step slower; `program`: operations in a
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

    names: Positional[tuple[Claim, ...]] = ()
    """Which ones; all by default. PHuber: `long_servedio` and `outliers`, linear models with label noise and
    outliers; OGC: `gradient_ratio` of wrong to right labels; `dal_dynamics`, early and late; logit bias:
    `many_classes`; SANER: `group_fitting` of the gradient's components, `saner_ablation` of alpha and k."""
    output: Path = Path("runs/claims")
    """The folder for NAME.json of each claim, with all numbers, and NAME.png where there is a picture."""


@dataclasses.dataclass(frozen=True)
class Results:
    """Measure all results on digits anew, four hours; what is finished is not run again."""

    work: Path = Path("runs/results")
    """Where the runs are."""
    only: tuple[str, ...] = ()
    """Names of the results to measure, those of the files in experiments/results; all by default."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Measure the recommended loss beside fixed methods, ten hours; what is finished is not run again."""

    parts: Positional[
        tuple[Literal["digits", "combinations", "features", "pictures", "text", "tables", "hundred"], ...]
    ] = ("digits", "combinations", "tables", "hundred")
    """Which kinds of data; `features`, `pictures` and `text` need the files below."""
    features: Path | None = None
    """npz with train_features and test_features, [N, D], of CIFAR-10."""
    pictures: Path | None = None
    """npz with train_images, test_images and test_labels, the first 5,000 pictures of CIFAR-10."""
    labels: Path | None = None
    """npz with clean, test, cifar10n_worst and so on: label sets of CIFAR-10."""
    text: Path | None = None
    """Folder with yoruba_train_clean.tsv, yoruba_train_clean_noisy_labels.tsv and yoruba_test.tsv."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Measure whether the audit's probabilities and intervals hold, an hour; finished runs are kept."""

    halves: Positional[tuple[Literal["design", "reported"], ...]] = ("design", "reported")
    """What the audit was designed on, and what is reported."""
    features: Path | None = None
    """npz with train_features and test_features, [N, D], of CIFAR-10."""
    labels: Path | None = None
    """npz with clean, test, cifar10n_worst and so on: label sets of CIFAR-10."""
    text: Path | None = None
    """Folder with yoruba_train_clean.tsv, yoruba_train_clean_noisy_labels.tsv and yoruba_test.tsv."""


@dataclasses.dataclass(frozen=True)
class Cleanlab:
    """Compare an audit with cleanlab, a quarter of an hour; needs `pip install cleanlab`."""

    features: Path
    """npz with train_features and test_features, [N, D], of CIFAR-10."""
    labels: Path
    """npz with clean, test, cifar10n_worst and so on: label sets of CIFAR-10."""
    text: Path
    """Folder with yoruba_train_clean.tsv, yoruba_train_clean_noisy_labels.tsv and yoruba_test.tsv."""


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """Measure what a second stage of training gains, ten minutes; finished runs are kept."""

    features: Path | None = None
    """npz with train_features and test_features, [N, D], of CIFAR-10."""
    labels: Path | None = None
    """npz with clean, test, cifar10n_worst and so on: label sets of CIFAR-10."""
    text: Path | None = None
    """Folder with yoruba_train_clean.tsv, yoruba_train_clean_noisy_labels.tsv and yoruba_test.tsv."""


@dataclasses.dataclass(frozen=True)
class Estimator:
    """Compare the classifier for scikit-learn with two of scikit-learn's own, ten minutes."""


@dataclasses.dataclass(frozen=True)
class Pages:
    """Rewrite the tables in README.md and experiments/results from the results committed there."""


Study = (
    Annotated[Bench, subcommand("bench")]
    | Annotated[Claims, subcommand("claims")]
    | Annotated[Regression, subcommand("regression")]
    | Annotated[AuditBenchmark, subcommand("audit-benchmark")]
    | Annotated[Results, subcommand("results")]
    | Annotated[Recipe, subcommand("recipe")]
    | Annotated[Calibration, subcommand("calibration")]
    | Annotated[Cleanlab, subcommand("cleanlab")]
    | Annotated[Cleaning, subcommand("cleaning")]
    | Annotated[Estimator, subcommand("estimator")]
    | Annotated[Pages, subcommand("pages")]
)


def main(args: list[str] | None = None) -> int:
    """Runs one study; the exit codes are those of `python -m experiments`."""

    def action(console):
        run(terminal.parse(Study, args, "python -m experiments.studies", description=__doc__), console)

    return guarded(action)


def run(study: Study, console: Console) -> None:
    """Carries out a study; each imports what it needs."""

    def module(name: str) -> Any:
        return importlib.import_module(f"experiments.studies.{name}")

    progress = Progress(console)
    match study:
        case Bench(what, blocks, output, history):
            check_range("--blocks", blocks, 1)
            check_output(output)
            _write(output, module("bench.budgets").run(what, blocks, history, console))
        case Claims(names, output):
            report = module("claims.report")
            report.run(names or report.CLAIMS, output, console)
        case Regression(output):
            check_output(output)
            measured = module("regression").measure()
            console.print(module("regression").table(measured))
            _write(output, measured)
        case AuditBenchmark(run_dir, folds, work, output):
            check_output(output)
            measured = module("audit.ranking").measure(run_dir, folds, work, progress)
            console.print(module("audit.ranking").table(measured))
            _write(output, measured)
        case Results(work, only):
            module("results").measure(work, only, console)
        case Recipe(parts, features, pictures, labels, text):
            module("recipe.benchmark").measure(parts, Sources(features, pictures, labels, text), progress)
        case Calibration(halves, features, labels, text):
            for half in halves:
                module("audit.calibration").measure(half, Sources(features, None, labels, text), progress)
        case Cleanlab(features, labels, text):
            module("audit.beside_cleanlab").measure(Sources(features, None, labels, text), progress)
        case Cleaning(features, labels, text):
            module("audit.cleaning").measure(Sources(features, None, labels, text), progress)
        case Estimator():
            module("estimator").measure(progress)
        case Pages():
            for path in module("results_pages").write():
                progress.say(f"written {path}")


def _write(output: Path | None, measured: dict[str, Any]) -> None:
    if output is not None:
        run_folder.write_json(output, measured)


if __name__ == "__main__":
    sys.exit(main())
