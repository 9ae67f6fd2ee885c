"""Tables from somebody else, of every wrong form: a line that names the file, no traceback."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.data.dataset import Dataset
from experiments.data.options import Data
from experiments.runs import corrected_data
from experiments.terminal import UserError
from tests.experiments.untrusted.conftest import CLASSES, FLAGS

HEADING = "index,decision,label\n"
REVIEWED = {
    "no rows": "",
    "no such class": f"{HEADING}1,relabel,nobody\n",
    "no class": f"{HEADING}1,relabel,\n2,relabel,x\n",
    "many digits": f"{HEADING}{'9' * 5000},drop,\n",
    "not a number": f"{HEADING}one,keep,\ntwo,keep,\n",
    "negative": f"{HEADING}-1,relabel,{CLASSES[0]}\n",
    "too large": f"{HEADING}48,relabel,{CLASSES[0]}\n",
    "short row": f"{HEADING}1\n",
    "open quotation mark": f'{HEADING}1,keep,"x\n' + "2,keep,\n" * 40_000,
    "NUL": f"{HEADING}1,keep\0,x\n\0,\0,\0\n",
    "bytes": f"{HEADING}1,relabel,\udcff\n2,relabel,\udcfe\n",
}
AUDITED = {
    "text for numbers": "index,suggested_label,judged_wrong\none,two,yes\ntwo,x,no\n",
    "beyond the classes": "index,suggested_label,judged_wrong\n1,3,true\n",
    "fractions": "index,suggested_label,judged_wrong\n0.5,1,true\n",
    "not finite": "index,suggested_label,judged_wrong\ninf,1,true\nnan,1,true\n",
}


@pytest.mark.parametrize("form", REVIEWED)
def test_a_review_of_a_wrong_form(form, received, refused):
    path = Path("reviewed.csv")
    path.write_text(REVIEWED[form], errors="surrogateescape")
    assert "reviewed.csv: " in refused("clean", "run", "--output", "new.csv", "--reviewed", "reviewed.csv")
    assert not list(Path().glob("new*"))


@pytest.mark.parametrize("form", [*sorted(set(REVIEWED) - {"short row", "open quotation mark"}), *AUDITED])
def test_corrections_of_a_wrong_form(form, received, refused):
    Path("given.csv").write_text({**REVIEWED, **AUDITED}[form], errors="surrogateescape")
    command = ("train", "--dataset", "csv:data.csv", *FLAGS, "--corrections", "given.csv", "--run-dir", "new")
    assert "given.csv: " in refused(*command)
    assert not Path("new").exists()


def copied(rows, tmp_path):
    """What `clean` makes of a table of two rows, whose second has another label then."""
    (tmp_path / "data.csv").write_text("text,kind\n" + rows)
    data = Data(dataset=f"csv:{tmp_path / 'data.csv'}", label="kind")
    labels = np.array([0, 0], np.int32)
    dataset = Dataset(np.zeros((2, 1), np.float32), labels, None, None, None, 2, ("x", "y"))
    corrected_data.write(data, dataset, labels, np.ones(2, bool), tmp_path / "new.csv")
    return (tmp_path / "new.csv").read_bytes().decode()


def test_long_texts_are_copied(tmp_path):
    text = "a word " * 30_000
    assert copied(f"=1+1,x\n{text},y\n", tmp_path) == f"text,kind\n=1+1,x\n{text},x\n"


@pytest.mark.parametrize("rows", ["a,x\n", "a,x\nb,y\nc,x\n"])
def test_a_table_that_is_read_in_another_way_is_not_copied(rows, tmp_path):
    with pytest.raises(UserError, match=r"data\.csv: is no plain table of text"):
        copied(rows, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


@pytest.mark.parametrize("kind", ["csv:{}.csv", "npz:{}.npz", "npy:{}.npy", "folder:{}", "tfds:{}", "{}"])
@pytest.mark.parametrize("name", ["a\0b", "n" * 5000, "../" * 50 + "etc/passwd", "/dev/zero"])
def test_a_configuration_that_names_odd_data(kind, name, received, refused):
    path = Path("run/config.json")
    content = json.loads(path.read_text())
    kind_of_file = kind.partition(":")[0]
    labels = {"labels_file": f"{name}.npz"} if kind_of_file == "npy" else {}
    label = "kind" if kind_of_file == "csv" else None
    content["config"]["data"] |= {"dataset": kind.format(name), "label": label, **labels}
    path.write_text(json.dumps(content))
    assert main(["report", "run"]) == 0
    assert "The data cannot be loaded" in Path("run/report.html").read_text()
    assert refused("audit", "run")
