"""One HTML page to look at the suspicious labels of a run and to decide on each, without a server."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.data.dataset import Stream
from experiments.data.tables import read as tables
from experiments.pages import report
from experiments.runs import contents, corrections, run_folder
from experiments.runs.contents import Data, Run, Suspect
from experiments.runs.corrected_data import kind_of
from experiments.terminal import Progress, UserError, check_output, check_range

# The page shows the classes that the model finds most probable, and the first columns of a table's row.
CLASSES_SHOWN, COLUMNS_SHOWN = 4, 24


def review(run_dir: Path, output: Path | None, examples: int, progress: Progress) -> Path:
    """Writes the page of the most suspicious examples of an audited run."""
    check_range("--examples", examples, 1)
    output = output or run_dir / "review.html"
    check_output(output)
    if output.suffix != ".html":
        raise UserError(f"--output {output}: expected a name that ends in .html")
    (folder,) = contents.expand((run_dir,)) or (run_dir,)
    run = contents.read(folder)
    data = contents.load_data(run, progress)
    contents.check_indices(run, data)
    suspects, probabilities = corrections.read_suspects(folder, data.dataset.num_classes)
    shown = suspects[:examples]
    content = {
        "key": _key(folder, run),
        "classes": class_names(data),
        "namedBy": data.dataset.named_by,
        "items": items(run, data, shown, probabilities),
    }
    page = report.environment().get_template("review.html.jinja")
    text = page.render(
        title=report.describe(run),
        # In a script, "<" could end it.
        content=json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"),
        examples=len(shown),
        total=len(suspects),
    )
    run_folder.write_text(output, text)
    progress.say(f"{len(shown):,} of {len(suspects):,} labels to review in {output}; open it in a browser")
    return output


def class_names(data: Data) -> list[str]:
    """The names of the classes, their numbers where they have none."""
    return list(data.dataset.class_names or map(str, range(data.dataset.num_classes)))


def _key(folder: Path, run: Run) -> str:
    """What a browser keeps the decisions by: another audit has other ones."""
    listed = (folder / "labels.csv").read_bytes()
    return hashlib.sha256(f"{run.record['resolved']['data_hash']}".encode() + listed).hexdigest()[:16]


def items(
    run: Run, data: Data, suspects: list[Suspect], probabilities: NDArray[np.floating]
) -> list[dict[str, Any]]:
    """What the page shows of each example, the most suspicious first."""
    indices = np.array([suspect.example for suspect in suspects])
    pictures = pictures_of(data, indices)
    rows = rows_of(run, indices)
    names = data.dataset.train_names
    return [
        {
            "index": suspect.example,
            "given": suspect.given,
            "suggested": suspect.suggested,
            "wrong": round(suspect.probability, 4),
            "probabilities": [
                [int(label), round(float(probabilities[suspect.example, label]), 4)]
                for label in np.argsort(-probabilities[suspect.example], kind="stable")[:CLASSES_SHOWN]
            ],
            **({"name": names[suspect.example]} if names else {}),
            **({"picture": pictures[i]} if pictures else {}),
            **({"row": rows[i]} if rows else {}),
        }
        for i, suspect in enumerate(suspects)
    ]


def pictures_of(data: Data, indices: NDArray[np.integer]) -> list[str] | None:
    """The examples as data URIs, if they are pictures."""
    if not report.shows_images(data):
        return None
    images = data.dataset.train_images
    read = images.read(indices) if isinstance(images, Stream) else images[indices]
    shown = report.as_bytes(read)
    return [report.picture(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in shown]


def rows_of(run: Run, indices: NDArray[np.integer]) -> list[list[list[str]]] | None:
    """The cells of each example by their columns, if the data are a table."""
    asked = run.experiment.data
    if kind_of(asked) != "csv":
        return None
    table = tables.read(Path(asked.dataset.partition(":")[2]))
    columns = [name for name in table.columns if name != asked.label][:COLUMNS_SHOWN]
    return [[[name, tables.as_text(table, name, int(index))] for name in columns] for index in indices]
