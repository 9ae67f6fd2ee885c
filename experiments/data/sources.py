"""The data set that a name stands for: the table of contents of this package."""

from pathlib import Path

from experiments.data import digits, folder, npz, tfds_sets
from experiments.data.dataset import Dataset, Examples
from experiments.terminal import QUIET, Progress, UserError


def load(
    dataset: str,
    *,
    image_size: int | None = None,
    data_dir: str | None = None,
    streamed: bool = False,
    progress: Progress = QUIET,
) -> Dataset:
    """The data set that `--dataset` names; `streamed`, its images stay on disk."""
    kind, _, where = dataset.partition(":")
    if dataset in tfds_sets.SHORT_NAMES:
        kind, where = "tfds", dataset
    if image_size is not None and kind not in ("folder", "tfds"):
        raise UserError(
            f"--image-size scales images of folder:DIR and tfds:NAME only, --dataset is {dataset}"
        )
    match kind:
        case "digits" if not where:
            if streamed:
                raise UserError("--stream is for data on disk; digits are in memory, leave it out")
            return digits.load()
        case "npz" if where:
            return npz.load(Path(where), progress, streamed=streamed)
        case "folder" if where:
            return folder.load(Path(where), progress, image_size=image_size, streamed=streamed)
        case "tfds" if where:
            return tfds_sets.load(
                where, progress, data_dir=data_dir, image_size=image_size, streamed=streamed
            )
    raise UserError(
        f"--dataset {dataset!r} is not known; expected digits, npz:FILE, folder:DIR, tfds:NAME, "
        f"{', '.join(tfds_sets.SHORT_NAMES[:-1])} or {tfds_sets.SHORT_NAMES[-1]}"
    )


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
    if data.startswith("tfds:") or data in tfds_sets.SHORT_NAMES:
        raise UserError(f"cannot predict {data}; expected digits, folder:DIR, npz:FILE or FILE")
    return npz.load_images(Path(data.removeprefix("npz:")))
