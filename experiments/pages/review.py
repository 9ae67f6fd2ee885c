"""One HTML page to look at the suspicious labels of a run and to decide on each, without a server."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.data.dataset import class_names
from experiments.pages import examples, report
from experiments.runs import audit_files, contents, corrections, run_folder
from experiments.runs.contents import Data, Run, Suspect
from experiments.terminal import Progress, UserError, check_output, check_range

# The page shows the classes that the model finds most probable, and at least so many examples.
CLASSES_SHOWN, LEAST_SHOWN = 4, 50


def review(run_dir: Path, output: Path | None, number: int | None, progress: Progress) -> Path:
    """Writes the page of the most suspicious examples of an audited run."""
    if number is not None:
        check_range("--examples", number, 1)
    output = output or run_dir / "review.html"
    check_output(output)
    if output.suffix != ".html":
        raise UserError(f"--output {output}: expected a name that ends in .html")
    contents.check_is_run(run_dir, "review")
    run = contents.read(run_dir)
    data = contents.load_data(run, progress)
    contents.check_indices(run, data)
    suspects, probabilities = corrections.read_suspects(run_dir, data.dataset.num_classes)
    if number is None:
        number = max(LEAST_SHOWN, sum(suspect.probability > audit_files.CUT for suspect in suspects))
    shown = suspects[:number]
    content: dict[str, Any] = {
        "key": _key(run),
        "classes": list(class_names(data.dataset)),
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
    if not {"picture", "row"} & content["items"][0].keys():
        progress.say(
            "the examples are vectors, which the page cannot show; with --labels-file TABLE, it shows the "
            "other columns of that table"
        )
    return output


def _key(run: Run) -> str:
    """What a browser keeps the decisions by: another audit has other ones."""
    listed = (run.folder / "labels.csv").read_bytes()
    return hashlib.sha256(f"{run.record['resolved']['data_hash']}".encode() + listed).hexdigest()[:16]


def items(
    run: Run, data: Data, suspects: list[Suspect], probabilities: NDArray[np.floating]
) -> list[dict[str, Any]]:
    """What the page shows of each example, the most suspicious first."""
    indices = np.array([suspect.example for suspect in suspects])
    pictures = examples.pictures_of(data, indices)
    rows = examples.rows_of(run, indices)
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
