import io
import json
import pickle
import zipfile

import jax
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.config import Data
from experiments.data import label_file, sources
from experiments.data.class_labels import Classes
from experiments.data.labels import corrupt
from experiments.terminal import UserError

OWN = (np.arange(60) % 3).astype(np.int32)
THREE = Classes(3, None)
OTHER = np.where(np.arange(60) < 12, (OWN + 1) % 3, OWN)


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "labels.npz", **arrays)
    return f"{tmp_path / 'labels.npz'}"


def test_a_plain_array_and_a_chosen_key(tmp_path):
    np.save(tmp_path / "labels.npy", OTHER.astype(np.uint8))
    np.testing.assert_array_equal(label_file.read(str(tmp_path / "labels.npy"), OWN, THREE), OTHER)
    path = saved(tmp_path, worse=OTHER, better=OWN)
    np.testing.assert_array_equal(label_file.read(f"{path}:worse", OWN, THREE), OTHER)
    np.testing.assert_array_equal(label_file.read(f"{path}:better", OWN, THREE), OWN)


def test_the_only_array_that_fits_needs_no_key(tmp_path):
    path = saved(
        tmp_path, human=OTHER, clean_label=OWN, seconds=np.ones(60), workers=np.arange(3), test=OWN[:30]
    )
    np.testing.assert_array_equal(label_file.read(path, OWN, THREE), OTHER)
    np.testing.assert_array_equal(label_file.read(f"{path}:clean_label", OWN, THREE), OWN)


def test_an_order_of_the_sources_own_needs_labels_to_compare(tmp_path):
    compared = saved(tmp_path, human=OTHER, clean=OWN)
    np.testing.assert_array_equal(label_file.read(compared, OWN, THREE, numbered=False), OTHER)
    np.save(tmp_path / "labels.npy", OTHER)
    for path in (saved(tmp_path, human=OTHER), str(tmp_path / "labels.npy")):
        with pytest.raises(UserError, match="comes in an order of its own; expected an npz file that has"):
            label_file.read(path, OWN, THREE, numbered=False)


