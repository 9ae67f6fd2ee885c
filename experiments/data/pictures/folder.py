"""A folder of image files, with one sub-folder for each class."""

import math
import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data import cache, stream
from experiments.data.dataset import Dataset, Examples, Images, Labels, Stream
from experiments.data.pictures import image_files
from experiments.safety import memory
from experiments.terminal import Progress, UserError


class Files(NamedTuple):
    """Image files in the order of their paths, and the index of each one's class."""

    paths: list[Path]
    labels: Labels


class Form(NamedTuple):
    """What all images have in common once they are read."""

    height: int
    width: int
    channels: int


def load(
    folder: Path, progress: Progress, *, image_size: int | None = None, streamed: bool = False
) -> Dataset:
    """The classes are the sub-folders in the order of their names.

    Those of a folder called train or the like, with one called test or the like as test part if it exists,
    where `train` has sub-folders of its own; else those of `folder` itself, all of them for training.
    """
    check_folder(folder)
    train_folder, test_folder = parts_of(folder)
    classes = [path.name for path in class_folders(train_folder)]
    if len(classes) < 2:
        raise UserError(
            f"{train_folder}: expected at least two sub-folders, one for each class, found {len(classes)}"
        )
    train = find(train_folder, classes)
    _warn_of_single_images(train_folder, classes, train.labels)
    test = None
    if test_folder is not None:
        test = find(test_folder, classes)
        if not test.paths:
            raise UserError(
                f"{test_folder}: expected sub-folders of images as in {train_folder}, found none; move "
                f"it elsewhere to train without a test part, and give it to `predict`"
            )
    if train_folder == folder and all(name.lower() in TRAIN_NAMES + TEST_NAMES for name in classes):
        raise UserError(
            f"{folder}: its folders {' and '.join(classes)} have no sub-folders; expected one for each class "
            f"in them"
        )
    paths = train.paths + (test.paths if test else [])
    count, test_labels = len(train.paths), None if test is None else test.labels
    train_images: Images | Stream
    test_images: Images | Stream | None
    if streamed:
        images = _open(paths, _cached_form(folder, paths, progress, image_size), image_size)
        train_images = stream.take(images, np.arange(count))
        test_images = None if test is None else stream.take(images, np.arange(count, len(paths)))
    else:
        pixels = _cached_pixels(folder, paths, progress, image_size)
        train_images, test_images = pixels[:count], None if test is None else pixels[count:]
    names = [str(path.relative_to(folder)) for path in train.paths]
    named_otherwise = test_folder is not None and test_folder.name != "test"
    remarks = (f"{test_folder}: used as the test part",) if named_otherwise else ()
    return Dataset(
        train_images,
        train.labels,
        None,
        test_images,
        test_labels,
        len(classes),
        tuple(classes),
        train_names=names,
        remarks=remarks,
    )


# What folders of training and of test pictures are called, in any case; the first of several is taken.
TRAIN_NAMES = ("train", "training", "trn")
TEST_NAMES = ("test", "testing", "tst", "val", "valid", "validation", "dev", "eval")


def parts_of(folder: Path) -> tuple[Path, Path | None]:
    """The folder of the training part, which is `folder` itself if it has none, and of the test part."""
    by_name = {path.name.lower(): path for path in class_folders(folder)}
    train = next((by_name[name] for name in TRAIN_NAMES if name in by_name), None)
    if train is None or not class_folders(train):
        return folder, None
    found = [by_name[name] for name in TEST_NAMES if name in by_name]
    unused = [path for path in by_name.values() if path not in (train, *found[:1])]
    if unused:
        warnings.warn(f"{folder}: beside {train.name}, the folder {unused[0].name} is not used", stacklevel=2)
    return train, found[0] if found else None


def load_picture(path: Path, progress: Progress, *, channels: int, image_size: int | None) -> Examples:
    """One picture."""
    form = common_form([path], progress, image_size)
    form = form._replace(channels=max(form.channels, channels))
    return Examples(_read(path.parent, [path], form, progress, image_size), None, [path.name])


def load_images(
    folder: Path, progress: Progress, *, channels: int, image_size: int | None, classes: tuple[str, ...]
) -> Examples:
    """The images in `folder` or, if there are none, of its sub-folders; of the test part if it has one.

    Args:
      folder: where to look.
      progress: what to report on.
      channels: 1 for grey, 3 for RGB.
      image_size: as for training.
      classes: the run's names of classes.
    """
    check_folder(folder)
    labels = None
    inner = parts_of(folder)[1] or folder
    paths = [path for path in _files(inner, deep=False) if path.suffix.lower() in image_files.SUFFIXES]
    if not paths:
        found = [path.name for path in class_folders(inner)]
        if not found:
            raise UserError(f"{inner}: has no PNG, JPEG or WebP files, and no sub-folders of them")
        files = find(inner, found)
        paths = files.paths
        if set(found) <= set(classes):
            labels = np.array([classes.index(name) for name in found], np.int32)[files.labels]
        elif classes:
            unknown = sorted(set(found) - set(classes))[0]
            warnings.warn(f"labels ignored: {inner}: the run has no class {unknown!r}", stacklevel=2)
    form = common_form(paths, progress, image_size)
    # Grey images become RGB if the run had that; the other way something would be lost.
    form = form._replace(channels=max(form.channels, channels))
    images = _read(folder, paths, form, progress, image_size)
    return Examples(images, labels, [str(path.relative_to(folder)) for path in paths])


