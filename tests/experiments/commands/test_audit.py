import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from sklearn.metrics import roc_auc_score

from experiments.__main__ import main
from experiments.commands import audit
from experiments.data.dataset import Dataset
from experiments.runs import contents, run_folder, saved_model
from experiments.studies.audit import ranking
from experiments.training import epoch_loops
from noisy_optax.audit import end_epoch, init, record

FLAGS = ["--method", "cross_entropy", "--batch-size", "8", "--width", "16"]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, tiny_npz):
    folder = tmp_path_factory.mktemp("audit") / "run"
    flags = ["--dataset", f"npz:{tiny_npz}", *FLAGS, "--epochs", "30", "--seeds", "2"]
    flags += ["--validation-fraction", "0.2"]
    assert main(["train", *flags, "--run-dir", str(folder)]) == 0
    return folder


def lines(folder):
    with (folder / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_mixture_of_equal_losses_accuses_nobody():
    assert (audit.from_mixture(np.zeros(5)) <= 0.5).all()
    low, high = audit.from_mixture(np.array([0.1, 0.2, 0.15, 4.0, 4.1]))[[0, 3]]
    assert low < 0.01 < 0.99 < high


def test_every_example_is_in_the_list_once_and_wrong_labels_are_at_its_head(run_dir, tiny_arrays, capsys):
    for method in ("mixture", "both", "dynamics"):
        assert main(["audit", str(run_dir), "--method", method]) == 0
        said, rows = capsys.readouterr().out, lines(run_dir)
        found = json.loads((run_dir / "audit.json").read_text())
        assert sorted(int(row["index"]) for row in rows) == list(range(60))
        assert [int(row["rank"]) for row in rows] == list(range(1, 61))
        assert found["method"] == method
        assert f"{found['auroc']:.3f}" in said
    given, clean = tiny_arrays["train_labels"], tiny_arrays["train_clean_labels"]
    head = [int(row["index"]) for row in rows[:6]]
    assert len(set(head) & set(range(6))) >= 5
    assert sum(int(row["suggested_label"]) == clean[int(row["index"])] for row in rows) >= 54
    assert [int(row["given_label"]) for row in rows] == [given[int(row["index"])] for row in rows]
    wrong = [float(row["probability_wrong"]) for row in rows]
    assert wrong == sorted(wrong, reverse=True)
    assert found["auroc"] == pytest.approx(
        roc_auc_score((given != clean)[[int(row["index"]) for row in rows]], wrong), abs=1e-3
    )
    rate = found["estimated_noise_rate"]
    assert rate["low"] <= 0.1 <= rate["high"]
    judged = [row["judged_wrong"] for row in rows]
    assert judged == ["true" if p > 0.5 else "false" for p in wrong]
    assert f"{judged.count('true')} of 60 labels" in said
    assert f"an estimated {rate['low']:.1%} to {rate['high']:.1%} of all are" in said
    assert found["judged_wrong"] == judged.count("true")
    with np.load(run_dir / "audit.npz") as arrays:
        assert {name: (arrays[name].shape, arrays[name].dtype) for name in arrays.files} == {
            "given_labels": ((60,), np.int32),
            "probabilities": ((60, 3), np.float32),
            "probability_wrong": ((60,), np.float32),
        }
        np.testing.assert_array_equal(arrays["given_labels"], given)


def test_held_out_examples_are_measured_after_the_epoch(tmp_path, tiny_npz, tiny_arrays):
    flags = ["--dataset", f"npz:{tiny_npz}", *FLAGS, "--epochs", "1", "--validation-fraction", "0.2"]
    assert main(["train", *flags, "--run-dir", str(tmp_path / "run")]) == 0
    run = saved_model.restore(tmp_path / "run")
    held_out = np.sort(np.random.default_rng(0).permutation(60)[:12])
    p = saved_model.probabilities(run, tiny_arrays["train_images"][held_out])
    given = tiny_arrays["train_labels"][held_out]
    own = p[0, np.arange(12), given]
    others = p[0].copy()
    others[np.arange(12), given] = 0
    # The examples that are trained on come first.
    dynamics = run.state.training.audit
    np.testing.assert_allclose(
        dynamics.margin[0, 48:] / dynamics.weight[0, 48:], own - others.max(axis=1), rtol=1e-3
    )
    np.testing.assert_array_equal(dynamics.vote[0, 48:], p[0].argmax(axis=-1))
    history, _ = contents.read_history(tmp_path / "run" / "metrics.jsonl")
    predicted = np.mean(dynamics.latest_margin[0, :48] > 0)
    np.testing.assert_allclose(predicted, history[0]["train_accuracy"][0], rtol=1e-6)
    assert dynamics.epochs == 1


def test_a_model_that_has_not_learnt_is_said_first_and_estimates_nothing(tmp_path, capsys):
    rng = np.random.default_rng(0)
    images = (255 * rng.random((60, 4))).astype(np.float32)
    np.savez(tmp_path / "big.npz", train_images=images, train_labels=np.arange(60) % 3)
    flags = ["--dataset", f"npz:{tmp_path / 'big.npz'}", *FLAGS, "--epochs", "3", "--learning-rate", "1"]
    assert main(["train", *flags, "--run-dir", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["audit", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("the model has not learnt this task: it almost never predicts")
    assert "the share of wrong labels is not estimated" in said
    assert "%" not in said
    found = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert (found["learnt"], found["estimated_noise_rate"], found["judged_wrong"]) == (False, None, 0)
    assert {row["probability_wrong"] for row in lines(tmp_path / "run")} == {"0.500000"}
    assert main(["audit", str(tmp_path / "run"), "--method", "mixture"]) == 0
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["judged_wrong"] == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    assert "has not learnt this task" in (tmp_path / "run" / "report.html").read_text()


def test_a_short_run_and_a_wide_interval_are_said():
    rate = {"rate": 0.2, "low": 0.0, "high": 0.4}
    first, wide, short = audit.in_words(rate, 3, 1000, 4)
    assert first.startswith("3 of 1,000 labels (0.3%) are judged wrong; an estimated 0.0% to 40.0% of all")
    assert "mistakes of the model would look the same as wrong labels" in wide
    assert "recorded 4 epochs" in short
    assert len(audit.in_words(rate | {"low": 0.31}, 3, 1000, 10)) == 1


def test_a_folder_of_a_fold_is_audited_in_its_own_order(run_dir, tiny_arrays):
    assert main(["audit", str(run_dir), "--folds", "3"]) == 0
    folder = run_dir / "folds" / "3" / "1"
    assert main(["audit", str(folder)]) == 0
    rows = lines(folder)
    assert [int(row["given_label"]) for row in rows] == [
        tiny_arrays["train_labels"][int(row["index"])] for row in rows
    ]
    assert len({int(row["index"]) for row in rows[:6]} & set(range(6))) >= 5


def test_folds_are_trained_once_and_never_on_what_they_judge(run_dir, tiny_arrays, monkeypatch):
    command = ["audit", str(run_dir), "--folds", "3"]
    assert main(command) == 0
    found = (run_dir / "labels.csv").read_bytes()
    monkeypatch.setattr(epoch_loops, "compile_loops", None)
    assert main(command) == 0
    assert (run_dir / "labels.csv").read_bytes() == found
    records = [json.loads((run_dir / "folds" / "3" / k / "config.json").read_text()) for k in "012"]
    resolved = [record["config"]["resolved"] for record in records]
    assert [(own["fold"], own["train_examples"]) for own in resolved] == [([k, 3], 40) for k in range(3)]
    last = saved_model.restore(run_dir / "folds" / "3" / "2")
    held_out = np.sort(np.random.default_rng(0).permutation(60)[40:])
    with np.load(run_dir / "audit.npz") as arrays:
        expected = saved_model.probabilities(last, tiny_arrays["train_images"][held_out]).mean(axis=0)
        np.testing.assert_allclose(arrays["probabilities"][held_out], expected, rtol=1e-4, atol=1e-6)


def test_files_and_classes_have_names(tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    run = str(tmp_path / "run")
    assert (
        main(["train", "--dataset", f"folder:{tmp_path / 'data'}", *FLAGS, "--epochs", "1", "--run-dir", run])
        == 0
    )
    assert main(["audit", run]) == 0
    rows = lines(tmp_path / "run")
    assert {row["file"] for row in rows} == {f"{name}/{i}.png" for name in "ab" for i in range(8)}
    assert all(row["file"].startswith(row["given_class"]) for row in rows)
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["auroc"] is None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["audit", "nowhere"], "nowhere is not a run folder"),
        (["audit", "RUN", "--folds", "1"], "--folds must be from 2 to 60"),
        (["audit", "RUN", "--folds", "61"], "--folds must be from 2 to 60"),
        (["audit", "RUN", "--seed", "7"], "--seed must be from 0 to 1"),
    ],
)
def test_mistakes_are_one_line(command, said, run_dir, capsys):
    assert main([str(run_dir) if word == "RUN" else word for word in command]) == 2
    assert said in capsys.readouterr().err


def test_data_that_changed_and_a_run_without_a_checkpoint(tmp_path, tiny_arrays, capsys):
    data, run = tmp_path / "data.npz", tmp_path / "run"
    np.savez(data, **tiny_arrays)
    assert main(["train", "--dataset", f"npz:{data}", *FLAGS, "--epochs", "1", "--run-dir", str(run)]) == 0
    np.savez(data, **{**tiny_arrays, "train_images": tiny_arrays["train_images"][::-1]})
    before = {path.name for path in run.iterdir()}
    assert main(["audit", str(run)]) == 2
    assert "the data have changed since" in capsys.readouterr().err
    data.unlink()
    assert main(["audit", str(run)]) == 2
    assert "no such file" in capsys.readouterr().err
    for path in sorted((run / "checkpoints").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert main(["audit", str(run)]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert {path.name for path in run.iterdir()} == before


def test_cleanlabs_scores():
    """cleanlab 2.9's `get_label_quality_scores` without adjustment gives these."""
    probabilities, given = np.array([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2]]), np.array([0, 2])
    np.testing.assert_allclose(ranking.self_confidence(probabilities, given), [0.7, 0.2])
    np.testing.assert_allclose(ranking.normalized_margin(probabilities, given), [0.75, 0.35])


def evidence_of(given, clean):
    """What seeds 5 and 6 know of 60 examples: both have learnt the task, each in its own way."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(3 * np.eye(3)[clean] + rng.normal(size=(2, 60, 3)), jnp.float32)

    def dynamics(logits, given):
        return end_epoch(record(init(60), jnp.arange(60), logits, given))

    found = jax.jit(jax.vmap(dynamics))(logits, jnp.asarray(given))
    other = rng.permuted(logits, axis=1)
    return audit.Evidence(range(5, 7), given, clean, np.asarray(jax.nn.softmax(other)), found)


def wrong_in(*places):
    """Labels of 60 examples, and for each seed the same with some of its own changed."""
    clean = (np.arange(60) % 3).astype(np.int32)
    given = np.stack([clean] * len(places))
    for labels, some in zip(given, places, strict=True):
        labels[some] = (labels[some] + 1) % 3
    return given, clean


def written(folder, evidence, monkeypatch, method, seed):
    """The list, the arrays and the findings of an audit."""
    folder.mkdir()
    run_folder.write_json(folder / "config.json", {"config": {}})
    dataset = Dataset(np.zeros((60, 1), np.float32), evidence.clean, evidence.clean, None, None, 3)
    monkeypatch.setattr(audit, "collect", lambda *_: (dataset, evidence))
    found = audit.audit(folder, None, method, seed, Console(quiet=True))
    with np.load(folder / "audit.npz") as arrays:
        return lines(folder), {name: arrays[name].tolist() for name in arrays.files}, found


@pytest.mark.parametrize("method", ["dynamics", "both"])
def test_an_audit_of_one_seed_is_that_of_a_run_of_this_seed_alone(tmp_path, monkeypatch, method):
    evidence = evidence_of(*wrong_in(np.arange(5), np.arange(20, 30)))
    alone = evidence._replace(
        seeds=range(6, 7),
        given=evidence.given[1:],
        probabilities=evidence.probabilities[1:],
        dynamics=jax.tree.map(lambda x: x[1:], evidence.dynamics),
    )
    asked = written(tmp_path / "asked", evidence, monkeypatch, method, 6)
    expected = written(tmp_path / "expected", alone, monkeypatch, method, None)
    assert asked == expected
    rows, arrays, found = asked
    assert (found["seed"], found["seeds"], arrays["given_labels"]) == (6, [6], evidence.given[1].tolist())
    assert found["auroc"] > 0.7
    first, _, found = written(tmp_path / "first", evidence, monkeypatch, method, None)
    assert (found["seed"], found["seeds"]) == (5, [5])
    assert first != rows


def test_seeds_that_share_their_labels_are_judged_together():
    given, clean = wrong_in(np.arange(5), np.arange(5))
    evidence = evidence_of(given, clean)
    assert audit.choose_seeds(evidence, None) == [0, 1]
    assert audit.choose_seeds(evidence, 6) == [1]
    both, second = (audit.judge(evidence, chosen, "mixture") for chosen in ([0, 1], [1]))
    for verdict, p in ((both, evidence.probabilities.mean(axis=0)), (second, evidence.probabilities[1])):
        np.testing.assert_allclose(verdict.score, -np.log(p[np.arange(60), given[0]]), rtol=1e-5)


def test_what_no_epoch_weighed_is_judged_by_the_final_model():
    given, clean = wrong_in(np.arange(5))
    dynamics = jax.tree.map(lambda x: x[0], evidence_of(np.tile(given, (2, 1)), clean).dynamics)
    unseen = dynamics._replace(weight=dynamics.weight.at[7].set(0))
    p = np.full((60, 3), 0.1, np.float32)
    p[:, 2] = 0.8
    found = jax.jit(audit.with_final)(unseen, jnp.asarray(p), jnp.asarray(given[0]))
    np.testing.assert_allclose(found.latest_margin[7], -0.7, rtol=1e-5)
    np.testing.assert_array_equal(np.delete(found.latest_margin, 7), np.delete(dynamics.latest_margin, 7))
