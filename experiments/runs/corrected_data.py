"""A data set written anew in the form it came in, with other labels and without some examples."""

import contextlib
import csv
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.data import array_files
from experiments.data.dataset import Dataset, Labels, Stream, class_names
from experiments.data.options import Data
from experiments.data.pictures import folder, image_files
from experiments.data.tables import text_form
from experiments.terminal import UserError, one_line

How = Literal["relabel", "drop", "both"]
# What --output may end in, by the source; "" is a folder.
ENDINGS = {
    "csv": (".csv", ".tsv", ".parquet"),
    "npz": (".npz",),
    "npy": (".npz", ".npy", ".csv"),
    "folder": ("", ".csv"),
    "digits": (".npz",),
    "tfds": (".npz", ".npy"),
}


def kind_of(data: Data) -> str:
    """Which of `ENDINGS` a source is."""
    kind = data.dataset.partition(":")[0]
    return kind if kind in ENDINGS else "tfds"


def check_output(data: Data, output: Path) -> None:
    """Raises UserError for an output that exists, or is not of the form of the data."""
    if output.exists():
        raise UserError(f"--output {output} exists; nothing is overwritten, choose another name")
    kind = kind_of(data)
    endings = ENDINGS[kind]
    if kind == "csv":
        endings = (Path(data.dataset.partition(":")[2]).suffix.lower(),)
    if output.suffix.lower() not in endings:
        named = " or ".join(ending or "no ending, a folder" for ending in endings)
        raise UserError(f"--output {output}: expected a name with {named}, since the data are {data.dataset}")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}")


def write(data: Data, dataset: Dataset, labels: Labels, kept: NDArray[np.bool_], output: Path) -> None:
    """Writes the data set with these labels and of the training examples only those that are kept.

    Args:
      data: the source.
      dataset: what it holds.
      labels: of all training examples, int32 `[N]`.
      kept: bool `[N]`.
      output: a name that `check_output` accepts.
    """
    names = class_names(dataset)
    unfinished = output.with_name(f"{output.name}.unfinished{output.suffix}")
    path = Path(data.dataset.partition(":")[2])
    ending = output.suffix.lower()
    _remove(unfinished)
    try:
        match kind_of(data):
            case "csv" if ending == ".parquet":
                _write_parquet(path, data.label, names, labels, kept, unfinished)
            case "csv":
                _write_text(path, data.label, names, labels, kept, unfinished)
            case "npz":
                _write_npz(array_files.read_all(path), dataset, labels, kept, unfinished)
            case "folder" if ending == "":
                _copy_folder(path, dataset, names, labels, kept, unfinished)
            case _ if ending == ".npz":
                _write_npz(_arrays(dataset), dataset, labels, kept, unfinished)
            case _:
                _write_labels(dataset, names, labels, kept, unfinished, output)
        unfinished.rename(output)
    finally:
        _remove(unfinished)


def _remove(path: Path) -> None:
    """Removes a file, a folder or a link, but not what a link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _arrays(dataset: Dataset) -> dict[str, NDArray]:
    if isinstance(dataset.train_images, Stream):
        raise UserError("the data were streamed, and do not fit an npz file; expected --output FILE.npy")
    arrays = {"train_images": dataset.train_images, "train_labels": dataset.train_labels}
    if dataset.train_clean_labels is not None:
        arrays["train_clean_labels"] = dataset.train_clean_labels
    if dataset.test_images is not None and dataset.test_labels is not None:
        arrays |= {"test_images": np.asarray(dataset.test_images), "test_labels": dataset.test_labels}
    if dataset.class_names is not None:
        arrays["class_names"] = np.array(dataset.class_names)
    return arrays


def _write_npz(
    arrays: dict[str, NDArray], dataset: Dataset, labels: Labels, kept: NDArray[np.bool_], path: Path
) -> None:
    by_name = arrays["train_labels"].dtype.kind in "SU"
    names = np.array(dataset.class_names) if by_name else None
    changed = {**arrays, "train_labels": labels if names is None else names[labels]}
    changed = {name: array[kept] if name.startswith("train_") else array for name, array in changed.items()}
    write_npz(changed, path)


def write_npz(arrays: dict[str, NDArray], path: Path) -> None:
    """An npz file of arrays with any names; `np.savez` takes `file` for one of its arguments."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _write_text(
    source: Path,
    column: str | None,
    names: tuple[str, ...],
    labels: Labels,
    kept: NDArray[np.bool_],
    to: Path,
) -> None:
    """Every other cell as it is in the source, and the file in its encoding."""
    text, form = text_form.text_and_form(source)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=form.separator)
    with _as_arrow_read(source), to.open("w", newline="", encoding=form.encoding) as out:
        writer = csv.writer(out, delimiter=form.separator, lineterminator=form.line_end)
        heading = next(rows)
        place = heading.index(column or "")
        writer.writerow(heading)
        # Empty lines are no rows, to Arrow neither.
        for row, label, keep in zip((row for row in rows if row), labels, kept, strict=True):
            if keep:
                writer.writerow([*row[:place], names[label], *row[place + 1 :]])


