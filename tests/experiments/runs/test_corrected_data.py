"""Data written anew: each example that is kept with its own label, all else as it was."""

import numpy as np
import pytest

from experiments.data.dataset import Dataset
from experiments.data.options import Data
from experiments.runs import corrected_data
from experiments.terminal import UserError

# The second of five examples is left out, the last has another label.
LABELS = np.array([0, 1, 1, 0, 1], np.int32)
KEPT = np.array([True, False, True, True, True])


def dataset(**changes):
    images = np.arange(5, dtype=np.float32)[:, None]
    return Dataset(images, np.array([0, 1, 1, 0, 0], np.int32), None, None, None, 2)._replace(**changes)


def test_arrays_of_the_training_part_are_left_out_together(tmp_path):
    arrays = {
        "train_images": np.arange(5.0)[:, None],
        "train_labels": np.array(["a", "b", "b", "a", "a"]),
        "train_clean_labels": np.array(["a", "b", "b", "a", "b"]),
        "test_images": np.arange(5.0)[:, None] + 10,
        "test_labels": np.array(["a", "b", "a", "b", "a"]),
    }
    np.savez(tmp_path / "old.npz", **arrays)
    data, output = Data(f"npz:{tmp_path / 'old.npz'}"), tmp_path / "new.npz"
    corrected_data.write(data, dataset(class_names=("a", "b")), LABELS, KEPT, output)
    with np.load(output) as found:
        assert set(found.files) == set(arrays)
        assert found["train_images"].ravel().tolist() == [0, 2, 3, 4]
        assert found["train_labels"].tolist() == ["a", "b", "a", "b"]
        assert found["train_clean_labels"].tolist() == ["a", "b", "a", "b"]
        for name in ("test_images", "test_labels"):
            np.testing.assert_array_equal(found[name], arrays[name])


def test_rows_of_a_table_keep_their_own_labels(tmp_path):
    (tmp_path / "old.csv").write_text("x,kind,y\n0,a,u\n1,b,v\n\n2,b,w\n3,a,x\n4,a,z\n")
    data, output = Data(f"csv:{tmp_path / 'old.csv'}", label="kind"), tmp_path / "new.csv"
    corrected_data.write(data, dataset(class_names=("a", "b")), LABELS, KEPT, output)
    assert output.read_text().split() == ["x,kind,y", "0,a,u", "2,b,w", "3,a,x", "4,b,z"]


def test_a_list_of_files_keeps_their_own_labels(tmp_path):
    own = dataset(class_names=("a", "b"), train_names=[f"{i}.png" for i in range(5)])
    output = tmp_path / "list.csv"
    corrected_data.write(Data(f"folder:{tmp_path}"), own, LABELS, KEPT, output)
    assert output.read_text().split() == ["file,label", "0.png,a", "2.png,b", "3.png,a", "4.png,b"]


def test_two_files_of_one_name_are_both_there(tmp_path):
    for name, content in (("a", "first"), ("b", "second")):
        (tmp_path / "old" / name).mkdir(parents=True)
        (tmp_path / "old" / name / "0.png").write_text(content)
    own = dataset(class_names=("a", "b"), train_names=["a/0.png", "b/0.png"])
    labels, output = np.zeros(2, np.int32), tmp_path / "new"
    corrected_data.write(Data(f"folder:{tmp_path / 'old'}"), own, labels, np.ones(2, bool), output)
    assert sorted(file.read_text() for file in (output / "a").iterdir()) == ["first", "second"]
    assert list((output / "b").iterdir()) == []


def test_nothing_is_left_where_writing_fails(tmp_path):
    data = Data(f"csv:{tmp_path / 'old.csv'}", label="kind")
    (tmp_path / "old.csv").write_text("x,kind\n0,a\n")
    with pytest.raises(UserError, match="is no plain table of text"):
        corrected_data.write(data, dataset(class_names=("a", "b")), LABELS, KEPT, tmp_path / "new.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]
