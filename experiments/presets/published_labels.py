"""The label files that a paper's authors published, known by the checksums of their labels."""

import hashlib
import warnings
from typing import NamedTuple

import numpy as np

from experiments.data import label_file
from experiments.data.options import Data
from experiments.terminal import Progress

EXAMPLES = 50_000


class PublishedLabels(NamedTuple):
    """Labels of CIFAR's 50,000 training pictures.

    Attributes:
      file: where the authors published them.
      sha256: of the labels as bytes, one byte for each picture.
    """

    file: str
    sha256: str


def compare(published: PublishedLabels, preset: str, data: Data, progress: Progress) -> None:
    """Says that the labels of `--labels-file` are the published ones, or warns that they are others."""
    if data.labels_file is None:
        return
    _, labels, _ = label_file.raw_labels(data.labels_file, EXAMPLES, data.label)
    is_bytes = labels.dtype.kind in "iu" and labels.size > 0 and labels.min() >= 0 and labels.max() < 256
    if is_bytes and hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest() == published.sha256:
        progress.say(f"{data.labels_file}: the labels that were published for {preset}, {published.file}")
    else:
        warnings.warn(
            f"{data.labels_file}: not the labels that were published for {preset}, {published.file}",
            stacklevel=2,
        )
