"""Data sets of TensorFlow Datasets, read without TensorFlow from the array_record files `prepare` writes."""

import difflib
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data import cache, stream
from experiments.data.dataset import Dataset, Images, Labels, Stream, check_labels
from experiments.data.pictures import image_files
from experiments.terminal import Progress, UserError, one_line

# Names that need no `tfds:` in front.
SHORT_NAMES = ("cifar10", "cifar100", "mnist", "fashion_mnist")
_FORMAT = "array_record"


class Split(NamedTuple):
    """A part of a data set."""

    images: Images | Stream
    labels: Labels
    numbered: bool = True


def load(
    name: str,
    progress: Progress,
    *,
    data_dir: str | None = None,
    image_size: int | None = None,
    streamed: bool = False,
) -> Dataset:
    """The splits `train` and, if there is one, `test`, with the features `image` and `label`.

    Examples that have an `id`, as CIFAR's have, come in its order: that of the original files, and of labels
    that others publish for them. The rest come as they lie in the files, which TFDS shuffles.
    """
    builder = _prepared(name, data_dir)
    label = _check_features(name, builder, image_size)
    if "train" not in builder.info.splits:
        raise UserError(f"tfds:{name} has no split 'train', only {', '.join(sorted(builder.info.splits))}")

    def read(split: str) -> Split:
        return _read(name, builder, split, label.num_classes, progress, image_size, streamed)

    train = read("train")
    test = read("test") if "test" in builder.info.splits else Split(None, None)  # type: ignore[arg-type]
    # TFDS makes up names, "0", "1", ..., for classes that have none.
    names = tuple(label.names) if label.names != [str(i) for i in range(label.num_classes)] else None
    return Dataset(
        train.images, train.labels, None, test.images, test.labels, label.num_classes, names, train.numbered
    )


def prepare(name: str, data_dir: str | None, progress: Progress) -> None:
    """Downloads a data set and writes it in the format that `load` reads."""
    builder = _builder(name, data_dir)
    _check_format(name, builder)
    if builder.info.splits:
        progress.say(f"{builder.data_path}: already prepared")
        return
    # Most builders of TFDS read their downloads with it.
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError("prepare needs TensorFlow (training does not): pip install '.[prepare]'")
    try:
        builder.download_and_prepare(file_format=_FORMAT)
    # Whatever a builder's own code and the network raise.
    except Exception as error:
        raise UserError(f"tfds:{name} could not be prepared ({one_line(error)[:300]})") from error
    progress.say(f"{builder.data_path}: prepared; train on it with --dataset tfds:{name}")


def _builder(name: str, data_dir: str | None) -> Any:
    # Not at the top: importing it takes a second, which other sources need not pay.
    import tensorflow_datasets as tfds

    logging.getLogger("absl").setLevel(logging.ERROR)
    folder = None if data_dir is None else str(Path(data_dir).expanduser())
    try:
        return tfds.builder(name, data_dir=folder, try_gcs=False)
    except tfds.core.DatasetNotFoundError:
        found = Path(folder or tfds.core.constants.DATA_DIR)
        known = {*tfds.list_builders(with_community_datasets=False), *_names_in(found)}
        near = difflib.get_close_matches(name.split("/")[0].split(":")[0], sorted(known), n=3, cutoff=0)
        raise UserError(f"tfds:{name} is not known; the nearest names are {', '.join(near)}") from None
    # A configuration or a version that it does not have, a damaged dataset_info.json, ...
    except Exception as error:
        raise UserError(f"tfds:{name} cannot be opened ({one_line(error)[:300]})") from error


def _names_in(folder: Path) -> list[str]:
    return [path.parent.parent.name for path in folder.glob("*/*/dataset_info.json")]


def _prepared(name: str, data_dir: str | None) -> Any:
    builder = _builder(name, data_dir)
    if not builder.info.splits:
        command = f"python -m experiments prepare {name}" + (f" --data-dir {data_dir}" if data_dir else "")
        raise UserError(f"tfds:{name} is not prepared in {builder.data_path}; run {command}")
    _check_format(name, builder)
    return builder


def _check_format(name: str, builder: Any) -> None:
    formats = (
        {found.value for found in builder.info.available_file_formats()} if builder.info.splits else set()
    )
    if formats and _FORMAT not in formats:
        raise UserError(
            f"tfds:{name} is prepared as {', '.join(sorted(formats))} in {builder.data_path}, expected "
            f"{_FORMAT}; choose another --data-dir and prepare it there"
        )


