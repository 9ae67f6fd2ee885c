"""Every field of the JSON files of a received run, with a value of every other type: a line, no traceback."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.data.tables import encoding
from experiments.data.tables import read as tables
from experiments.runs import contents, json_records, run_folder, saved_columns, saved_config
from experiments.safety import json_types
from experiments.terminal import UserError

VALUES = (None, True, -1, 3, 0.5, 10**400, "x", [], [[]], {}, {"x": []})


def fields(value, path=()):
    """The place of every value within a JSON document, those of lists and objects too."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from fields(item, (*path, key))


def with_value(document, path, value):
    if not path:
        return value
    changed = document.copy()
    changed[path[0]] = with_value(document[path[0]], path[1:], value)
    return changed


def without(document, path):
    return with_value(
        document, path[:-1], {k: v for k, v in at(document, path[:-1]).items() if k != path[-1]}
    )


def at(document, path):
    return at(document[path[0]], path[1:]) if path else document


def spoilt(document):
    """The document with each value replaced, and with each key of an object missing."""
    for path in fields(document):
        for value in VALUES:
            if type(value) is not type(at(document, path)) or value != at(document, path):
                yield path, with_value(document, path, value)
        if path and isinstance(path[-1], str):
            yield path, without(document, path)


def outcome(read):
    """`refused` and why, or `read`."""
    try:
        read()
    except UserError as error:
        return "refused", str(error)
    return "read", ""


def test_every_field_of_config_json_is_checked(received):
    path = Path("run/config.json")
    document = json.loads(path.read_text())
    refused = {}
    for place, changed in spoilt(document):
        path.write_text(json.dumps(changed))
        how, said = outcome(lambda: saved_config.read(Path("run")))
        assert how == "read" or (str(path) in said and "\n" not in said)
        refused[place] = refused.get(place, 0) + (how == "refused")
    # No field takes everything, but the name of the method, which is not read.
    taken = {place for place, count in refused.items() if not count}
    assert taken <= {("config", "method")}
    assert len(refused) > 60


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("summary.json", lambda: run_folder.read_summary(Path("run/summary.json"))),
        ("audit.json", lambda: contents.audited_seed(Path("run"), range(1))),
        ("columns.json", lambda: saved_columns.load(Path("run"))),
    ],
)
def test_every_field_of_other_files_is_checked(name, read, received):
    path = Path("run", name)
    document = json.loads(path.read_text())
    if name != "columns.json":
        # What else the configuration says is not read here.
        document["config"] = {"hyperparameters": document["config"]["hyperparameters"]}
    count = 0
    for _, changed in spoilt(document):
        path.write_text(json.dumps(changed))
        how, said = outcome(read)
        assert how == "read" or (Path(name).stem in said and "\n" not in said)
        count += how == "refused"
    assert count > 15
    path.write_text(json.dumps(document)[:-30])
    assert outcome(read)[0] == "refused"


def test_every_value_of_metrics_is_checked(received):
    path = Path("run/metrics.jsonl")
    first, *others = path.read_text().splitlines()
    count = 0
    for _, changed in spoilt(json.loads(first)):
        path.write_text("\n".join([json.dumps(changed), *others]))
        how, said = outcome(lambda: contents.read(Path("run")))
        assert how == "read" or ("metrics.jsonl: line " in said and "\n" not in said)
        count += how == "refused"
    assert count > 50


EPOCH = {"epoch": 1, "train_loss": [1.0, None], "train_accuracy": [0.5, 0.5], "test_recall": [[1, 0], [1, 0]]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"weights": [0.5]}, "weights has the shape"),
        ({"train_accuracy": [[0.5], [0.5]]}, "train_accuracy has the shape"),
        ({"test_recall": [[1], [1]]}, "test_recall has the shape"),
        ({"test_recall": [[1, 0], [1]]}, "expected lists of the same length"),
        ({"train_loss": []}, "has the shape"),
        ({"group_a": [0.1, 0.1]}, "expected all of group_a, group_b, group_c"),
        ({"memorised": [0.1, 0.1]}, "expected the metrics that the first line has"),
        ({"train_loss": "1"}, "train_loss must be"),
        ({"epoch": 0.5}, "expected the metrics of an epoch"),
    ],
)
def test_metrics_are_of_one_shape(changes, said):
    found = json_records.wrong_epoch({**EPOCH, **changes}, EPOCH, num_classes=2)
    assert found is None if said is None else said in found


