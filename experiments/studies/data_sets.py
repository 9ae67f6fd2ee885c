"""Data of the studies that the repository does not hold: files of the user's, and tables made here."""

import csv
import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.terminal import UserError


class Sources(NamedTuple):
    """Files of the user's, each of them None if what needs it is not measured.

    Attributes:
      features: npz with `train_features` and `test_features`, `[N, D]`.
      pictures: npz with `train_images`, `test_images`, `[N, H, W, C]`, and `test_labels`.
      labels: npz with `clean`, `test` and the other label sets of the training part.
      text: a folder with the files of Yoruba news titles.
    """

    features: Path | None
    pictures: Path | None
    labels: Path | None
    text: Path | None


class Examples(NamedTuple):
    """A data set in memory, with the right labels."""

    train_x: NDArray
    train_y: NDArray
    test_x: NDArray
    test_y: NDArray


@functools.lru_cache(maxsize=1)
def features(sources: Sources) -> tuple[Examples, dict[str, NDArray]]:
    """Features of pictures on one common scale, and the label sets of their training part."""
    if sources.features is None or sources.labels is None:
        raise UserError("the part `features` needs --features FILE.npz and --labels FILE.npz")
    with np.load(sources.features) as arrays, np.load(sources.labels) as labels:
        train_x, test_x = (arrays[f"{part}_features"].astype(np.float32) for part in ("train", "test"))
        scale = float(train_x.std(dtype=np.float64))
        label_sets = {name: labels[name].astype(np.int64) for name in labels.files}
    return Examples(train_x / scale, label_sets["clean"], test_x / scale, label_sets["test"]), label_sets


def pictures(sources: Sources) -> tuple[Examples, dict[str, NDArray]]:
    """Pictures, and the label sets of their training part."""
    if sources.pictures is None or sources.labels is None:
        raise UserError("the part `pictures` needs --pictures FILE.npz and --labels FILE.npz")
    with np.load(sources.pictures) as arrays, np.load(sources.labels) as labels:
        train_x, test_x, test_y = (arrays[name] for name in ("train_images", "test_images", "test_labels"))
        label_sets = {name: labels[name][: len(train_x)].astype(np.int64) for name in labels.files}
    return Examples(train_x, label_sets["clean"], test_x, test_y), label_sets


@functools.lru_cache(maxsize=1)
def text(sources: Sources) -> tuple[Examples, NDArray]:
    """News titles in Yoruba as frequencies of letters in 256 components; what keyword rules labelled."""
    if sources.text is None:
        raise UserError("the part `text` needs --text FOLDER")
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    given, clean, test = (
        _titles(sources.text / f"yoruba_{name}.tsv")
        for name in ("train_clean_noisy_labels", "train_clean", "test")
    )
    classes = sorted(set(clean[1]))
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, min_df=2)
    reducer = TruncatedSVD(256, random_state=0)
    train_x = reducer.fit_transform(vectorizer.fit_transform(clean[0]))
    test_x = reducer.transform(vectorizer.transform(test[0]))
    scale = train_x.std()
    by_rules, train_y, test_y = (
        np.asarray([classes.index(label) for label in labels]) for _, labels in (given, clean, test)
    )
    return Examples(train_x / scale, train_y, test_x / scale, test_y), by_rules


def _titles(path: Path) -> tuple[list[str], list[str]]:
    """Titles and labels of a file with a heading and tabs."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["news_title"] for row in rows], [row["label"] for row in rows]


def table(rows: int, classes: int, seed: int, separation: float = 1.0, flipped: float = 0.01) -> Examples:
    """A table of 20 columns by scikit-learn, and 2,000 rows to test on.

    Args:
      rows: to train on.
      classes: how many there are.
      seed: of everything that is drawn.
      separation: how far apart the clusters of the classes are.
      flipped: share of the rows whose class is drawn at random, in the training part and in the test part.
    """
    from sklearn.datasets import make_classification

    x, y = make_classification(
        rows + 2000,
        20,
        n_informative=12,
        n_redundant=4,
        n_classes=classes,
        n_clusters_per_class=2,
        class_sep=separation,
        flip_y=flipped,
        random_state=seed,
    )
    x = (x - x[:rows].mean(axis=0)) / x[:rows].std(axis=0)
    return Examples(x[:rows], y[:rows], x[rows:], y[rows:])


def write(folder: Path, name: str, examples: Examples) -> str:
    """Writes a data set as an npz file; what --dataset calls it."""
    path = folder / f"{name}.npz"
    train_x, test_x = examples.train_x, examples.test_x
    if train_x.dtype != np.uint8:
        train_x, test_x = train_x.astype(np.float32), test_x.astype(np.float32)
    np.savez(
        path,
        train_images=train_x,
        test_images=test_x,
        train_labels=examples.train_y.astype(np.int64),
        test_labels=examples.test_y.astype(np.int64),
    )
    return f"npz:{path}"


def write_labels(folder: Path, name: str, labels: NDArray) -> str:
    """Writes given labels; what --labels-file calls them."""
    path = folder / f"{name}.npy"
    np.save(path, labels)
    return str(path)
