"""From the files that people have to a list of wrong labels and predictions, with their names and ids."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from experiments.__main__ import main

SHORT = ["--epochs", "12", "--batch-size", "16", "--width", "16"]


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def said(capsys):
    return " ".join(capsys.readouterr().out.split())


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Three kinds of fruit in a table, as vectors, and as labels in a file; five labels are wrong."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kinds = np.array(["apple", "cherry", "plum"])
    right = np.arange(120) % 3
    given = right.copy()
    given[:5] = (given[:5] + 1) % 3
    weight, colour = rng.normal([150, 8, 60], [9, 1, 5], (120, 3))[np.arange(120), right], right
    with open("fruit.csv", "w") as file:
        file.write("fruit_id,weight,colour,fruit\n")
        for i in range(120):
            file.write(f"F{i},{weight[i]:.2f},{['red', 'dark', 'blue'][colour[i]]},{kinds[given[i]]}\n")
    np.save("vectors.npy", np.stack([weight, *np.eye(3)[colour].T], axis=1))
    np.savez("names.npz", train_images=np.load("vectors.npy"), train_labels=kinds[given])
    return tmp_path


def test_a_table_to_a_list_and_predictions(own, capsys):
    assert main(["train", "--dataset", "csv:fruit.csv", "--label", "fruit", *SHORT]) == 0
    output = said(capsys)
    assert "1 number (weight); 1 category (colour); 'fruit_id' names the rows" in output
    run = own / "runs" / "fruit-recommended"
    assert main(["audit", str(run)]) == 0
    # Said once, when it is trained on.
    assert "category" not in said(capsys)
    found = lines(run / "labels.csv")
    assert {row["fruit_id"] for row in found[:5]} == {f"F{i}" for i in range(5)}
    assert found[0]["given_class"] in ("apple", "cherry", "plum")
    # The rows without labels, in another order of the columns.
    (own / "new.csv").write_text("colour,fruit_id,weight\ndark,N1,8.2\nblue,N2,61\n")
    assert main(["predict", str(run), "new.csv"]) == 0
    assert [(row["fruit_id"], row["class"]) for row in lines(run / "predictions.csv")] == [
        ("N1", "cherry"),
        ("N2", "plum"),
    ]
    capsys.readouterr()
    assert main(["predict", str(run), "csv:fruit.csv"]) == 0
    assert "accuracy against the labels in csv:fruit.csv: 95.83%" in said(capsys)
    assert main(["predict", str(run), "vectors.npy"]) == 2
    assert "the run was trained on a table" in capsys.readouterr().err
    assert main(["report", str(run)]) == 0
    # Resumed and asked again, it is the same run.
    assert main(["train", "--dataset", "csv:fruit.csv", "--label", "fruit", *SHORT]) == 0
    assert "already finished" in said(capsys)


def test_vectors_and_a_table_of_labels(own, capsys):
    flags = ["--dataset", "npy:vectors.npy", "--labels-file", "fruit.csv", "--label", "fruit"]
    assert main(["train", *flags, *SHORT, "--run-dir", "run"]) == 0
    assert "one scale for all 4 columns" in said(capsys)
    record = json.loads((own / "run" / "config.json").read_text())["config"]["resolved"]
    assert (record["class_names"], record["named_by"]) == (["apple", "cherry", "plum"], "fruit_id")
    assert main(["audit", "run"]) == 0
    assert "fruit_id" in lines(own / "run" / "labels.csv")[0]
    assert main(["predict", "run", "vectors.npy"]) == 0
    assert lines(own / "run" / "predictions.csv")[7]["class"] == "cherry"
    assert main(["train", "--dataset", "npy:vectors.npy"]) == 2
    assert "npy:vectors.npy needs --labels-file FILE" in capsys.readouterr().err
    assert main(["train", "--dataset", "npy:vectors.npy", "--labels-file", "fruit.csv"]) == 2
    assert "fruit.csv: has 4 columns; expected --label COLUMN, one of fruit_id" in capsys.readouterr().err
    for dataset, hint in (
        ("fruit.csv", "expected csv:fruit.csv perhaps, or digits"),
        ("csv:.", "is a folder; pictures in folders are folder:DIR"),
        ("folder:fruit.csv", "fruit.csv: is a file; a table is csv:FILE"),
    ):
        column = [] if dataset.startswith("folder") else ["--label", "fruit"]
        assert main(["train", "--dataset", dataset, *column]) == 2
        assert hint in capsys.readouterr().err
    assert main(["train", "--dataset", "vectors.npy"]) == 2
    assert "expected npy:vectors.npy perhaps, or digits" in capsys.readouterr().err


def test_names_in_arrays_are_kept_and_the_training_file_is_predicted(own, capsys):
    assert main(["train", "--dataset", "npz:names.npz", *SHORT, "--run-dir", "run"]) == 0
    capsys.readouterr()
    assert main(["predict", "run", "names.npz"]) == 0
    assert "accuracy against the labels in names.npz: 95.83%" in said(capsys)
    assert {row["class"] for row in lines(own / "run" / "predictions.csv")} == {"apple", "cherry", "plum"}


@pytest.mark.filterwarnings("always:data")
def test_one_picture_and_folders_as_others_call_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for part, count in (("Training", 16), ("Val", 4), ("notes", 0)):
        for level, name in ((40, "dark"), (200, "light")):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(level - 30, level + 30, (4, 4, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    flags = ["--epochs", "4", "--batch-size", "8", "--width", "16", "--run-dir", "run"]
    assert main(["train", "--dataset", "folder:data", *flags]) == 0
    output = capsys.readouterr()
    assert "data/Val: used as the test part" in output.out
    assert "beside Training, the folder notes is not used" in output.err
    assert "test accuracy" in output.out
    assert main(["predict", "run", "data/Val/light/0.png"]) == 0
    assert [row["class"] for row in lines(tmp_path / "run" / "predictions.csv")] == ["light"]
    assert main(["predict", "run", "data"]) == 0
    assert len(lines(tmp_path / "run" / "predictions.csv")) == 8
    assert main(["predict", "run", "nowhere"]) == 2
    assert "nowhere: no such file or folder" in capsys.readouterr().err


def test_what_float32_would_lose_is_centred_before(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    seconds = 1.7e9 + 60.0 * labels + rng.uniform(0, 5, 200)
    images = np.stack([seconds, rng.normal(size=200)], axis=1)
    np.savez("t.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    assert main(["train", "--dataset", "npz:t.npz", *SHORT, "--run-dir", "run"]) == 0
    assert "large numbers that vary little are centred in float64; number of columns 1" in said(capsys)
    assert main(["predict", "run", "t.npz"]) == 0
    assert "accuracy against the labels in t.npz: 100.00%" in said(capsys)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x, None),
        (lambda x: 2 * x - 1, None),
        (lambda x: x * 255 / x.max(), "pictures are divided by 255"),
        (lambda x: 300 * x - 500, "pictures are standardised, since they are outside of 0 to 255"),
    ],
)
def test_pictures_of_floats_in_any_range_are_learnt(tmp_path, monkeypatch, capsys, change, said):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = rng.uniform(0, 1, (120, 4, 4, 1)) * (0.3 + 0.7 * labels[:, None, None, None])
    np.savez("t.npz", train_images=change(images).astype(np.float32), train_labels=labels)
    assert main(["train", "--dataset", "npz:t.npz", *SHORT, "--run-dir", "run"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert (said is None) == ("pictures are" not in output)
    assert said is None or said in output
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["last"]["mean"] > 0.9


@pytest.mark.filterwarnings("always:recommended")
def test_a_network_that_learns_nothing_says_so_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("t.npz", train_images=rng.normal(size=(300, 5)), train_labels=rng.integers(0, 3, 300))
    flags = ["--dataset", "npz:t.npz", *SHORT, "--learning-rate", "1e-6", "--run-dir", "run"]
    assert main(["train", *flags]) == 0
    assert capsys.readouterr().err.count("the network learns nothing. After 5 epochs") == 1


def test_a_comparison_is_no_run_and_an_earlier_list_is_kept(own, capsys):
    flags = ["--dataset", "npz:names.npz", *SHORT, "--run-dir", "both"]
    assert main(["compare", *flags, "--seeds", "1", "--methods", "cross_entropy", "dal"]) == 0
    capsys.readouterr()
    assert main(["audit", "both"]) == 2
    error = capsys.readouterr().err
    assert "both is a comparison of several runs; audit one of them: both/cross_entropy, both/dal" in error
    for command in (["review", "both"], ["clean", "both", "--output", "new.npz"]):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert f"both is a comparison of several runs; {command[0]} one of them: both/cross_entropy" in error
    assert main(["audit", "both/dal"]) == 0
    mine = own / "both" / "dal" / "labels.csv"
    mine.write_text("corrected by hand\n")
    capsys.readouterr()
    assert main(["audit", "both/dal"]) == 0
    assert "the earlier labels.csv is kept as both/dal/labels-1.csv" in said(capsys)
    assert (own / "both" / "dal" / "labels-1.csv").read_text() == "corrected by hand\n"
    # The same list again is no other list.
    assert main(["audit", "both/dal"]) == 0
    assert not (own / "both" / "dal" / "labels-2.csv").exists()
    assert main(["audit", "both/dal", "--folds", "2", "--method", "mixture"]) == 0
    assert main(["train", *flags[:2], "--batch-size", "100", "--epochs", "1", "--run-dir", "large"]) == 0
    assert main(["audit", "large", "--folds", "5"]) == 2
    assert "--folds 5 leaves 96 examples to train on, less than a batch" in capsys.readouterr().err
