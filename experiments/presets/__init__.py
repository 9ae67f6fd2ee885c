"""Settings of papers, for `train --preset`: one file for each paper, or paper and data set."""

import argparse
import dataclasses
import difflib
from collections.abc import Sequence

from experiments.data.options import Data
from experiments.presets import (
    anl_cifar10,
    anl_cifar100,
    dal_cifar,
    ogc_cifar,
    phuber_cifar,
    published_labels,
    saner_cifar,
    speedrun_cifar10,
)
from experiments.presets.preset import Preset
from experiments.terminal import Progress, UserError

PRESETS: list[Preset] = [
    *ogc_cifar.PRESETS,
    *saner_cifar.PRESETS,
    *dal_cifar.PRESETS,
    *anl_cifar10.PRESETS,
    *anl_cifar100.PRESETS,
    *phuber_cifar.PRESETS,
    *speedrun_cifar10.PRESETS,
]


def by_name(name: str) -> Preset:
    """The preset called `name`."""
    named = {preset.name: preset for preset in PRESETS}
    if name not in named:
        nearest = ", ".join(difflib.get_close_matches(name, named, cutoff=0))
        raise UserError(f"no preset is called {name!r}; the nearest are {nearest}; `list presets` has all")
    return named[name]


def chosen(args: Sequence[str]) -> Preset | None:
    """The preset that the arguments of the command line name, if they do."""
    if list(args[:1]) not in (["train"], ["compare"]):
        return None
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?")
    parser.add_argument("--labels-file", nargs="?")
    given = parser.parse_known_args(args)[0]
    if given.preset is None:
        return None
    preset = by_name(given.preset)
    return preset if given.labels_file is None else _without_noise(preset)


def _without_noise(preset: Preset) -> Preset:
    """The preset for labels from a file, which have their noise."""
    experiment = preset.train.experiment
    data = dataclasses.replace(experiment.data, noise="none", noise_rate=None)
    train = dataclasses.replace(preset.train, experiment=dataclasses.replace(experiment, data=data))
    return dataclasses.replace(preset, train=train)


def compare_labels(name: str | None, data: Data, progress: Progress) -> None:
    """Says whether `--labels-file` has the labels that were published for the preset of this name."""
    published = None if name is None else by_name(name).labels
    if name is not None and published is not None:
        published_labels.compare(published, name, data, progress)
