"""The command line as a person meets it; most cases in this process, a few through a real one."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.studies.__main__ import main as studies

FLAGS = ["--epochs", "2", "--batch-size", "8", "--width", "16"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_npz):
    run_dir = tmp_path_factory.mktemp("main") / "run"
    assert main(["train", "--dataset", f"npz:{tiny_npz}", *FLAGS, "--run-dir", str(run_dir)]) == 0
    return run_dir


def test_train_says_where_its_results_are(trained, capsys, tiny_npz):
    assert main(["train", "--dataset", f"npz:{tiny_npz}", *FLAGS, "--run-dir", str(trained)]) == 0
    said = capsys.readouterr().out
    assert f"results {trained / 'summary.json'}" in said
    assert f"picture {trained / 'curves.png'}" in said
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_predict_writes_a_label_per_example(trained, tiny_npz, tiny_arrays, capsys):
    assert main(["predict", str(trained), f"npz:{tiny_npz}"]) == 0
    with (trained / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["index"]) for row in rows] == list(range(30))
    predicted = np.array([int(row["label"]) for row in rows])
    accuracy = np.mean(predicted == tiny_arrays["test_labels"])
    assert f"accuracy against the labels in npz:{tiny_npz}: {accuracy:.2%}" in capsys.readouterr().out
    # The run measured the same model on the same images.
    summary = json.loads((trained / "summary.json").read_text())
    assert accuracy == pytest.approx(summary["last"]["mean"])


def test_predict_writes_probabilities_of_unlabelled_images(trained, tmp_path, tiny_arrays):
    np.savez(tmp_path / "new.npz", images=tiny_arrays["test_images"])
    output = tmp_path / "out.npz"
    assert main(["predict", str(trained), str(tmp_path / "new.npz"), "--output", str(output)]) == 0
    with np.load(output) as arrays:
        assert arrays["probabilities"].shape == (30, 3)
        np.testing.assert_allclose(arrays["probabilities"].sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(arrays["labels"], arrays["probabilities"].argmax(axis=1))


def test_predict_never_writes_over_the_data(trained, tiny_npz, capsys):
    before = tiny_npz.read_bytes()
    assert main(["predict", str(trained), f"npz:{tiny_npz}", "--output", str(tiny_npz)]) == 2
    assert "exists; nothing is overwritten" in capsys.readouterr().err
    assert tiny_npz.read_bytes() == before


def test_compare_ranks_its_methods(tmp_path, tiny_npz, capsys):
    run_dir = tmp_path / "compare"
    methods = ["cross_entropy", "generalized_cross_entropy:q=0.5"]
    flags = ["--dataset", f"npz:{tiny_npz}", *FLAGS, "--seeds", "2"]
    assert main(["compare", *flags, "--methods", *methods, "--run-dir", str(run_dir)]) == 0
    said = capsys.readouterr().out
    assert all(method in said for method in methods)
    assert "…" not in said
    summary = json.loads((run_dir / "summary.json").read_text())
    assert set(summary["methods"]) == set(methods)
    assert len(summary["methods"]["cross_entropy"]["last_10_mean"]["per_seed"]) == 2
    assert summary["methods"]["generalized_cross_entropy:q=0.5"]["hyperparameters"] == {
        "generalized_cross_entropy": {"q": 0.5}
    }
    assert (run_dir / "comparison.png").read_bytes().startswith(b"\x89PNG")
    # Flat features and no test set, through the same command.
    rng = np.random.default_rng(0)
    features = tmp_path / "features.npz"
    np.savez(features, train_images=rng.normal(size=(40, 5)), train_labels=np.arange(40) % 2)
    flags = [
        "--dataset",
        f"npz:{features}",
        *FLAGS,
        "--validation-fraction",
        "0.25",
        "--scaling",
        "standardize",
    ]
    flags += ["--figure-format", "pdf"]
    assert main(["compare", *flags, "--methods", "cross_entropy", "--run-dir", str(tmp_path / "flat")]) == 0
    assert json.loads((tmp_path / "flat" / "summary.json").read_text())["metric"] == "validation_accuracy"
    for picture in ("comparison.pdf", "cross_entropy/curves.pdf"):
        assert (tmp_path / "flat" / picture).read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["train", "--dataset", "npz:nowhere.npz"], "nowhere.npz: no such file"),
        (["train", "--dataset", "cifar"], "--dataset 'cifar' is not known"),
        (["train", "--method", "gce"], "no loss is called 'gce'"),
        (["train", "--noise", "symmetric"], "needs --noise-rate"),
        (["train", "--method", "phuber_cross_entropy:tau=1"], "tau must be in"),
        (["train", "--dataset", "TINY", "--model", "cnn", "--batch-size", "100"], "--batch-size 100 is more"),
        (["compare", "--methods", "cross_entropy", "cross_entropy"], "expected different methods"),
        (
            ["compare", "--methods", "phuber_cross_entropy:tau=10", "phuber_cross_entropy"],
            "different methods",
        ),
        (
            ["compare", "--methods", "cross_entropy", "generalized_cross_entropy:q=2"],
            "q must be in (0.0, 1.0]",
        ),
        (["compare", "--run-dir", "TRAINED", "--epochs", "1"], "holds a run of another configuration"),
        (["train", "--run-dir", "/dev/null/x", "--epochs", "1"], "/dev/null/x: Not a directory"),
        (["train", "--run-dir", "/proc/x", "--epochs", "1"], "/proc/x: "),
        (["compare", "--methods", "cross_entropy", "typo"], "no loss is called 'typo'"),
        (["train", "--method", "sam"], "expected LOSS or LOSS+TRANSFORMATION"),
        (["train", "--method", "cross_entropy+sam:rho=-1"], "rho must be in [0.0, inf)"),
        (["predict", "EMPTY", "digits"], "is not a run folder"),
        (["train", "--epoch", "3"], "unrecognized options: --epoch, 3; perhaps you meant --epochs"),
        (["train", "--epochs", "three"], "--epochs: invalid literal for int() with base 10: 'three'"),
        (["trian"], "unrecognized options: trian; expected train, compare, predict"),
        (["predict"], "missing from python -m experiments predict: RUN DATA; see"),
        (["predict", "TRAINED", "digits"], "is float32 [8, 8, 1], the run was trained on uint8 [4, 4, 1]"),
        (["predict", "TRAINED", "TINY", "--output", "x.txt"], "must end in .csv or .npz"),
        (["predict", "TRAINED", "TINY", "--output", "/nowhere/x.csv"], "cannot be written"),
    ],
)
def test_the_users_mistakes_are_one_line_and_exit_code_2(
    command, said, trained, tiny_npz, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    stand_ins = {"TINY": f"npz:{tiny_npz}", "TRAINED": str(trained), "EMPTY": str(tmp_path)}
    assert main([stand_ins.get(word, word) for word in command]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []
    assert main(["train", "--dataset", f"npz:{tiny_npz}", *FLAGS, "--run-dir", str(trained)]) == 0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["bench", "ogc", "--output", "/nowhere/x.json"], "the folder /nowhere does not exist"),
        (["bench", "ogc", "--blocks", "0"], "--blocks must be in"),
        (["regression", "--output", "/nowhere/x.json"], "the folder /nowhere does not exist"),
        (["audit-benchmark", "--folds", "1"], "--folds must be at least 2"),
        (["audit-benchmark", "--output", "/nowhere/x.json"], "the folder /nowhere does not exist"),
        (["results", "--only", "all"], "--only has all; expected some of none, symmetric-0.2, "),
    ],
)
def test_mistakes_with_a_study_are_one_line_too(command, said, capsys):
    assert studies(command) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1


def command(*args, cwd):
    return subprocess.run(
        [sys.executable, "-m", "experiments", *args], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_the_real_command(request):
    root = request.config.rootpath
    listing = command("--help", cwd=root)
    assert listing.returncode == 0
    assert all(name in listing.stdout for name in ("train", "compare", "predict"))
    mistake = command("train", "--dataset", "npz:nowhere.npz", cwd=root)
    assert (mistake.returncode, mistake.stdout) == (2, "")
    assert mistake.stderr == "error: nowhere.npz: no such file\n"
    typo = command("train", "--epoch", "3", cwd=root)
    assert typo.returncode == 2
    assert "--epochs" in typo.stderr + typo.stdout
    assert "Traceback" not in typo.stderr
