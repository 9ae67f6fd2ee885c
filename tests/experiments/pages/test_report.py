"""The page as a parser and a reader of its source meet it; all runs but one are made by hand."""

import base64
import io
import itertools
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

from experiments import config
from experiments.__main__ import main
from experiments.data import sources
from experiments.data.options import Data
from experiments.pages import examples, plots, report, suspicious
from experiments.runs import contents, saved_model
from experiments.terminal import QUIET
from experiments.training import training_data

VOID = {"meta", "img", "br", "hr", "input", "link"}
NASTY = "<script>alert(1)</script>"
# Two seeds, three epochs.
ACCURACY = [[0.5, 0.7], [0.6, 0.8], [0.8, 0.9]]
LABELS = """rank,index,given_label,suggested_label,probability_wrong,file,given_class,suggested_class
1,3,1,0,0.987,a <b>.png,x,y
2,7,1,2,0.6,b&c.png,x,y
3,0,1,0,0.25,d.png,x,y
"""


class Page(HTMLParser):
    """What is in a page; raises AssertionError where elements do not close in the order they opened."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["text"]):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def attributes(self, name):
        return [own[name] for _, own in self.elements if name in own]


def page_of(path):
    """Reads a page and checks what holds for each."""
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    # Nothing from elsewhere, and nothing that runs.
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    assert all(where.startswith("data:image/") for where in page.attributes("src"))
    links = page.attributes("href") + page.attributes("xlink:href")
    links += [f"#{name}" for name in re.findall(r"url\(#([^)]*)\)", source)]
    assert all(where.startswith("#") for where in links)
    assert "@import" not in source
    assert source.count("url(") == source.count("url(#")
    assert "://" not in source
    # Identifiers differ, and are there where they are used.
    identifiers = page.attributes("id")
    assert len(set(identifiers)) == len(identifiers)
    assert {where[1:] for where in links} <= set(identifiers)
    # For those who do not see it.
    assert all(image["alt"] for image in page.all("img"))
    assert all(own.get("aria-label") or own.get("aria-hidden") for own in page.all("svg"))
    assert all("scope" in heading for heading in page.all("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels))
    return page


def make_run(folder, npz, *, finished=True, method="cross_entropy", class_names=("zero", NASTY, "two")):
    """A run folder without checkpoints."""
    experiment = config.Experiment(
        data=config.Data(dataset=f"npz:{npz}"),
        optimization=config.Optimization(epochs=3, batch_size=8),
        seeds=2,
    )
    record = config.as_record(method, experiment)
    record["resolved"] = training_data.resolved(sources.load(Data(f"npz:{npz}")), 60) | {
        "class_names": class_names
    }
    provenance = {"commit": "0123456789ab", "jax": "9.9.9", "machine": "Abacus"}
    history = [
        {
            "epoch": epoch,
            "train_loss": [1 / epoch, None],
            "train_accuracy": [0.4, 0.5],
            "memorised": [0.25, 0.75],
            "test_accuracy": accuracy,
            "test_recall": [[0.5, 1.0, None], [1.0, 1.0, None]],
        }
        for epoch, accuracy in enumerate(ACCURACY, 1)
    ]
    spread = {"mean": 0.1234, "sd": 0.0567, "per_seed": [0.0833, 0.1635]}
    summary = {
        **{"metric": "test_accuracy", "epochs": 3, "seeds": [0, 1], "config": record},
        **{
            "last": spread,
            "last_10_mean": spread | {"mean": 0.4321},
            "best_epoch": spread | {"mean": 0.8765},
        },
        "realised_noise": {"rate": [0.1, 0.2], "matrix": None},
        "provenance": provenance,
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"config": record, "provenance": provenance}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in history))
    if finished:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def audited(tmp_path_factory, tiny_npz):
    folder = make_run(tmp_path_factory.mktemp("report") / "run", tiny_npz)
    (folder / "labels.csv").write_text(LABELS)
    estimate = {"rate": 0.112, "low": 0.092, "high": 0.132}
    (folder / "audit.json").write_text(json.dumps({"estimated_noise_rate": estimate}))
    assert main(["report", str(folder), "--examples", "2"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(audited):
    return page_of(audited / "report.html")


def test_numbers_are_those_of_the_run(page, tiny_npz):
    assert f"npz:{tiny_npz}, labels as given, 2 seeds" in page.text
    assert "mean of the last 3 epochs 43.21 ± 5.67 %" in page.text
    assert "last epoch 12.34 ± 5.67 %" in page.text
    assert "best epoch (oracle) 87.65 ± 5.67 %" in page.text
    assert "wrong labels reproduced, last epoch 50.00 ± 35.36 %" in page.text
    assert "Wrong labels 15.00 ± 7.07 %" in page.text
    assert "0123456789ab, jax 9.9.9" in page.text
    # Recall: of a class by both seeds, and of one that the seeds have not been tested on.
    assert "zero 10 75.00 ± 35.36 %" in page.text
    assert "two 10 none to test" in page.text
    assert "on held-out examples" in page.text
    assert any("test from 0.6 to 0.85" in own.get("aria-label", "") for own in page.all("svg"))
    assert "has no checkpoint yet" in page.text


def image_of(data_uri):
    return Image.open(io.BytesIO(base64.b64decode(data_uri.partition(",")[2])))


def test_suspicious_images_are_those_of_the_audit(page, tiny_arrays):
    shown = [np.asarray(image_of(own["src"])) for own in page.all("img")]
    np.testing.assert_array_equal(np.stack(shown), tiny_arrays["train_images"][[3, 7]][..., 0])
    # The third is not asked for; of the three, the true labels tell that the second is right.
    answer = "2 of 3 labels look wrong; between 9.2% and 13.2% of all are"
    assert answer in page.text
    assert "These are the 2 most suspicious labels, each with given → suggested label" in page.text
    assert "Against the true labels, 1 of them is wrong." in page.text
    assert f"{NASTY} → zero no. 3 · 98.7 % a <b>.png ✓ wrong, is zero" in page.text
    assert f"{NASTY} → two no. 7 · 60.0 % b&c.png ✗ label is right" in page.text
    assert [own["alt"] for own in page.all("img")] == [
        f"Training example {index}, labelled {NASTY}" for index in (3, 7)
    ]


def test_an_unfinished_run_is_reported_as_far_as_it_went(tmp_path, tiny_npz, tiny_arrays):
    moved = tmp_path / "moved.npz"
    shutil.copy(tiny_npz, moved)
    folder = make_run(tmp_path / "run", moved, finished=False)
    moved.unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 4, "train_loss": [0.')
    untouched = (folder / "metrics.jsonl").read_bytes()
    output = tmp_path / "page.html"
    assert main(["report", str(folder), "--output", str(output)]) == 0
    page = page_of(output)
    assert "This run is not finished: 3 of 3 epochs are done." in page.text
    assert "The last line of metrics.jsonl is incomplete" in page.text
    assert f"The data cannot be loaded ({moved}: no such file)." in page.text
    # By hand, from ACCURACY.
    assert "mean of the last 3 epochs 71.67 ± 11.79 %" in page.text
    assert "last epoch 85.00 ± 7.07 %" in page.text
    assert f"python -m experiments audit {folder}" in page.text
    assert (folder / "metrics.jsonl").read_bytes() == untouched

    # Other data under the name; and before the first epoch.
    np.savez(moved, **{**tiny_arrays, "train_labels": tiny_arrays["train_clean_labels"]})
    (folder / "metrics.jsonl").unlink()
    assert main(["report", str(folder), "--output", str(output)]) == 0
    assert "is no longer what the run was trained on" in page_of(output).text
    assert "No epoch is finished yet" in page_of(output).text


def test_several_runs_are_compared(tmp_path, tiny_npz, monkeypatch):
    comparison = tmp_path / "comparison"
    make_run(comparison / "better", tiny_npz)
    worse = make_run(comparison / "worse", tiny_npz, finished=False)
    lines = [json.loads(line) for line in (worse / "metrics.jsonl").read_text().splitlines()]
    lines = [epoch | {"test_accuracy": [0.125, 0.125]} for epoch in lines]
    (worse / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in lines))
    (comparison / "config.json").write_text(json.dumps({"config": {"comparison": {}}, "provenance": {}}))
    monkeypatch.chdir(tmp_path)
    # A run that is in the comparison is not shown twice.
    assert main(["report", str(comparison), str(comparison / "worse")]) == 0
    page = page_of(tmp_path / "report.html")
    assert "Comparison of 2 runs" in page.text
    table = page.text.partition("wrong labels reproduced")[2].partition("Test accuracy, mean")[0].split()
    assert [word for word in table if word in ("better", "worse")] == ["better", "worse"]
    assert "43.21 ± 5.67 %" in " ".join(table)
    assert "12.50 ± 0.00 %" in " ".join(table)
    assert {"run-1", "run-2"} <= set(page.attributes("id"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "is not a run folder"),
        ("config.json", "{", "config.json: cannot be read"),
        (
            "config.json",
            '{"config": {"method": "x"}, "provenance": {}}',
            "expected the configuration of a run",
        ),
        ("config.json", '{"config": {"comparison": {}}}', "no run has begun yet"),
        ("metrics.jsonl", "not\nJSON\n", "metrics.jsonl: line 1 is damaged"),
        ("metrics.jsonl", '{"test_accuracy": [1]}\n{}\n', "metrics.jsonl: line 1 is damaged"),
        ("summary.json", "{}", "summary.json: expected the results of a run"),
        ("audit.json", '{"estimated_noise_rate": 0.2}', "expected an estimated_noise_rate with rate, low"),
        ("labels.csv", "a,b\n1,2\n", "labels.csv: row 1 has no column 'rank'"),
        ("labels.csv", LABELS + "4,one,0,1,0.1,,,\n", "labels.csv: row 5 has index 'one'"),
        ("labels.csv", LABELS + "4\n", "labels.csv: row 5 has index None"),
        (
            "labels.csv",
            LABELS + "4,1,0,3,0.1,,,\n",
            "row 5 has index 1 and labels 0 and 3; expected labels in",
        ),
        ("labels.csv", LABELS + "4,1,0,1,nan,,,\n", "row 5 has probability_wrong nan; expected 0 to 1"),
        ("labels.csv", LABELS + "4,60,0,1,0.1,,,\n", "row 5 has index 60; expected less than 60"),
        ("--output", "page.pdf", "expected a name that ends in .html"),
        ("--output", "/nowhere/page.html", "the folder /nowhere does not exist"),
        ("--examples", "-1", "--examples must be in [0, inf]"),
    ],
)
def test_mistakes_are_one_line(name, content, said, audited, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(audited, folder, ignore=shutil.ignore_patterns("report.html"))
    flags = [name, content] if name.startswith("--") else []
    if content is None:
        (folder / name).unlink()
    elif not flags:
        (folder / name).write_text(content)
    before = sorted(folder.iterdir())
    assert main(["report", str(folder), *flags]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(folder.iterdir()) == before


def test_without_a_run(capsys):
    assert main(["report"]) == 2
    assert "expected at least one RUN" in capsys.readouterr().err


def test_the_method_has_drawings_of_its_own(audited):
    epoch = {
        **{f"mixture_{name}": [[0.1, 2.0]] * 2 for name in ("means", "variances", "weights")},
        **{"probability_threshold": [0.1, 0.2], "tau": [10.0, 5.0]},
        **{f"{kind}_{group}": [0.25, 0.75] for kind in ("group", "fitting_ratio") for group in "abc"},
    }
    run = contents.read(audited)
    run = run._replace(history=[measured | epoch for measured in run.history])
    queue = np.linspace(0, 4, 16).reshape(2, 8), np.ones((2, 8), bool), 2
    predictions = contents.Predictions("", None, np.eye(3, dtype=int), queue)
    drawn = report.drawings("x", report.Known(run, None, predictions, []))
    words = {
        heading: [Page(own.element).all("svg")[0]["aria-label"] for own in drawn[heading]]
        for heading in drawn
    }
    assert words["Clipping threshold and mixture"] == [
        "probability below which is clipped over 3 epochs: threshold from 0.15 to 0.15",
        "largest slope left, tau over 3 epochs: tau from 7.5 to 7.5",
        "mean loss of the two components over 3 epochs: clean from 0.1 to 0.1; noisy from 2 to 2",
        "latest losses of the first seed: density of clean, weight 0.10, noisy, weight 2.00",
    ]
    assert words["Groups of gradient components"][0].startswith(
        "share of the components over 3 epochs: A, r > 1"
    )
    assert len(words["Groups of gradient components"]) == 2


def test_confusions_are_those_of_the_trained_model(tmp_path, tiny_npz):
    folder = tmp_path / "run"
    flags = ["--epochs", "1", "--batch-size", "8", "--width", "16", "--seeds", "2"]
    assert main(["train", "--dataset", f"npz:{tiny_npz}", "--run-dir", str(folder), *flags]) == 0
    assert main(["report", str(folder)]) == 0
    run = contents.read(folder)
    data = contents.load_data(run, QUIET)
    shown = page_of(folder / "report.html").text
    model = saved_model.restore(folder)
    chosen, on_test = (
        saved_model.probabilities(model, images).argmax(-1)
        for images in (data.dataset.train_images, data.dataset.test_images)
    )
    given = sklearn.metrics.confusion_matrix(data.given.ravel(), chosen.ravel(), normalize="true")
    right = sklearn.metrics.confusion_matrix(
        [*data.dataset.test_labels] * 2, on_test.ravel(), normalize="true"
    )
    for row_name, expected in (("true class", right), ("given label", given)):
        table = shown.partition(f"{row_name} 0 1 2 ")[2].split()
        rows = [[f"{100 * share:.0f}" for share in row] for row in expected]
        assert [table[i + 1 : i + 4] for i in (0, 4, 8)] == rows
    assert f"Test data, {100 * run.summary['last']['mean']:.1f} % right" in shown


def test_many_classes_are_a_picture_and_the_largest_confusions():
    pairs = np.diag(np.full(30, 90))
    pairs[3, 7], pairs[5, 5], pairs[5, 0] = 10, 0, 3
    shown = report.confusion(pairs, [f"c{i}" for i in range(30)])
    assert shown["rows"] is None
    assert shown["largest"] == [("c5", "c0", 1.0), ("c3", "c7", 0.1)]
    pixels = np.asarray(image_of(shown["picture"]))
    assert (pixels[0, 0], pixels[0, 1], pixels[3, 7], pixels[5, 5], pixels[5, 0]) == (0, 255, 229, 255, 0)
    assert shown["agreement"] == pytest.approx(29 * 90 / (29 * 90 + 13))
    # A class without examples.
    assert report.confusion(np.array([[2, 2], [0, 0]]), ["a", "b"])["rows"] == [
        ("a", [0.5, 0.5]),
        ("b", [0, 0]),
    ]


def test_features_are_no_images(tmp_path):
    rng = np.random.default_rng(0)
    features = tmp_path / "features.npz"
    np.savez(features, train_images=rng.normal(size=(60, 5)), train_labels=np.arange(60) % 3)
    folder = make_run(tmp_path / "run", features)
    (folder / "labels.csv").write_text(LABELS)
    assert main(["report", str(folder)]) == 0
    page = page_of(folder / "report.html")
    assert "The examples are neither pictures nor rows of a table" in page.text
    assert page.all("img") == []
    assert f"3 {NASTY} zero 98.7 % a <b>.png" in page.text


def test_the_answer_comes_first_and_the_settings_last(page):
    order = ["look wrong", "most suspicious labels", "What cleaning changes", "Accuracy", "Learning curves"]
    order += ["Settings", "Optimizer"]
    places = [page.text.index(words) for words in order]
    assert places == sorted(places)


def test_what_cleaning_changes_is_counted_by_classes(audited):
    run = contents.read(audited)
    rows = [contents.Suspect(2 + i, i, 0, 1 + i % 2, 0.9 - 0.1 * i, None) for i in range(9)]
    # Four of them are judged wrong; the fifth is at the cut.
    changes = suspicious.changes_of(rows, ["a", "b", "c"])
    assert changes == [("a", "b", 2), ("a", "c", 2)]
    estimated = {"estimated_noise_rate": {"rate": 0.1, "low": 0.05, "high": 0.2}, "learnt": True}
    against_given = {"metric": "validation_accuracy"}
    found = run._replace(audit=estimated, summary=against_given, suspects=rows)
    assert suspicious.answer(found) == "4 of 9 labels look wrong; between 5.0% and 20.0% of all are"
    assert "A model without any mistake would reach 80.0% to 95.0%" in suspicious.ceiling(found)
    assert suspicious.ceiling(found._replace(summary={"metric": "test_accuracy"})) is None
    unknown = found._replace(audit={"estimated_noise_rate": None, "learnt": False})
    assert suspicious.answer(unknown).startswith("The model has not learnt this task")
    assert suspicious.ceiling(unknown) is None
    assert suspicious.answer(found._replace(audit=None)) is None


def test_images_are_scaled_by_their_range_and_large_ones_to_less():
    np.testing.assert_array_equal(examples.as_bytes(np.float32([-1, 0, 3])), [0, 64, 255])
    np.testing.assert_array_equal(examples.as_bytes(np.full(2, 7.0)), [0, 0])
    large = image_of(examples.picture(np.zeros((400, 200, 3), np.uint8)))
    assert (large.format, large.size) == ("JPEG", (80, 160))


def test_a_drawing_takes_the_pages_text_colour_and_is_the_same_each_time():
    panel = plots.overlay({"a": [{"accuracy": [0.1, 0.3]}, {"accuracy": [0.5, 0.7]}]}, "accuracy")
    first, second = plots.svg(panel, "x"), plots.svg(panel, "x")
    assert first == second
    assert first.heading == "accuracy"
    assert 'aria-label="accuracy over 2 epochs: a from 0.2 to 0.6"' in first.element
    assert "currentColor" in first.element
    assert "#000000" not in first.element
    Page(first.element)