def test_a_report_of_what_was_read_does_not_fail(received, capfd):
    """What passes the checks is good enough for everything that is done with it."""
    path = Path("run/metrics.jsonl")
    lines = path.read_text().splitlines()
    last = json.loads(lines[-1])
    mixture = {f"mixture_{name}": [[0.1, 0.2]] for name in ("means", "variances", "weights")}
    clipping = {"probability_threshold": [0.5], "tau": [2.0], **mixture}
    groups = {f"group_{name}": [0.3] for name in "abc"}
    shown = {**last, **clipping, **groups, "test_accuracy": [0.9], "test_recall": [[1, None, 0.5]]}
    path.write_text(json.dumps(shown) + "\n")
    config = json.loads(Path("run/config.json").read_text())
    # These have defaults, and another version may not have written them.
    config["config"]["data"] = {"dataset": "csv:data.csv", "label": "kind"}
    Path("run/config.json").write_text(json.dumps(config))
    assert main(["report", "run"]) == 0


@pytest.mark.parametrize("spoil", ["gone", "types", "shape", "nan"])
def test_probabilities_that_do_not_fit_are_one_line(spoil, received, refused):
    good = np.full((48, 3), 1 / 3)
    arrays = {
        "gone": {},
        "types": {"probabilities": good.astype(str)},
        "shape": {"probabilities": good[:5]},
        "nan": {"probabilities": good * np.nan},
    }
    np.savez("run/audit.npz", **arrays[spoil])
    assert "audit.npz" in refused("review", "run")


@pytest.mark.parametrize(
    ("columns", "arrays"),
    [
        ([], {}),
        ([{"name": "a", "kind": "number"}], {}),
        ([{"name": "a", "kind": "number"}], {"0.median": [0.0], "0.mean": [0.0], "0.scale": [1.0, 1.0]}),
        ([{"name": "a", "kind": "number"}], {"0.median": ["x"], "0.mean": [0.0], "0.scale": [1.0]}),
        ([{"name": "a", "kind": "category"}], {"0.mean": [0.0], "0.scale": [1.0]}),
        (
            [{"name": "a", "kind": "text"}],
            {
                "0.components": [[1.0]],
                "0.words": [2**15],
                "0.word_weights": [1.0],
                "0.mean": [0.0],
                "0.scale": [1.0],
            },
        ),
    ],
)
def test_columns_that_do_not_fit_are_one_line(columns, arrays, received, refused):
    Path("run/columns.json").write_text(json.dumps(columns))
    np.savez("run/columns.npz", **arrays)
    assert "run/columns.npz" in refused("predict", "run", "data.csv")


def test_what_an_encoding_learns_is_of_the_form_that_is_checked(tmp_path):
    words = ["one two", "three four", "five six seven", "eight nine"]
    rows = [f"{i},{i % 3 or ''},{'xyz'[i % 3]},{words[i % 4]} {i},c" for i in range(80)]
    path = tmp_path / "t.csv"
    path.write_text("a,gaps,kind,text,same\n" + "\n".join(rows) + "\n")
    table = tables.read(path)
    assert encoding.wrong(encoding.fit(table, table.columns)) is None


def test_other_data_than_recorded_are_refused(received, refused):
    """The classes of config.json are not those of the data, which have the same hash."""
    path = Path("run/config.json")
    document = json.loads(path.read_text())
    document["config"]["resolved"] |= {"num_classes": 2, "class_names": ["a", "b"]}
    path.write_text(json.dumps(document))
    Path("run/labels.csv").unlink()
    assert main(["report", "run"]) == 0
    assert "no longer what the run was trained on" in Path("run/report.html").read_text()


def test_types_within_types_are_told_apart():
    assert json_types.mismatch([1, True], list[int]) == "1 must be int, got True"
    assert json_types.mismatch({"a": "b"}, dict[str, int | None]) == "a must be int or null, got 'b'"
    assert json_types.mismatch([1], tuple[int, int]) == "it must be a list of 2, got [1]"