def check_folder(folder: Path) -> None:
    """Raises UserError for what is no folder."""
    if folder.is_file():
        raise UserError(f"{folder}: is a file; a table is csv:FILE, arrays are npz:FILE or npy:FILE")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")


def class_folders(folder: Path) -> list[Path]:
    """The sub-folders that stand for classes, by name; hidden ones do not."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def find(folder: Path, classes: list[str]) -> Files:
    """The images below each class's sub-folder of `folder`; other files are left out with a warning."""
    unknown = [path for path in class_folders(folder) if path.name not in classes]
    if unknown:
        raise UserError(f"{unknown[0]}: is no class of the training part, which has {', '.join(classes)}")
    paths, labels, others = [], [], []
    for label, name in enumerate(classes):
        found = _files(folder / name, deep=True)
        images = [path for path in found if path.suffix.lower() in image_files.SUFFIXES]
        if not images and (folder / name).is_dir():
            raise UserError(f"{folder / name}: has no PNG, JPEG or WebP files; fill or remove the folder")
        others += [path for path in found if path.suffix.lower() not in image_files.SUFFIXES]
        paths += images
        labels += [label] * len(images)
    if others:
        warnings.warn(
            f"{folder}: ignored {len(others)} file{'s' if len(others) > 1 else ''} that are not PNG, JPEG or "
            f"WebP, the first {others[0]}",
            stacklevel=2,
        )
    return Files(paths, np.array(labels, np.int32))


def _files(folder: Path, *, deep: bool) -> list[Path]:
    """Files in the order of their paths, without hidden ones, which file managers leave behind.

    Raises UserError for a folder that cannot be opened, whose pictures would be missing otherwise.
    """

    def refuse(error):
        raise UserError(
            f"{error.filename}: the folder cannot be read ({error.strerror}); make it readable, or move it "
            f"out of {folder}"
        ) from error

    found: list[Path] = []
    # Unlike `glob`, which leaves out what it may not read.
    for root, folders, names in os.walk(folder, onerror=refuse) if folder.is_dir() else ():
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def _warn_of_single_images(folder: Path, classes: list[str], labels: Labels) -> None:
    single = [classes[i] for i in np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 1)]
    if single:
        warnings.warn(
            f"{folder}: {len(single)} class{'es have' if len(single) > 1 else ' has'} a single image, "
            f"the first {single[0]!r}",
            stacklevel=2,
        )


def common_form(paths: list[Path], progress: Progress, image_size: int | None) -> Form:
    """Grey if all files are; of `image_size`, or of the size that all have."""
    with progress.counting("looking at images", len(paths)) as advance:
        headers = list(stream.in_threads(image_files.header, paths, advance))
    channels = 1 if all(header.grey for header in headers) else 3
    if image_size is not None:
        return Form(image_size, image_size, channels)
    first = headers[0]
    for path, header in zip(paths, headers, strict=True):
        if header[:2] != first[:2]:
            raise UserError(
                f"{path}: is {header.width} x {header.height} pixels, {paths[0]} {first.width} x "
                f"{first.height}; expected one size, or --image-size N to scale all to N x N"
            )
    return Form(first.height, first.width, channels)


def _open(paths: list[Path], form: Form, image_size: int | None) -> Stream:
    def read(indices):
        return np.stack([image_files.read(paths[i], form.channels, image_size) for i in indices])

    # Without the times, which a copy of the folder does not keep.
    identity = cache.fingerprint(*((path.name, path.stat().st_size) for path in paths), form)
    return Stream((len(paths), *form), np.dtype(np.uint8), read, identity)


def _read(
    folder: Path, paths: list[Path], form: Form, progress: Progress, image_size: int | None
) -> NDArray[np.uint8]:
    size = len(paths) * math.prod(form)
    memory.check_fits(f"{folder}: the pictures", size, "see --image-size and --stream")
    with progress.counting(f"reading {folder}", len(paths)) as advance:
        return stream.read_all(_open(paths, form, image_size), advance)  # type: ignore[return-value]


def _cached_pixels(
    folder: Path, paths: list[Path], progress: Progress, image_size: int | None
) -> NDArray[np.uint8]:
    def make():
        form = common_form(paths, progress, image_size)
        return {"images": _read(folder, paths, form, progress, image_size)}

    return cache.arrays(*_cache_key("pixels", folder, paths, image_size), make)["images"]


def _cached_form(folder: Path, paths: list[Path], progress: Progress, image_size: int | None) -> Form:
    def make():
        return {"form": np.array(common_form(paths, progress, image_size))}

    form = cache.arrays(*_cache_key("form", folder, paths, image_size), make)["form"]
    return Form(*map(int, form))


def _cache_key(kind: str, folder: Path, paths: list[Path], image_size: int | None) -> tuple[str, str]:
    """A file name for each folder and size, and a key that a change in any file changes."""
    root = folder.resolve()
    state = [(path.relative_to(folder), *cache.state_of(path)) for path in paths]
    name = f"{root.name}-{cache.fingerprint(root, image_size)[:12]}-{kind}"
    return name, cache.fingerprint(image_files.DECODER, image_size, *state)
