"""Training examples as a page shows them: a picture as a data URI, or the cells of a table's row."""

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.data.dataset import Stream
from experiments.data.options import label_column_of_file
from experiments.data.tables import read as tables
from experiments.runs.contents import Data, Run
from experiments.runs.corrected_data import kind_of

# Images of more pixels than this are scaled down.
_PIXELS_SHOWN, _PIXELS_SCALED_TO = 64, 160
# The page shows the first columns of a table's row.
_COLUMNS_SHOWN = 24


def pictures_of(data: Data, indices: NDArray[np.integer]) -> list[str] | None:
    """The examples as data URIs, if they are pictures."""
    if not shows_images(data):
        return None
    images = data.dataset.train_images
    read = images.read(indices) if isinstance(images, Stream) else images[indices]
    shown = as_bytes(read)
    return [picture(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in shown]


def rows_of(run: Run, indices: NDArray[np.integer]) -> list[list[list[str]]] | None:
    """The cells of each example by their columns, if the data or their labels are a table."""
    asked = run.experiment.data
    if kind_of(asked) == "csv":
        path = Path(asked.dataset.partition(":")[2])
    elif kind_of(asked) == "npy" and label_column_of_file(asked):
        path = Path(asked.labels_file or "")
    else:
        return None
    table = tables.read(path)
    columns = [name for name in table.columns if name != asked.label][:_COLUMNS_SHOWN]
    if not columns:
        return None
    return [[[name, tables.as_text(table, name, int(index))] for name in columns] for index in indices]


def shows_images(data: Data) -> bool:
    """Whether the examples can be looked at: grey or RGB images."""
    shape = data.dataset.train_images.shape
    return len(shape) == 4 and shape[-1] in (1, 3)


def as_bytes(images: NDArray) -> NDArray[np.uint8]:
    """Byte images as they are, numbers scaled by the range that they span."""
    if images.dtype == np.uint8:
        return images
    low, high = float(images.min()), float(images.max())
    return np.round(255 * (images - low) / (high - low or 1)).astype(np.uint8)


def picture(image: NDArray[np.uint8]) -> str:
    """An image `[H, W]` or `[H, W, 3]` as a data URI: pixel by pixel, or scaled down if it is large."""
    drawn = Image.fromarray(image)
    if max(drawn.size) <= _PIXELS_SHOWN:
        return data_uri(drawn, "png")
    drawn.thumbnail((_PIXELS_SCALED_TO, _PIXELS_SCALED_TO))
    return data_uri(drawn, "jpeg")


def data_uri(image: Image.Image, kind: str) -> str:
    """An image as text for the `src` of an element."""
    file = io.BytesIO()
    image.save(file, kind, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
