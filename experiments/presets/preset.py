"""What a published setting is."""

import dataclasses

from experiments.commands.flags import Train
from experiments.presets.published_labels import PublishedLabels

NOT_VERIFIED = "not verified"

# Floating-point operations of a forward pass for one image of 32x32 pixels, as XLA counts them.
FORWARD_FLOP = {
    "cnn8": 0.244e9,
    "resnet18": 0.966e9,
    "resnet34": 2.003e9,
    "resnet50": 2.455e9,
    "speedrun": 0.204e9,
}
TRAIN_IMAGES = 50_000


@dataclasses.dataclass(frozen=True)
class Preset:
    """A setting of a paper.

    Attributes:
      name: what `train --preset` takes; what follows the last hyphen is the noise.
      paper: authors, title and where it appeared.
      source: where the setting was read.
      differs: what this package does otherwise.
      train: the setting.
      expected: test accuracy in percent as read in a source, else that it was not.
      headline: which epoch's accuracy the source reports.
      labels: the label file that the authors published, if it is known.
    """

    name: str
    paper: str
    source: str
    differs: str
    train: Train
    headline: str
    expected: str = NOT_VERIFIED
    labels: PublishedLabels | None = None


def work(train: Train) -> float:
    """Floating-point operations of a run on CIFAR, counted rather than timed."""
    # A gradient costs about three forward passes.
    epochs, model = train.experiment.optimization.epochs, train.experiment.model.model
    return TRAIN_IMAGES * epochs * _gradients(train) * 3 * FORWARD_FLOP[model]


def cost(train: Train) -> str:
    """The work of a run on CIFAR in words."""
    epochs, model = train.experiment.optimization.epochs, train.experiment.model.model
    each = "gradient" if _gradients(train) == 1 else "gradient, two a step"
    return (
        f"{epochs} epochs of {TRAIN_IMAGES:,} images, {model}: {work(train) / 1e15:.0f} PFLOP, at three "
        f"forward passes of {FORWARD_FLOP[model] / 1e9:.2f} GFLOP a {each}; not timed"
    )


def _gradients(train: Train) -> int:
    """Gradients in a step: each of the transformations takes a second one."""
    return 2 if "+" in train.method else 1