def test_labels_from_a_file_are_noise_that_is_measured(tmp_path, tiny_npz, tiny_arrays):
    dataset = sources.load(Data(f"npz:{tiny_npz}"))
    clean = tiny_arrays["train_clean_labels"]
    given = np.where(clean == 0, 2, clean)
    path = saved(tmp_path, human=given, clean=clean)
    labels = corrupt(Data(labels_file=path), dataset, jax.random.split(jax.random.key(0), 2))
    np.testing.assert_array_equal(labels.given, np.tile(given, (2, 1)))
    np.testing.assert_array_equal(labels.clean, clean)
    np.testing.assert_allclose(labels.rate, [1 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_array_equal(labels.matrix[0], [[0, 0, 1], [0, 1, 0], [0, 0, 1]])
    # The data set's own labels are the true ones where nothing better is known.
    dataset = dataset._replace(train_labels=clean, train_clean_labels=None)
    unknown = corrupt(Data(labels_file=f"{path}:human"), dataset, jax.random.split(jax.random.key(0), 1))
    np.testing.assert_array_equal(unknown.clean, clean)


def test_corrections_of_an_audit_are_made_to_what_it_judged_wrong(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        "rank,index,given_label,suggested_label,probability_wrong,judged_wrong\n"
        "1,7,1,0,0.9,true\n2,30,0,2,0.8,true\n3,4,1,2,0.4,false\n"
    )
    found = label_file.read_corrections(str(path), OWN, THREE)
    expected = OWN.copy()
    expected[[7, 30]] = 0, 2
    np.testing.assert_array_equal(found, expected)
    assert OWN[7] == 1


def test_corrections_of_a_review_are_what_a_person_relabelled(tmp_path):
    path = tmp_path / "reviewed.csv"
    path.write_text("index,decision,label\n7,relabel,0\n4,keep,2\n30,relabel,2\n")
    expected = OWN.copy()
    expected[[7, 30]] = 0, 2
    np.testing.assert_array_equal(label_file.read_corrections(str(path), OWN, THREE), expected)


def _changed(index, value):
    return np.where(np.arange(60) == index, value, OWN)


@pytest.mark.parametrize(
    ("arrays", "key", "said"),
    [
        ({"a": OTHER[:59]}, ":a", "a has 59 entries for 60 examples"),
        ({"a": _changed(7, 3)}, ":a", r"a must be in \[0, 3\), got 3 at index 7"),
        ({"a": _changed(5, -1)}, "", r"a must be in \[0, 3\), got -1 at index 5"),
        ({"a": OTHER + 0.5}, ":a", "a must be class numbers or names, got 1.5 at index 0"),
        ({"a": np.zeros((60, 3, 2), int)}, ":a", r"a must be \[N\], one-hot .* got shape \[60, 3, 2\]"),
        ({"a": OTHER}, ":b", r"array 'b' is missing; the file has \['a'\]"),
        ({"a": OTHER, "b": OWN}, "", r"found \['a', 'b'\] among .*; choose with --labels-file FILE.npz:KEY"),
        ({"a": OTHER[:59]}, "", r"expected one array of 60 labels, found none among \['a'\]$"),
        ({"a": OTHER, "clean": _changed(4, 0)}, "", r"clean differs .* in 1 places, .* 4 \(0 there, 1"),
        ({"a": OTHER, "clean_label": OWN[::-1]}, ":a", "clean_label differs from .* index 0 .* same order"),
        ({"a": OTHER, "clean": OWN[:50]}, "", "clean has 50 entries for 60 examples"),
        ({"a": np.array([{}], dtype=object)}, ":a", "array 'a' holds Python objects, which are not read"),
    ],
)  # fmt: skip
def test_wrong_labels_are_named(tmp_path, arrays, key, said):
    path = saved(tmp_path, **arrays)
    with pytest.raises(UserError, match=said) as raised:
        label_file.read(path + key, OWN, THREE)
    assert str(raised.value).startswith(path)
    assert "\n" not in str(raised.value)


def _torch_file():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"clean_label": [0]}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("CIFAR-10_human.pt", _torch_file(), r"pickle of .*savez\('CIFAR-10_human.npz', \*\*torch.load"),
        ("old.pt", pickle.dumps({"a": OWN}), "pickle of PyTorch"),
        ("renamed.npz", _torch_file(), "pickle of PyTorch"),
        ("dict.npy", pickle.dumps({"a": OWN}), "is not an npy file, it does not begin like one"),
        ("empty.npz", b"", "is not an npz file"),
        ("text.npy", b"1\n2\n", "is not an npy file, it does not begin like one$"),
    ],
)  # fmt: skip
def test_what_could_run_code_is_not_read(tmp_path, name, content, said, monkeypatch):
    monkeypatch.setattr(pickle, "load", None)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as raised:
        label_file.read(str(tmp_path / name), OWN, THREE)
    assert "\n" not in str(raised.value)


def test_a_saved_dictionary_is_not_read(tmp_path):
    np.save(tmp_path / "ordered.npy", {"clean_label": OWN}, allow_pickle=True)
    with pytest.raises(UserError, match="holds Python objects: save names with"):
        label_file.read(str(tmp_path / "ordered.npy"), OWN, THREE)


def test_a_run_on_a_labels_file(tmp_path, tiny_npz, tiny_arrays, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clean = tiny_arrays["train_clean_labels"]
    np.savez("human.npz", worse=(clean + 1) % 3, clean_label=clean)
    command = ["train", "--dataset", f"npz:{tiny_npz}", "--epochs", "1", "--batch-size", "8", "--width", "16"]
    assert main([*command, "--labels-file", "human.npz:worse"]) == 0
    summary = json.loads(
        next((tmp_path / "runs").glob("*-tiny-labels-human-worse-recommended/summary.json")).read_text()
    )
    assert summary["realised_noise"]["rate"] == [1.0]
    assert summary["config"]["data"]["labels_file"] == "human.npz:worse"
    capsys.readouterr()
    both = [*command, "--noise", "pair", "--noise-rate", "0.1", "--labels-file", "human.npz:worse"]
    assert main(both) == 2
    assert "--noise pair and --labels-file human.npz:worse both choose the labels" in capsys.readouterr().err
    assert main([*command, "--labels-file", "nowhere.npy"]) == 2
    assert capsys.readouterr().err == "error: nowhere.npy: no such file\n"
