"""How the columns of a table become the numbers that a network sees: fitted once, kept with the run.

What is learnt is kept as JSON and arrays. `encode` applies it and is a function of these and of the table
alone; the tests hold it equal to scikit-learn's transformers, which `fit` uses.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.data.tables.read import Table, column_of, listed, missing
from experiments.terminal import UserError

# Text of more distinct values than this is free text, if it has several words, or has rare values.
MOST_CATEGORIES = 64
TEXT_COMPONENTS, HASHED_WORDS = 128, 2**15
# Names of columns that name the examples and say nothing about their classes.
ID_NAMES = ("id", "index", "key", "uuid", "guid", "row", "row_id", "")


class Encoding(NamedTuple):
    """What is learnt from the columns of a table.

    Attributes:
      columns: of each column its name, its kind and, of a category, its frequent values.
      arrays: by the number of the column and what they are: medians, means, scales, weights of words.
    """

    columns: list[dict[str, Any]]
    arrays: dict[str, NDArray]


def id_column(table: Table, asked: str | None, label: str | None) -> str | None:
    """The column that names the examples: the one that is asked for, or one whose name and values say so."""
    if asked is not None:
        column_of(table, asked)
        return asked
    for name, values in table.columns.items():
        named = name.lower() in ID_NAMES or name.lower().endswith(("_id", " id"))
        if named and name != label and len(set(values.tolist())) == len(values):
            return name
    return None


def fit(table: Table, names: Iterable[str]) -> Encoding:
    """Learns medians, means, scales, categories and words from the columns of these names."""
    columns: list[dict[str, Any]] = []
    arrays: dict[str, NDArray] = {}
    for name in names:
        values = table.columns[name]
        kind = kind_of(values)
        column = {"name": name, "kind": kind}
        if kind == "number":
            own = _fit_numbers(values)
        elif kind == "category":
            column |= _fit_category(values)
            own = {}
        else:
            own = _fit_text(values) if kind == "text" else {}
        number = len(columns)
        columns.append(column)
        arrays |= {f"{number}.{key}": array for key, array in own.items()}
    # Each column counts alike, however many numbers it becomes; a text counts as much as all others.
    encoding = Encoding(columns, arrays)
    others = sum(column["kind"] in ("number", "category") for column in columns)
    for number, column in enumerate(columns):
        if column["kind"] in ("category", "text"):
            block = _encode_block(encoding, number, values_of(table, column))
            spread = float(np.sqrt(block.var(axis=0).sum())) or 1.0
            weight = np.sqrt(max(1, others)) if column["kind"] == "text" else 1.0
            arrays[f"{number}.mean"] = block.mean(axis=0)
            arrays[f"{number}.scale"] = np.full(block.shape[1], spread / weight)
    if not any(column["kind"] != "constant" for column in columns):
        raise UserError(f"{table.path}: has no columns to learn from beside the labels")
    return encoding


def kind_of(values: NDArray) -> str:
    """`number`, `category`, `text`, or `constant` for what carries nothing."""
    if values.dtype != object:
        known = values[~np.isnan(values)]
        return "number" if len(np.unique(known)) > 1 or 0 < len(known) < len(values) else "constant"
    known = [value for value in values if value is not None]
    distinct = set(known)
    if len(distinct) + (len(known) < len(values)) < 2:
        return "constant"
    if len(distinct) <= MOST_CATEGORIES:
        return "category"
    return "text" if np.mean([len(value.split()) for value in known]) >= 2 else "category"


def _fit_numbers(values: NDArray[np.float64]) -> dict[str, NDArray]:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median", add_indicator=True).fit(values[:, None])
    scaler = StandardScaler().fit(imputer.transform(values[:, None]))
    return {"median": imputer.statistics_, "mean": scaler.mean_, "scale": scaler.scale_}


def _fit_category(values: NDArray) -> dict[str, Any]:
    from sklearn.preprocessing import OneHotEncoder

    encoder = OneHotEncoder(max_categories=MOST_CATEGORIES, handle_unknown="infrequent_if_exist")
    encoder.fit(_filled(values)[:, None])
    rare = [] if encoder.infrequent_categories_[0] is None else encoder.infrequent_categories_[0].tolist()
    frequent = [value for value in encoder.categories_[0].tolist() if value not in rare]
    return {"categories": frequent, "others": bool(rare)}


def _fit_text(values: NDArray) -> dict[str, NDArray]:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = _word_counts(values)
    seen = np.flatnonzero(np.asarray(counts.sum(axis=0))[0])
    weighted = TfidfTransformer(sublinear_tf=True).fit(counts[:, seen])
    components = min(TEXT_COMPONENTS, len(seen) - 1, len(values) - 1)
    reducer = TruncatedSVD(max(1, components), random_state=0).fit(weighted.transform(counts[:, seen]))
    return {
        "words": seen,
        "word_weights": weighted.idf_,
        "components": reducer.components_.astype(np.float32),
    }


def _filled(values: NDArray) -> NDArray:
    return np.array(["" if value is None else value for value in values], object)


def _word_counts(values: NDArray) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    # It learns nothing: words are numbered by a hash, the same everywhere.
    hashing = HashingVectorizer(n_features=HASHED_WORDS, ngram_range=(1, 2), alternate_sign=False, norm=None)
    return hashing.transform(_filled(values))


def values_of(table: Table, column: dict[str, Any]) -> NDArray:
    """The values of a column that was learnt from, refused if they are of another type now."""
    values = column_of(table, column["name"])
    is_text, empty = column["kind"] in ("category", "text"), bool(missing(values).all())
    if empty and is_text:
        return np.full(len(values), None, object)
    if is_text and values.dtype != object:
        # Where all codes of a small file look like numbers.
        return np.array([None if value != value else f"{value:g}" for value in values], object)
    if not is_text and column["kind"] == "number" and values.dtype == object:
        raise UserError(
            f"{table.path}: column {column['name']!r} holds text, such as {values[0]!r}; the run was trained "
            f"on numbers there"
        )
    return values


def encode(encoding: Encoding, table: Table) -> NDArray[np.float32]:
    """The rows of a table as the network sees them, `[N, D]`: each column of mean 0 and total variance 1."""
    blocks = []
    for number, column in enumerate(encoding.columns):
        if column["kind"] != "constant":
            block = _encode_block(encoding, number, values_of(table, column))
            mean, scale = (encoding.arrays[f"{number}.{name}"] for name in ("mean", "scale"))
            blocks.append((block - mean) / scale)
    return np.concatenate(blocks, axis=1).astype(np.float32)


def wrong(encoding: Encoding) -> str | None:
    """What is wrong with an encoding from a file, so that it could not be applied; None if nothing is."""
    if not any(column["kind"] != "constant" for column in encoding.columns):
        return "expected a column to learn from"
    for name, array in encoding.arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            return f"array {name!r} must be finite numbers, got {array.dtype}"
    for number, column in enumerate(encoding.columns):
        kind = column["kind"]
        if kind == "category" and not {"categories", "others"} <= column.keys():
            return f"column {column['name']!r} needs its categories"
        for name, shape in _shapes(encoding, number).items():
            own = encoding.arrays.get(f"{number}.{name}")
            if own is None or own.shape != shape:
                found = "none" if own is None else list(own.shape)
                return f"array '{number}.{name}' must have the shape {list(shape)}, got {found}"
        if kind == "text":
            words = encoding.arrays[f"{number}.words"]
            if words.dtype.kind not in "iu" or words.min() < 0 or words.max() >= HASHED_WORDS:
                return f"array '{number}.words' must be from 0 to {HASHED_WORDS - 1}"
    return None


def _shapes(encoding: Encoding, number: int) -> dict[str, tuple[int, ...]]:
    """The arrays that a column needs, and the shape of each."""
    column, arrays = encoding.columns[number], encoding.arrays
    if column["kind"] == "number":
        # A second number says what was missing.
        size = 2 if np.size(arrays.get(f"{number}.mean", 0)) == 2 else 1
        return {"median": (1,), "mean": (size,), "scale": (size,)}
    if column["kind"] == "category":
        size = len(column["categories"]) + column["others"]
        return {"mean": (size,), "scale": (size,)}
    if column["kind"] == "text":
        found = np.shape(arrays.get(f"{number}.components", ()))
        size, words = found if len(found) == 2 and 0 not in found else (1, 1)
        own: dict[str, tuple[int, ...]] = {"words": (words,), "word_weights": (words,)}
        return own | {"components": (size, words), "mean": (size,), "scale": (size,)}
    return {}


def _encode_block(encoding: Encoding, number: int, values: NDArray) -> NDArray[np.float64]:
    """What a column becomes before it is centred and scaled."""
    column = encoding.columns[number]
    own = {
        name.partition(".")[2]: array
        for name, array in encoding.arrays.items()
        if name.partition(".")[0] == str(number)
    }
    if column["kind"] == "number":
        gaps = np.isnan(values)
        filled = np.where(gaps, own["median"][0], values)[:, None]
        # The second number says what was missing, if something was in training.
        return filled if len(own["mean"]) == 1 else np.concatenate([filled, gaps[:, None]], axis=1)
    if column["kind"] == "category":
        index = {value: i for i, value in enumerate(column["categories"])}
        places = np.array([index.get(value, len(index)) for value in _filled(values)])
        one_hot = places[:, None] == np.arange(len(index) + column["others"])
        return one_hot.astype(np.float64)
    counts = _word_counts(values)[:, own["words"]].tocsr().astype(np.float64)
    counts.data = (np.log(counts.data) + 1) * own["word_weights"][counts.indices]
    norms = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1))[:, 0])
    return (counts @ own["components"].T.astype(np.float64)) / np.where(norms > 0, norms, 1)[:, None]


def in_words(encoding: Encoding, table: Table) -> str:
    """What the columns were taken for, as a line for the terminal."""
    kinds = {
        "number": ("number", "numbers"),
        "category": ("category", "categories"),
        "text": ("text", "texts"),
        "constant": ("constant, left out", "constants, left out"),
    }
    parts = []
    for kind, (one, several) in kinds.items():
        names = [column["name"] for column in encoding.columns if column["kind"] == kind]
        if names:
            parts.append(f"{len(names)} {one if len(names) == 1 else several} ({listed(names)})")
    number = sum(int(missing(table.columns[column["name"]]).sum()) for column in encoding.columns)
    gaps = f"; {number:,} missing values are filled in and marked" if number else ""
    return f"{table.path.name}: {'; '.join(parts)}{gaps}"
