"""The data set that a name stands for: the table of contents of this package."""

from pathlib import Path

from experiments.data import digits, folder, npz
from experiments.data.dataset import Dataset, Examples
from experiments.errors import UserError
from experiments.progress import QUIET, Progress


def load(dataset: str, *, image_size: int | None = None, progress: Progress = QUIET) -> Dataset:
    """The data set that `--dataset` names."""
    kind, _, where = dataset.partition(":")
    if image_size is not None and kind != "folder":
        raise UserError(f"--image-size scales the images of folder:DIR only, --dataset is {dataset}")
    match kind:
        case "digits" if not where:
            return digits.load()
        case "npz":
            return npz.load(Path(where))
        case "folder":
            return folder.load(Path(where), progress, image_size=image_size)
    raise UserError(f"--dataset {dataset!r} is not known; expected digits, npz:FILE or folder:DIR")


def load_images(
    data: str,
    *,
    channels: int = 3,
    image_size: int | None = None,
    classes: tuple[str, ...] = (),
    progress: Progress = QUIET,
) -> Examples:
    """The images that `predict` was given, for a run with so many channels, that image size and classes."""
    if data == "digits":
        found = digits.load()
        return Examples(found.test_images, found.test_labels, None)  # type: ignore[arg-type]  # it has them
    if data.startswith("folder:"):
        where = Path(data.removeprefix("folder:"))
        return folder.load_images(where, progress, channels=channels, image_size=image_size, classes=classes)
    return npz.load_images(Path(data.removeprefix("npz:")))
