"""`clean`: what is changed, by whom and why, in the form the data came in; and that it is no noise."""

import csv
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from experiments.__main__ import main
from experiments.commands import audit, clean
from experiments.config import Experiment
from experiments.data import sources
from experiments.data.dataset import Dataset
from experiments.data.labels import GivenLabels
from experiments.data.options import Data
from experiments.data.tables.read import read
from experiments.runs import contents, corrected_data, corrections, run_folder, saved_model
from experiments.runs.contents import Suspect
from experiments.runs.corrections import Change, Decision, Rule
from experiments.terminal import QUIET, Progress
from experiments.training import training_data

SHORT = ["--epochs", "30", "--batch-size", "16", "--width", "64"]
NAMES = np.array(["apple", "cherry", "plum"])
RIGHT = np.arange(120) % 3
GIVEN = np.where(np.arange(120) < 6, (RIGHT + 1) % 3, RIGHT)


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The same three kinds of fruit in four forms, each trained on and audited; six labels are wrong."""
    folder = tmp_path_factory.mktemp("clean")
    rng = np.random.default_rng(0)
    vectors = np.eye(3)[RIGHT] * 3 + rng.normal(0, 0.05, (120, 3))
    np.savez(folder / "names.npz", train_images=vectors, train_labels=NAMES[GIVEN], class_names=NAMES)
    np.save(folder / "vectors.npy", vectors)
    with (folder / "fruit.csv").open("w") as file:
        file.write('fruit_id,"a, quoted",b,fruit,c\n')
        for i, (a, b, c) in enumerate(vectors):
            file.write(f'F{i:03},"{a:.3f}",{b:.3f},{NAMES[GIVEN[i]]},{c:.3f}\n')
    for i in range(120):
        place = folder / "pictures" / NAMES[GIVEN[i]]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (4, 4, 3))
        pixels[:, :, RIGHT[i]] += 190
        # The same file name in every class.
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i // 3}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, flags in {
            "npz": ["--dataset", "npz:names.npz"],
            "csv": ["--dataset", "csv:fruit.csv", "--label", "fruit"],
            "npy": ["--dataset", "npy:vectors.npy", "--labels-file", "fruit.csv", "--label", "fruit"],
            "folder": ["--dataset", "folder:pictures"],
        }.items():
            assert main(["train", *flags, *SHORT, "--run-dir", name]) == 0
            assert main(["audit", name]) == 0
    return folder


@pytest.fixture
def inside(work, monkeypatch, tmp_path):
    monkeypatch.chdir(work)
    return tmp_path


def first_six(*flags):
    return ["--first", "6", *map(str, flags)]


def test_arrays(inside, work, capsys):
    output = inside / "clean.npz"
    assert main(["clean", "npz", *first_six("--output", output)]) == 0
    assert "labels changed: 6 of 120; examples left out: 0" in capsys.readouterr().out
    cleaned = np.load(output)
    assert cleaned["train_labels"].tolist() == NAMES[RIGHT].tolist()
    np.testing.assert_array_equal(cleaned["train_images"], np.load(work / "names.npz")["train_images"])
    assert main(["train", "--dataset", f"npz:{output}", *SHORT, "--run-dir", str(inside / "again")]) == 0
    dropped = inside / "dropped.npz"
    assert main(["clean", "npz", "--how", "drop", *first_six("--output", dropped)]) == 0
    assert np.load(dropped)["train_labels"].tolist() == NAMES[RIGHT[6:]].tolist()
    record = lines(inside / "dropped-changes.csv")
    assert {int(row["index"]) for row in record} == set(range(6))
    assert {(row["action"], row["new_label"], row["why"]) for row in record} == {
        ("drop", "", "one of the first 6")
    }


def test_a_table_keeps_every_other_cell(inside, work):
    output = inside / "clean.csv"
    assert main(["clean", "csv", *first_six("--output", output)]) == 0
    before, after = (path.read_text().splitlines() for path in (work / "fruit.csv", output))
    assert len(after) == 121
    for number, (old, new) in enumerate(zip(before[7:], after[7:], strict=True)):
        assert old.replace('"', "") == new.replace('"', ""), number
    assert [row["fruit"] for row in lines(output)] == NAMES[RIGHT].tolist()
    assert lines(inside / "clean-changes.csv")[0]["fruit_id"] in {f"F{i:03}" for i in range(6)}
    assert read(output).columns.keys() == read(work / "fruit.csv").columns.keys()


@pytest.mark.parametrize(
    ("encoding", "separator", "line_end"), [("utf-8", ",", "\n"), ("utf-16", ";", "\r\n")]
)
def test_a_table_is_written_as_the_spreadsheet_wrote_it(tmp_path, encoding, separator, line_end):
    source, output = tmp_path / "old.csv", tmp_path / "new.csv"
    rows = [["size", "kind"], ["1", "höher"], ["2", "tiefer"], ["3", "höher"]]
    before = line_end.join(separator.join(row) for row in [*rows, []]).encode(encoding)
    source.write_bytes(before)
    data = Data(dataset=f"csv:{source}", label="kind")
    dataset = sources.load(data, QUIET)
    corrected_data.write(data, dataset, dataset.train_labels, np.ones(3, bool), output)
    assert output.read_bytes() == before
    other = np.array([1, 1, 0], np.int32)
    corrected_data.write(data, dataset, other, np.array([False, True, True]), output)
    lines_after = output.read_bytes().decode(encoding).split(line_end)
    assert lines_after == [separator.join(row) for row in (rows[0], rows[2], rows[3])] + [""]


def test_labels_of_vectors(inside, work, capsys):
    # Both have one name, and each has its own record.
    for name in ("labels.npy", "labels.csv"):
        assert main(["clean", "npy", *first_six("--output", inside / name)]) == 0
        flags = ["--dataset", "npy:vectors.npy", "--labels-file", str(inside / name)]
        flags += ["--label", "label"] if name.endswith("csv") else []
        assert main(["train", *flags, *SHORT, "--run-dir", str(inside / name[-3:])]) == 0
    assert np.load(inside / "labels.npy").tolist() == NAMES[RIGHT].tolist()
    assert lines(inside / "labels.csv")[0] == {"fruit_id": "F000", "label": "apple"}
    capsys.readouterr()
    assert main(["clean", "npy", "--how", "drop", *first_six("--output", inside / "x.npy")]) == 2
    assert "labels alone cannot leave examples out" in capsys.readouterr().err
    assert not list(inside.glob("x*"))
    assert main(["clean", "npy", "--how", "drop", *first_six("--output", inside / "x.npz")]) == 0
    assert len(np.load(inside / "x.npz")["train_images"]) == 114


def test_a_folder_is_copied_and_no_file_takes_the_place_of_another(inside, work):
    output = inside / "clean"
    assert main(["clean", "folder", *first_six("--output", output)]) == 0
    found = {name: len(list((output / name).iterdir())) for name in NAMES}
    assert found == dict.fromkeys(NAMES, 40)
    moved = {row["file"]: row["new_label"] for row in lines(inside / "clean-changes.csv")}
    for file, label in moved.items():
        old = (work / "pictures" / file).read_bytes()
        assert old in [path.read_bytes() for path in (output / label).iterdir()]
    assert main(["clean", "folder", *first_six("--output", inside / "list.csv")]) == 0
    listed = {row["file"]: row["label"] for row in lines(inside / "list.csv")}
    assert len(listed) == 120
    assert listed.items() >= moved.items()


def test_nothing_is_overwritten_and_what_does_not_fit_is_said(inside, work, capsys):
    (inside / "taken.npz").write_text("mine")
    for name in ("half-changes.csv", "half.npz-changes.csv"):
        (inside / name).write_text("mine")
    for command, said in (
        (["clean", "npz", "--output", str(inside / "taken.npz")], "taken.npz exists; nothing is overwritten"),
        (["clean", "npz", "--output", str(inside / "half.npz")], "half.npz-changes.csv exists; nothing is"),
        (["clean", "npz", "--output", str(inside / "a.npz"), "--above", "1"], "nothing would be changed"),
        (
            ["clean", "npz", "--output", str(inside / "a.csv")],
            "expected a name with .npz, since",
        ),
        (
            ["clean", "csv", "--output", str(inside / "a.tsv")],
            "expected a name with .csv, since",
        ),
        (["clean", "npz", "--output", str(inside / "no" / "a.npz")], "there is no folder"),
        (["clean", "npz", "--output", str(inside / "a.npz"), "--only-reviewed"], "needs --reviewed FILE"),
        (["clean", "npz", "--output", str(inside / "a.npz"), "--above", "2"], "--above must be"),
        (["clean", str(inside), "--output", str(inside / "a.npz")], "config.json"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err
    assert len(list(inside.iterdir())) == 3


SUSPECTS = [
    Suspect(2, 7, 0, 1, 0.9, None),
    Suspect(3, 5, 1, 2, 0.8, None),
    Suspect(4, 6, 2, 0, 0.4, None),
    Suspect(5, 4, 2, 2, 0.3, None),
]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(), [(7, 1), (5, 2)]),
        (Rule(how="drop"), [(7, None), (5, None)]),
        # The model is sure of the first suggestion only.
        (Rule(how="both"), [(7, 1), (5, None)]),
        (Rule(above=0.35), [(7, 1), (5, 2), (6, 0)]),
        (Rule(above=0.8), [(7, 1)]),
        (Rule(first=1), [(7, 1)]),
        # The last has no other label to take.
        (Rule(first=4), [(7, 1), (5, 2), (6, 0)]),
        (Rule(reviewed_only=True), []),
    ],
)
def test_the_rule(rule, expected):
    probabilities = np.full((8, 3), 0.1)
    probabilities[7, 1] = 0.8
    found = corrections.decide(SUSPECTS, probabilities, {}, rule)
    assert [(change.example, change.label) for change in found] == expected


def test_what_a_person_decided_comes_before_the_rule():
    decisions = {7: Decision("keep", None), 5: Decision("relabel", 0), 4: Decision("drop", None)}
    found = corrections.decide(SUSPECTS, np.zeros((8, 3)), decisions, Rule(above=0.35))
    assert found == [
        Change(5, 0, "reviewed"),
        Change(6, 0, "probability_wrong above 0.35"),
        Change(4, None, "reviewed"),
    ]


def test_the_labels_that_are_corrected_are_those_of_the_seed_that_was_audited(tmp_path, monkeypatch):
    right = (np.arange(8) % 3).astype(np.int32)
    given = np.stack([right, right])
    given[0, 5:], given[1, :2] = 0, 2
    dataset = Dataset(np.arange(8, dtype=np.float32)[:, None], right, right, None, None, 3)
    asked = Experiment(data=Data("digits", noise="pair", noise_rate=0.25), seeds=2, first_seed=4)
    trained = SimpleNamespace(experiment=asked, resolved={})
    suspects = [Suspect(2, 0, 2, 0, 0.9, None), Suspect(3, 1, 2, 1, 0.8, None)]
    sure = np.zeros((8, 3))
    sure[0, 0] = 0.9
    monkeypatch.setattr(saved_model, "restore", lambda *_: trained)
    monkeypatch.setattr(training_data, "load", lambda *_: (dataset, GivenLabels(given, right, None, None), 0))
    monkeypatch.setattr(corrections, "read_suspects", lambda *_: (suspects, sure))
    for module, name in ((contents, "check_is_run"), (audit, "check_data")):
        monkeypatch.setattr(module, name, lambda *_: None)
    run_folder.write_json(tmp_path / "audit.json", {"seed": 5, "learnt": False, "estimated_noise_rate": None})
    said = io.StringIO()
    progress = Progress(Console(file=said, width=500))
    clean.clean(tmp_path, tmp_path / "new.npz", Rule(how="both"), None, progress)
    with np.load(tmp_path / "new.npz") as found:
        assert found["train_labels"].tolist() == np.delete(right, 1).tolist()
        assert found["train_images"].ravel().tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert "labels changed: 1 of 8; examples left out: 1" in said.getvalue()
    assert "right labels: 75.0% before, 100.0% after" in said.getvalue()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("x,relabel,plum", "row 2 has index 'x'; expected 0 to 119"),
        ("120,relabel,plum", "row 2 has index '120'"),
        ("3,relabel,pear", "row 2 has label 'pear', which is no class of the run"),
        ("3,perhaps,plum", "row 2 has decision 'perhaps'; expected keep, relabel or drop"),
    ],
)
def test_a_reviewed_file_that_does_not_fit_is_named(inside, capsys, row, said):
    path = inside / "reviewed.csv"
    path.write_text(f"index,decision,label\n{row}\n")
    assert main(["clean", "npz", "--reviewed", str(path), "--output", str(inside / "a.npz")]) == 2
    assert said in capsys.readouterr().err
    path.write_text("index,label\n")
    assert main(["clean", "npz", "--reviewed", str(path), "--output", str(inside / "a.npz")]) == 2
    assert "has no column 'decision'; expected the reviewed.csv" in capsys.readouterr().err


def test_corrections_are_no_noise(inside, work, capsys):
    run = inside / "run"
    flags = ["train", "--dataset", "npz:names.npz", *SHORT, "--run-dir", str(run)]
    assert main([*flags, "--labels-file", "npz/labels.csv"]) == 2
    assert "labels.csv: is the list of an audit; expected --corrections npz/labels.csv" in (
        capsys.readouterr().err
    )
    assert main([*flags, "--corrections", "npz/labels.csv", "--noise", "pair", "--noise-rate", "0.1"]) == 2
    assert "leave out --noise and --labels-file" in capsys.readouterr().err
    np.save(inside / "own.npy", NAMES[RIGHT])
    capsys.readouterr()
    assert main([*flags[:-1], str(inside / "own"), "--labels-file", str(inside / "own.npy")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "5.0% of the labels differ from those of npz:names.npz, which are taken for clean" in said
    assert main([*flags, "--corrections", "npz/labels.csv"]) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["realised_noise"] is None
    judged = [row for row in lines(work / "npz" / "labels.csv") if row["judged_wrong"] == "true"]
    expected = GIVEN.copy()
    for row in judged:
        expected[int(row["index"])] = int(row["suggested_label"])
    assert main(["audit", str(run)]) == 0
    trained_on = {int(row["index"]): int(row["given_label"]) for row in lines(run / "labels.csv")}
    assert [trained_on[i] for i in range(120)] == expected.tolist()


def test_reviewed_labels_train_directly_unless_examples_are_left_out(inside, work, capsys):
    path = inside / "reviewed.csv"
    path.write_text("index,decision,label\n0,relabel,apple\n1,keep,plum\n")
    flags = ["train", "--dataset", "npz:names.npz", *SHORT, "--corrections", str(path)]
    assert main([*flags, "--run-dir", str(inside / "run")]) == 0
    assert main(["audit", str(inside / "run")]) == 0
    capsys.readouterr()
    both = ["--reviewed", str(path), "--first", "1", "--output", str(inside / "both.npz")]
    assert main(["clean", "npz", *both]) == 0
    assert "of these changes, 1 are decisions of" in " ".join(capsys.readouterr().out.split())
    found = {row["index"]: row["given_class"] for row in lines(inside / "run" / "labels.csv")}
    assert [found[i] for i in "0123"] == ["apple", NAMES[GIVEN[1]], NAMES[GIVEN[2]], NAMES[GIVEN[3]]]
    path.write_text("index,decision,label\n0,drop,\n")
    assert main([*flags, "--run-dir", str(inside / "other")]) == 2
    assert "reviewed.csv: leaves examples out; expected `clean RUN" in capsys.readouterr().err


def test_the_page_of_review_needs_an_audit(inside, work, capsys, monkeypatch):
    assert main(["review", "csv", "--output", str(inside / "page.html")]) == 0
    page = (inside / "page.html").read_text()
    content = json.loads(page.partition('id="content">')[2].partition("</script>")[0])
    assert content["classes"] == NAMES.tolist()
    assert content["namedBy"] == "fruit_id"
    first = content["items"][0]
    assert first["name"] == f"F{first['index']:03}"
    assert [name for name, _ in first["row"]] == ["fruit_id", "a, quoted", "b", "c"]
    assert "http" not in page
    assert len(content["items"]) == 50
    assert main(["review", "npy", "--output", str(inside / "page.html")]) == 0
    assert '"row":[["fruit_id","F' in (inside / "page.html").read_text()
    capsys.readouterr()
    assert main(["review", "npz", "--output", str(inside / "page.html")]) == 0
    assert "the examples are vectors, which the page cannot show" in " ".join(capsys.readouterr().out.split())
    assert main(["review", "folder", "--examples", "3", "--output", str(inside / "page.html")]) == 0
    assert (inside / "page.html").read_text().count("data:image/png;base64") == 3
    assert main(["train", "--dataset", "npz:names.npz", *SHORT, "--run-dir", str(inside / "new")]) == 0
    capsys.readouterr()
    for command in (["review"], ["clean", "--output", str(inside / "a.npz")]):
        assert main([command[0], str(inside / "new"), *command[1:]]) == 2
        assert "has no labels.csv yet; `python -m experiments audit" in capsys.readouterr().err


def test_two_stages_correct_and_train_again(inside, work, capsys):
    run = inside / "run"
    command = ["train", "--dataset", "npz:names.npz", *SHORT, "--two-stage", "--run-dir", str(run)]
    assert main(command) == 0
    output = " ".join(capsys.readouterr().out.split())
    judged = [row for row in lines(run / "labels.csv") if row["judged_wrong"] == "true"]
    assert f"second stage: {len(judged)} of 120 labels corrected" in output
    assert output.count("train accuracy, mean of the last 10 epochs") == 2
    corrected = np.load(run / "corrected.npy").tolist()
    for row in judged:
        assert corrected[int(row["index"])] == row["suggested_class"]
    second = json.loads((run / "second" / "summary.json").read_text())
    assert second["realised_noise"] is None
    assert second["config"]["data"]["corrections"] == str(run / "corrected.npy")
    # Asked again, both are finished, and the labels stay.
    assert main(command) == 0
    assert capsys.readouterr().out.count("already finished") == 2


def test_two_stages_under_drawn_noise_are_measured_against_clean_labels(inside, work, capsys):
    run = inside / "run"
    drawn = ["--noise", "symmetric", "--noise-rate", "0.1", "--two-stage", "--run-dir", str(run)]
    assert main(["train", "--epochs", "15", *drawn]) == 0
    rates = [
        json.loads((folder / "summary.json").read_text())["realised_noise"]["rate"][0]
        for folder in (run, run / "second")
    ]
    assert rates[1] < rates[0]
    assert main(["train", "--epochs", "15", "--seeds", "2", *drawn[:-1], str(inside / "other")]) == 2
    assert "--two-stage corrects one set of labels, and --noise draws one for each" in capsys.readouterr().err
    assert not (inside / "other").exists()