@contextlib.contextmanager
def _as_arrow_read(source: Path) -> Iterator[None]:
    """Within the `with`, `csv` reads cells of any length; where it differs from Arrow is a UserError."""
    # Texts may be long; Python's own limit is 128 kB.
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    # Arrow, which read the file before, may take other places for the ends of cells and rows.
    except (csv.Error, ValueError) as error:
        raise UserError(
            f"{source}: is no plain table of text ({one_line(error)}); save it anew, or as .parquet, and "
            f"train again"
        ) from error
    finally:
        csv.field_size_limit(limit)


def _write_parquet(
    source: Path,
    column: str | None,
    names: tuple[str, ...],
    labels: Labels,
    kept: NDArray[np.bool_],
    to: Path,
) -> None:
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(source)
    place = table.column_names.index(column)
    table = table.set_column(place, column, pyarrow.array([names[label] for label in labels]))
    parquet.write_table(table.filter(pyarrow.array(kept)), to)


def _copy_folder(
    source: Path,
    dataset: Dataset,
    names: tuple[str, ...],
    labels: Labels,
    kept: NDArray[np.bool_],
    to: Path,
) -> None:
    """The files in the folders of their labels, and the pictures of a test part as they are."""
    train, test = folder.parts_of(source)
    inner = Path() if train == source else Path(train.name)
    for name in names:
        (to / inner / name).mkdir(parents=True)
    taken: set[Path] = set()
    for file, label, keep in zip(dataset.train_names or [], labels, kept, strict=True):
        if keep:
            target = to / inner / names[label] / Path(file).name
            # Two classes may each have a 0.png.
            if target in taken:
                target = target.with_name(f"{Path(file).parent.name}-{target.name}")
            taken.add(target)
            shutil.copy2(source / file, target)
    if test is not None:
        shutil.copytree(test, to / test.name, ignore=_no_pictures)


def _no_pictures(where: str, names: list[str]) -> list[str]:
    """The files that are not read as pictures: a link among them could lead to any file of the user's."""

    def is_kept(path):
        return path.is_dir() or (path.is_file() and path.suffix.lower() in image_files.SUFFIXES)

    return [name for name in names if not is_kept(Path(where, name))]


def _write_labels(
    dataset: Dataset,
    names: tuple[str, ...],
    labels: Labels,
    kept: NDArray[np.bool_],
    to: Path,
    output: Path,
) -> None:
    """Labels alone, for the examples as they are; a list of files may leave some out.

    Like every corrected copy of the user's data, it has the user's values as they are, a formula too.
    """
    if not kept.all() and not (output.suffix.lower() == ".csv" and dataset.train_names):
        raise UserError(
            f"--output {output}: labels alone cannot leave examples out; expected --how relabel, or FILE.npz"
        )
    if output.suffix.lower() == ".npy":
        with to.open("wb") as file:
            np.save(file, np.array(names)[labels] if dataset.class_names else labels)
        return
    known_as = dataset.train_names or list(map(str, range(len(labels))))
    heading = dataset.named_by if dataset.train_names else "index"
    with to.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([heading, "label"])
        writer.writerows(
            [name, names[label]] for name, label, keep in zip(known_as, labels, kept, strict=True) if keep
        )
