"""Nothing outside of a received folder is followed or written over, and no pipe or device is waited for."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.__main__ import main
from experiments.data.pictures import folder
from experiments.runs import corrected_data, run_folder
from experiments.safety import files
from experiments.terminal import QUIET, UserError
from tests.experiments.untrusted.conftest import FLAGS

PREDICT = ("predict", "run", "data.csv")
TRAIN = ("train", "--dataset", "csv:data.csv", *FLAGS, "--run-dir", "run")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("report.html.unfinished", ("report", "run")),
        ("review.html.unfinished", ("review", "run")),
        ("predictions.csv.unfinished", PREDICT),
        ("labels.csv.unfinished", ("audit", "run")),
        ("audit.json.unfinished", ("audit", "run")),
        ("labels.csv", ("audit", "run")),
        ("labels-1.csv", ("audit", "run")),
        ("metrics.jsonl", TRAIN),
        ("columns.npz.unfinished", TRAIN),
        (".lock", TRAIN),
        ("damaged-checkpoints", TRAIN),
        ("folds", ("audit", "run", "--folds", "2")),
        ("config.json", ("report", "run")),
        ("checkpoints/12/default/_METADATA", PREDICT),
    ],
)
@pytest.mark.parametrize("exists", [True, False], ids=["to a file", "to nothing"])
def test_a_link_in_a_received_run_is_refused(name, command, exists, received, refused):
    precious = received.parent / "precious"
    if exists:
        precious.write_text("mine")
    link = received / "run" / name
    link.unlink(missing_ok=True)
    link.symlink_to(precious)
    assert f"{Path('run', name)}: is a symbolic link" in refused(*command)
    assert precious.exists() == exists
    assert not exists or precious.read_text() == "mine"


def test_a_link_is_replaced_where_a_page_is_written_beside_it(received):
    precious = received / "precious"
    precious.write_text("mine")
    for name in ("page.html", "page.html.unfinished", "new.csv", "new.csv.unfinished.csv"):
        Path(name).symlink_to(precious)
    assert main(["report", "run", "--output", "page.html"]) == 0
    Path("new.csv").unlink()
    assert main(["clean", "run", "--output", "new.csv", "--first", "2"]) == 0
    assert precious.read_text() == "mine"
    assert not Path("page.html").is_symlink()


def test_a_line_is_not_appended_to_what_a_link_leads_to(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written"):
        run_folder.append_line(tmp_path / "metrics.jsonl", {})
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("data.npz", ("train", "--dataset", "npz:data.npz")),
        ("data.npy", ("train", "--dataset", "npy:data.npy", "--labels-file", "data.csv", "--label", "kind")),
        ("data.csv", ("train", "--dataset", "csv:data.csv", "--label", "kind")),
        ("data.parquet", ("train", "--dataset", "csv:data.parquet", "--label", "kind")),
        ("y.npz", ("train", "--dataset", "digits", "--labels-file", "y.npz")),
        ("y.npy", ("train", "--dataset", "digits", "--labels-file", "y.npy")),
        ("y.csv", ("train", "--dataset", "digits", "--corrections", "y.csv")),
        ("x.csv", ("predict", "run", "x.csv")),
        ("x.png", ("predict", "run", "x.png")),
        ("reviewed.csv", ("clean", "run", "--output", "new.csv", "--reviewed", "reviewed.csv")),
        ("run/config.json", ("report", "run")),
        ("run/metrics.jsonl", ("report", "run")),
        ("run/labels.csv", ("review", "run")),
        ("run/audit.npz", ("review", "run")),
        ("run/columns.npz", PREDICT),
        ("run/summary.json", TRAIN),
        ("run/checkpoints/12/default/_METADATA", PREDICT),
    ],
)
def test_a_pipe_is_refused(name, command, received, refused):
    Path(name).unlink(missing_ok=True)
    os.mkfifo(name)
    assert f"{name}: is a pipe; expected" in refused(*command)


def test_a_device_is_refused(tmp_path):
    with pytest.raises(UserError, match="/dev/zero: is a device; expected a regular file"):
        files.regular(Path("/dev/zero"))


def test_a_file_that_is_left_out_of_the_pictures_is_not_copied(tmp_path):
    """A link in a folder of pictures would carry a file of the user's into the cleaned folder."""
    (tmp_path / "secret").write_text("mine")
    for place in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "data" / place).mkdir(parents=True)
        for name in ("0.png", "1.png"):
            Image.new("L", (2, 2)).save(tmp_path / "data" / place / name)
    (tmp_path / "data" / "test" / "a" / "notes.txt").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "data" / "test" / "b" / "2.png")
    with pytest.warns(UserWarning, match="ignored 1 file"):
        dataset = folder.load(tmp_path / "data", QUIET)
    data = corrected_data.Data(dataset=f"folder:{tmp_path / 'data'}")
    corrected_data.write(data, dataset, dataset.train_labels, np.ones(4, bool), tmp_path / "new")
    copied = sorted(str(p.relative_to(tmp_path / "new")) for p in (tmp_path / "new").rglob("*.*"))
    pictures = [f"{part}/{name}.png" for part in ("test", "train") for name in ("a/0", "a/1", "b/0", "b/1")]
    assert copied == pictures


@pytest.mark.parametrize("name", ["file", "allow_pickle", "../../outside"])
def test_an_array_of_any_name_stays_in_the_archive(name, tmp_path):
    images, labels = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1], np.int32)
    arrays = {"train_images": images, "train_labels": labels, name: images}
    corrected_data.write_npz(arrays, tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as found:
        assert set(found.files) == set(arrays)
    assert [path.name for path in tmp_path.iterdir()] == ["new.npz"]


def test_a_run_folder_may_itself_be_reached_by_a_link(received):
    shutil.move("run", "elsewhere")
    Path("run").symlink_to("elsewhere")
    assert main(list(PREDICT)) == 0
