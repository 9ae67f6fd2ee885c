"""The files of a run: which runs are the same, and that no file is half written."""

import json

import numpy as np
import pytest

from experiments.runs import run_folder
from experiments.terminal import UserError


def test_lines_that_no_checkpoint_has_are_dropped_from_the_file(tmp_path):
    lines = [
        json.dumps({"epoch": epoch, "train_loss": [0.5], "train_accuracy": [0.5]}) for epoch in (1, 2, 3)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
    assert [epoch["epoch"] for epoch in run_folder.read_metrics(tmp_path, 2)] == [1, 2]
    run_folder.append_metrics(tmp_path, {"epoch": 3, "train_loss": [0.25], "train_accuracy": [0.5]})
    assert [epoch["train_loss"] for epoch in run_folder.read_metrics(tmp_path, 3)] == [[0.5], [0.5], [0.25]]


def test_arrays_are_the_same_if_content_shape_and_type_are():
    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    others = (x.reshape(3, 2), x.view(np.uint32), x + 1, x[::-1])
    assert len({run_folder.fingerprint(array) for array in (x, *others)}) == 5
    # Where it lies in memory says nothing, and what is not there neither.
    assert run_folder.fingerprint(np.asfortranarray(x), None) == run_folder.fingerprint(x)
    assert run_folder.fingerprint(x, x + 1) != run_folder.fingerprint(x + 1, x)


def test_a_file_is_what_it_was_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.json"
    run_folder.write_json(path, {"a": 1})

    def fail():
        with run_folder.whole(path) as unfinished:
            unfinished.write_text("half")
            assert run_folder.read_json(path) == {"a": 1}
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert run_folder.read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("changed", [{"a": 1}, {"a": 1, "b": 3}, {"a": 1, "b": 2, "c": {"d": 4}}])
def test_a_run_of_more_of_fewer_or_of_other_fields_is_another(tmp_path, changed):
    run_folder.claim(tmp_path, {"a": 1, "b": 2})
    run_folder.claim(tmp_path, {"a": 1, "b": 2})
    with pytest.raises(UserError, match="holds a run of another configuration"):
        run_folder.claim(tmp_path, changed)
