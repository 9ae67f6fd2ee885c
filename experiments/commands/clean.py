"""`clean`: the data set of an audited run with corrected labels, in the form it came in."""

from pathlib import Path

import numpy as np
from rich.console import Console

from experiments.commands import audit
from experiments.commands.flags import Clean
from experiments.data.dataset import class_names
from experiments.runs import contents, corrected_data, corrections, saved_model
from experiments.runs.corrections import Rule
from experiments.terminal import Progress, UserError, check_range
from experiments.training import training_data


def run(command: Clean, console: Console) -> None:
    """Writes the corrected data."""
    check_range("--above", command.above, 0, 1)
    if command.first is not None:
        check_range("--first", command.first, 0)
    if command.only_reviewed and command.reviewed is None:
        raise UserError("--only-reviewed needs --reviewed FILE, which the page of `review` saves")
    rule = Rule(command.how, command.above, command.first, command.only_reviewed)
    clean(command.run, command.output, rule, command.reviewed, Progress(console))


def record_path(output: Path) -> Path:
    """Where what was changed is written: beside the output, under a name that is free."""
    names = (output.with_name(f"{name}-changes.csv") for name in (output.stem, output.name))
    free = next((path for path in names if not path.exists()), None)
    if free is None:
        raise UserError(f"{output.name}-changes.csv exists; nothing is overwritten, choose another --output")
    return free


def clean(run_dir: Path, output: Path, rule: Rule, reviewed: Path | None, progress: Progress) -> None:
    """Writes the data of a run with what is changed by the rule and by what a person decided."""
    contents.check_is_run(run_dir, "clean")
    trained = saved_model.restore(run_dir)
    corrected_data.check_output(trained.experiment.data, output)
    record = record_path(output)
    dataset, given_labels, _ = training_data.load(trained.experiment, progress)
    audit.check_data(run_dir, trained.resolved, dataset)
    suspects, probabilities = corrections.read_suspects(run_dir, dataset.num_classes)
    names = class_names(dataset)
    count = len(dataset.train_images)
    decisions = {} if reviewed is None else corrections.read_reviewed(reviewed, count, names)
    changes = corrections.decide(suspects, probabilities, decisions, rule)
    if not changes:
        highest = max((suspect.probability for suspect in suspects), default=0.0)
        raise UserError(
            f"nothing would be changed, and nothing is written; the highest probability of being wrong is "
            f"{highest:.3f}, see --above, or --first N for the N most suspicious"
        )

    seeds = training_data.seeds_of(trained.experiment)
    given = given_labels.given[seeds.index(contents.audited_seed(run_dir, seeds))]
    labels, kept = corrections.apply(changes, given)
    if len(np.unique(labels[kept])) < 2:
        raise UserError("fewer than two classes would be left; change less, with --above or --first")
    corrected_data.write(trained.experiment.data, dataset, labels, kept, output)
    corrections.write_record(record, changes, given, names, dataset.train_names, dataset.named_by)
    dropped = int(np.sum(~kept))
    progress.say(f"labels changed: {len(changes) - dropped:,} of {count:,}; examples left out: {dropped:,}")
    if reviewed is not None:
        by_person = sum(change.why == "reviewed" for change in changes)
        progress.say(
            f"of these changes, {by_person:,} are decisions of {reviewed} and {len(changes) - by_person:,} "
            f"are by the rule; --only-reviewed leaves those out"
        )
    if given_labels.clean is not None:
        before, after = np.mean(given == given_labels.clean), np.mean((labels == given_labels.clean)[kept])
        progress.say(f"right labels: {before:.1%} before, {after:.1%} after")
    progress.say(f"written {output}")
    progress.say(f"what was changed and why: {record}")