def _check_features(name: str, builder: Any, image_size: int | None) -> Any:
    """The feature `label`; raises UserError unless there are byte images of one size and class labels."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    if not (isinstance(features, tfds.features.FeaturesDict) and {"image", "label"} <= features.keys()):
        raise UserError(f"tfds:{name} has the features {list(features)}; expected an image and a label")
    image, label = features["image"], features["label"]
    if not isinstance(label, tfds.features.ClassLabel):
        raise UserError(f"tfds:{name}: label is a {type(label).__name__}, expected a ClassLabel")
    if len(image.shape) != 3 or image.np_dtype != np.uint8 or image.shape[2] not in (1, 3):
        raise UserError(
            f"tfds:{name}: image is {np.dtype(image.np_dtype)} {list(image.shape)}, expected uint8 [H, W, 1] "
            f"or [H, W, 3]"
        )
    if None in image.shape and image_size is None:
        raise UserError(f"tfds:{name} has images of different sizes; --image-size N scales all to N x N")
    return label


def _read(
    name: str,
    builder: Any,
    split: str,
    num_classes: int,
    progress: Progress,
    image_size: int | None,
    streamed: bool,
) -> Split:
    index = _cached(builder, split, "index", lambda: _index(name, builder, split, progress))
    labels = check_labels(
        f"tfds:{name}", f"{split} label", index["labels"], len(index["labels"]), num_classes
    )
    images, numbered = _open(name, builder, split, index["order"], image_size), bool(index["numbered"])
    if streamed:
        return Split(images, labels, numbered)

    def make():
        with progress.counting(f"reading tfds:{name}, {split}", len(labels)) as advance:
            return {"images": stream.read_all(images, advance)}

    return Split(_cached(builder, split, f"pixels-{image_size}", make)["images"], labels, numbered)


def _cached(
    builder: Any, split: str, kind: str, make: Callable[[], dict[str, NDArray]]
) -> dict[str, NDArray]:
    root = Path(builder.data_path)
    state = [(path.name, *cache.state_of(path)) for path in sorted(root.iterdir())]
    name = f"{builder.info.name}-{split}-{cache.fingerprint(root.resolve())[:12]}-{kind}"
    return cache.arrays(name, cache.fingerprint(image_files.DECODER, *state), make)


def _index(name: str, builder: Any, split: str, progress: Progress) -> dict[str, NDArray]:
    """The labels, and the places of their examples in the files, in the order of the ids if there are any."""
    import tensorflow_datasets as tfds

    source = _source(name, builder, split, decoders={"image": tfds.decode.SkipDecoding()})
    labels: list[int] = []
    ids: list[Any] = []
    with progress.counting(f"indexing tfds:{name}, {split}", source.size) as advance:
        for start in range(0, source.size, 1000):
            for example in source.at(list(range(start, min(start + 1000, source.size)))):
                labels.append(example["label"])
                ids.append(example.get("id"))
            advance(1000)
    order = np.arange(len(labels))
    # Stable, so that equal ids leave no doubt.
    numbered = bool(ids) and isinstance(ids[0], bytes)
    if numbered:
        order = np.array(sorted(range(len(ids)), key=lambda place: ids[place]))
    return {"labels": np.array(labels, np.int64)[order], "order": order, "numbered": np.array(numbered)}


class _Source(NamedTuple):
    """Examples by their places in the files."""

    size: int
    at: Callable[[list[int]], list[dict[str, Any]]]


def _source(name: str, builder: Any, split: str, **options: Any) -> _Source:
    def at(places):
        try:
            return source.__getitems__(places)
        # What comes up depends on where a file is damaged.
        except Exception as error:
            raise _unreadable(name, builder, error) from error

    try:
        source = builder.as_data_source(split=split, **options)
        return _Source(len(source), at)
    except Exception as error:
        raise _unreadable(name, builder, error) from error


def _unreadable(name: str, builder: Any, error: Exception) -> UserError:
    return UserError(
        f"{builder.data_path}: cannot be read ({one_line(error)[:200]}); delete it and prepare {name} anew"
    )


def _open(name: str, builder: Any, split: str, order: NDArray[np.integer], image_size: int | None) -> Stream:
    source = _source(name, builder, split)
    shape = builder.info.features["image"].shape
    height, width = shape[:2] if image_size is None else (image_size, image_size)

    def read(indices):
        images = [example["image"] for example in source.at(order[indices].tolist())]
        return np.stack([image_files.scaled(image, image_size) for image in images])

    files = sorted(Path(builder.data_path).glob("*"))
    identity = cache.fingerprint(split, image_size, *((path.name, path.stat().st_size) for path in files))
    return Stream((len(order), height, width, shape[2]), np.dtype(np.uint8), read, identity)
