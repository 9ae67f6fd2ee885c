import functools
import gc
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments.config import Data, Experiment, Model, Optimization, Placement
from experiments.data import sources
from experiments.runs import run_folder
from experiments.terminal import Progress, Stopped, UserError
from experiments.training import checkpoints, epoch_loops, loop, measurement, setup, steps, training_data
from noisy_optax.sklearn import fit_scaling, scaled

FILES = {"config.json", "metrics.jsonl", "summary.json", "results.csv", "curves.png", "checkpoints"}


def experiment(path, **changes):
    defaults = {
        "data": Data(dataset=f"npz:{path}"),
        "model": Model(width=16),
        "optimization": Optimization(epochs=4, batch_size=8),
        "checkpoint_every": 1,
    }
    return Experiment(**{**defaults, **changes})


def shipped(run_dir, tiny):
    """The newest checkpoint of a run on the tiny data."""
    dataset = sources.load(tiny.data)
    examples = round(len(dataset.train_images) * (1 - tiny.data.validation_fraction))
    parts = setup.assemble("cross_entropy", tiny, dataset.train_images.shape[1:], 3, examples)
    inputs = training_data.measure_inputs(dataset.train_images, scaling="none")
    parts = parts._replace(audited=len(dataset.train_images))
    expected = setup.shape_of_run(parts, tiny, inputs)
    saved = checkpoints.Checkpoints(run_dir / "checkpoints", read_only=True)
    return saved.restore(checkpoints.abstract(expected))


def assert_same(a, b):
    chex.assert_trees_all_equal(a, b)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_npz):
    """A finished run of `experiment(tiny_npz)`; tests that change it take a copy."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    loop.train("cross_entropy", experiment(tiny_npz), run_dir, Progress(Console(quiet=True)))
    return run_dir


@pytest.fixture
def run_dir(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def test_a_run_leaves_its_files_behind(finished):
    assert {path.name for path in finished.iterdir()} == FILES
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert set(lines[0]) == {
        "epoch", "train_loss", "train_accuracy", "train_clean_accuracy", "memorised", "test_accuracy",
        "test_recall",
    }  # fmt: skip
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["last"]["per_seed"] == lines[-1]["test_accuracy"]
    assert summary["realised_noise"]["rate"] == pytest.approx([0.1])
    assert summary["provenance"]["jax"] == jax.__version__
    assert summary["config"]["resolved"]["train_examples"] == 60


def test_the_same_command_again_trains_nothing(run_dir, tiny_npz, quiet, monkeypatch):
    monkeypatch.setattr(epoch_loops, "compile_loops", None)
    before = (run_dir / "summary.json").read_bytes()
    loop.train("cross_entropy", experiment(tiny_npz), run_dir, quiet)
    assert (run_dir / "summary.json").read_bytes() == before


def test_seeds_side_by_side_are_the_seeds_alone(tmp_path, tiny_npz, quiet):
    together = loop.train("cross_entropy", experiment(tiny_npz, seeds=3), tmp_path / "together", quiet)
    alone = loop.train(
        "cross_entropy", experiment(tiny_npz, seeds=1, first_seed=1), tmp_path / "alone", quiet
    )
    assert together["last"]["per_seed"][1] == alone["last"]["per_seed"][0]
    _, (state, *_) = shipped(tmp_path / "together", experiment(tiny_npz, seeds=3))
    _, (single, *_) = shipped(tmp_path / "alone", experiment(tiny_npz, seeds=1))
    # Not bit for bit: a batched matrix product may add up in another order.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b[0], rtol=2e-4, atol=2e-6), state.params, single.params
    )


def test_ogc_side_by_side_keeps_one_count_and_logs_its_threshold_per_seed(tmp_path, tiny_npz, quiet):
    method = "ogc:queue_size=40,update_every=2"
    loop.train(method, experiment(tiny_npz, seeds=2), tmp_path / "two", quiet)
    loop.train(method, experiment(tiny_npz, first_seed=1), tmp_path / "one", quiet)
    two, one = (run_folder.read_metrics(tmp_path / name, 4)[-1] for name in ("two", "one"))
    np.testing.assert_allclose(two["tau"][1], one["tau"][0], rtol=0.05)
    assert {path.name for path in (tmp_path / "two").iterdir()} == FILES | {"threshold.png", "mixture.png"}
    assert np.shape(two["mixture_means"]) == (2, 2)
    assert two["mixture_means"][0] != two["mixture_means"][1]


def test_a_second_gradient_and_the_groups_it_makes(tmp_path, tiny_npz, quiet):
    asked = experiment(tiny_npz, seeds=2, group_statistics=True, model=Model(width=16, norm="batch"))
    loop.train("generalized_cross_entropy+saner:rho=0.2", asked, tmp_path / "run", quiet)
    assert (tmp_path / "run" / "groups.png").read_bytes().startswith(b"\x89PNG")
    last = run_folder.read_metrics(tmp_path / "run", 4)[-1]
    shares = np.array([last[f"group_{name}"] for name in "abc"])
    assert shares.shape == (3, 2)
    assert np.all((shares >= 0) & (shares.sum(axis=0) <= 1 + 1e-6))
    assert np.all(shares[1] > 0)
    assert np.shape(last["fitting_ratio_b"]) == (2,)


@pytest.mark.parametrize("transformation", ["", "+saner"])
def test_which_pass_keeps_the_batch_statistics(transformation, tiny_npz):
    found = []
    for perturbed in (False, True):
        optimization = Optimization(epochs=4, batch_size=8, perturbed_statistics=perturbed)
        asked = experiment(tiny_npz, model=Model(width=16, norm="batch"), optimization=optimization)
        images = np.random.default_rng(0).random((8, 4, 4, 1), np.float32)
        parts = setup.assemble(f"cross_entropy{transformation}", asked, (4, 4, 1), 3, 60)
        state = steps.first_seed(parts, setup.initial_state(parts, training_data.seed_keys(asked)))
        step = jax.jit(functools.partial(steps.train_step, parts))
        state, _ = step(state, images, (np.arange(8) % 3).astype(np.int32))
        found.append(jax.tree.leaves(state.statistics))
    same = all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    assert same == (transformation == "")


def test_a_second_gradient_takes_the_same_step_as_by_hand(tiny_npz):
    """SAM on GCE against the formula: the gradient at w + rho g / |g|, momentum and decay added after."""
    asked = experiment(tiny_npz, optimization=Optimization(batch_size=8, gradient_norm_clip=None))
    rng = np.random.default_rng(0)
    images, labels = rng.random((8, 4, 4, 1), np.float32), (np.arange(8) % 3).astype(np.int32)
    parts = setup.assemble("generalized_cross_entropy+sam:rho=0.3", asked, (4, 4, 1), 3, 60)
    state = steps.first_seed(parts, setup.initial_state(parts, training_data.seed_keys(asked)))
    after, _ = jax.jit(lambda state: steps.train_step(parts, state, images, labels))(state)

    def loss(params):
        logits, _ = parts.network.apply(params, state.statistics, images, train=True)
        p = jax.nn.softmax(logits)[np.arange(8), labels]
        return jnp.mean((1 - p**0.7) / 0.7)

    first = jax.grad(loss)(state.params)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(first)))
    second = jax.grad(loss)(jax.tree.map(lambda w, g: w + 0.3 * g / norm, state.params, first))
    expected = jax.tree.map(lambda w, s: w - 0.1 * (s + 5e-4 * w), state.params, second)
    chex.assert_trees_all_close(after.params, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seeds", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_epoch_step_by_step_is_the_compiled_loop(seeds, tiny_npz):
    asked = experiment(tiny_npz, seeds=seeds)
    dataset = sources.load(asked.data)
    parts = setup.assemble("ogc:queue_size=16,update_every=2", asked, (4, 4, 1), 3, 60)
    inputs = training_data.measure_inputs(dataset.train_images, scaling="none")
    images, given = jnp.asarray(dataset.train_images), jnp.tile(dataset.train_labels[None], (seeds, 1))
    found = []
    for compile_epoch in (epoch_loops.compile_epoch_loop, epoch_loops.compile_stepwise_epoch):
        state = setup.initial_state(parts, training_data.seed_keys(asked))
        run_epoch = compile_epoch(parts, 8, seeds)
        found.append(run_epoch(state, inputs, images, given, training_data.seed_keys(asked)["order"]))
    chex.assert_trees_all_close(*found, rtol=1e-4, atol=1e-5)


# The storage library leaves the writes that it had not begun unfinished.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_full_disk_loses_no_more_than_what_is_being_written(tmp_path, tiny_npz, quiet, monkeypatch):
    asked = experiment(tiny_npz, model=Model(width=256), optimization=Optimization(epochs=2, batch_size=8))
    with pytest.raises(Stopped):
        loop.train("cross_entropy", asked, tmp_path / "run", quiet, Placement(stop_after=0))
    save, unlimited = checkpoints.Checkpoints.save, resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_with_little_room(*args):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, unlimited[1]))
        try:
            save(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "save", save_with_little_room)
        with pytest.raises(UserError, match=r"epoch 2 cannot be written \(File too large\); make room"):
            loop.train("cross_entropy", asked, tmp_path / "run", quiet)
    gc.collect()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["1"]
    loop.train("cross_entropy", asked, tmp_path / "run", quiet)
    loop.train("cross_entropy", asked, tmp_path / "whole", quiet)
    assert_same(*(shipped(tmp_path / name, asked)[1].state.params for name in ("run", "whole")))


def test_clean_labels_do_not_reach_the_parameters(tmp_path, tiny_npz, tiny_arrays, quiet):
    other = tmp_path / "other.npz"
    np.savez(other, **{**tiny_arrays, "train_clean_labels": (tiny_arrays["train_clean_labels"] + 1) % 3})
    runs = []
    for path in (tiny_npz, other):
        loop.train("cross_entropy", experiment(path), tmp_path / path.stem, quiet)
        runs.append(shipped(tmp_path / path.stem, experiment(path))[1].state.params)
    assert_same(*runs)


def test_one_epoch_is_the_protocol_in_numpy(tiny_npz):
    """Momentum, weight decay, norm clip, schedule and initial state against a second implementation."""
    optimization = Optimization(
        epochs=3, batch_size=8, learning_rate=0.3, gradient_norm_clip=0.5, weight_decay=0.02
    )
    tiny = experiment(tiny_npz, optimization=optimization)
    dataset = sources.load(tiny.data)
    parts = setup.assemble("cross_entropy", tiny, (4, 4, 1), 3, 60)
    inputs = training_data.measure_inputs(dataset.train_images, scaling="none")
    state = setup.initial_state(parts, training_data.seed_keys(tiny))
    run_epoch, _ = epoch_loops.compile_loops(parts, tiny)

    def weights(params):
        layers = [*(params["hidden"][i] for i in range(2)), params["head"]]
        return [
            np.asarray(layer[name][...], np.float64)[0] for layer in layers for name in ("kernel", "bias")
        ]

    w = weights(state.params)
    velocity = [np.zeros_like(x) for x in w]
    x_all, y_all = dataset.train_images.reshape(60, -1) / 255.0, dataset.train_labels
    given = jnp.asarray(y_all)[None]
    norms = []
    for epoch in range(2):
        key = jax.random.split(jax.random.key(epoch), 1)
        state, batches = run_epoch(state, inputs, jnp.asarray(dataset.train_images), given, key)
        rate = 0.3 * 0.5 * (1 + math.cos(math.pi * epoch / 3))
        indices = np.asarray(batches.indices[0])
        assert indices.shape == (7, 8)
        assert len(set(indices.ravel().tolist())) == 56
        for step, batch in enumerate(indices):
            x, y = x_all[batch], y_all[batch]
            h1 = np.maximum(x @ w[0] + w[1], 0)
            h2 = np.maximum(h1 @ w[2] + w[3], 0)
            z = h2 @ w[4] + w[5]
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            np.testing.assert_allclose(batches.loss[0, step], -np.log(p[range(8), y]).mean(), rtol=1e-4)
            dz = (p - np.eye(3)[y]) / 8
            dh2 = dz @ w[4].T * (h2 > 0)
            dh1 = dh2 @ w[2].T * (h1 > 0)
            gradient = [x.T @ dh1, dh1.sum(0), h1.T @ dh2, dh2.sum(0), h2.T @ dz, dz.sum(0)]
            norms.append(math.sqrt(sum((g**2).sum() for g in gradient)))
            scale = min(1.0, 0.5 / norms[-1])
            velocity = [0.9 * v + scale * g + 0.02 * x for v, g, x in zip(velocity, gradient, w, strict=True)]
            w = [x - rate * v for x, v in zip(w, velocity, strict=True)]
    # The norm clip is tested only if it acts in some steps and not in others.
    assert min(norms) < 0.5 < max(norms)
    for ours, theirs in zip(weights(state.params), w, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_selection_keeps_the_epoch_that_is_best_on_held_out_given_labels(tmp_path, tiny_npz, quiet):
    tiny = experiment(
        tiny_npz,
        data=Data(dataset=f"npz:{tiny_npz}", validation_fraction=0.2),
        optimization=Optimization(epochs=4, batch_size=8, learning_rate=3.0),
        select="validation",
        seeds=2,
    )
    loop.train("cross_entropy", tiny, tmp_path / "run", quiet)
    history = run_folder.read_metrics(tmp_path / "run", 4)
    _, run = shipped(tmp_path / "run", tiny)
    best = np.max([epoch["validation_accuracy"] for epoch in history], axis=0)
    np.testing.assert_allclose(run.selected.accuracy, best, rtol=1e-6)
    assert run_folder.read_config(tmp_path / "run")["resolved"]["train_examples"] == 48


def test_standardize_centres_and_scales_each_channel():
    images = np.random.default_rng(0).integers(0, 255, (50, 4, 4, 3)).astype(np.uint8)
    images[..., 1] = 7
    inputs = training_data.measure_inputs(images, scaling="standardize")
    seen = np.asarray(steps.prepare(inputs, jnp.asarray(images)))
    np.testing.assert_allclose(seen.mean((0, 1, 2)), [0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(seen.std((0, 1, 2)), [1, 0, 1], atol=1e-5)


@pytest.mark.parametrize("factors", [[1.0, 5.0, 20.0], [1.0, 1e3, 1e-3]])
def test_vectors_are_scaled_to_rows_of_norm_one_as_in_the_classifier(factors):
    vectors = 3 + np.random.default_rng(0).normal(size=(200, 3)) * factors
    vectors = np.concatenate([vectors, np.full((200, 1), 7.0)], axis=1).astype(np.float32)
    inputs = training_data.measure_inputs(vectors, scaling="auto")
    seen = np.asarray(steps.prepare(inputs, jnp.asarray(vectors)))
    np.testing.assert_allclose(np.mean(np.sum(seen**2, axis=1)), 1, rtol=1e-4)
    expected = scaled(fit_scaling(vectors.astype(np.float64)), vectors.astype(np.float64))
    # An offset of 3 in float32 is exact to 1e-7, which is 1e-4 of the smallest deviation.
    np.testing.assert_allclose(seen, expected, atol=1e-4)
    ratio = seen[:, :3].std(axis=0).max() / seen[:, :3].std(axis=0).min()
    np.testing.assert_allclose(ratio, 20 if max(factors) < 100 else 1, rtol=0.2)


def test_pictures_are_not_centred_by_default():
    pictures = np.random.default_rng(0).integers(0, 255, (9, 4, 4, 3)).astype(np.uint8)
    default, none = (training_data.measure_inputs(pictures, scaling=own) for own in ("auto", "none"))
    chex.assert_trees_all_equal(default, none)


def test_bytes_become_fractions_and_floats_stay():
    images = np.array([[0, 51, 255]], np.uint8)
    np.testing.assert_allclose(
        steps.prepare(training_data.measure_inputs(images, scaling="none"), images),
        [[0, 0.2, 1]],
        rtol=1e-6,
    )
    features = np.array([[-3.0, 7.0]], np.float32)
    seen = steps.prepare(training_data.measure_inputs(features, scaling="none"), features)
    np.testing.assert_array_equal(seen, features)


def test_another_configuration_is_refused_by_field(finished, tiny_npz, quiet):
    longer = experiment(tiny_npz, optimization=Optimization(epochs=5, batch_size=8))
    with pytest.raises(UserError, match=r"optimization\.epochs is 4 there, 5 here"):
        loop.train("cross_entropy", longer, finished, quiet)
    with pytest.raises(UserError, match="method is cross_entropy there, mean_absolute_error here"):
        loop.train("mean_absolute_error", experiment(tiny_npz), finished, quiet)


def test_changed_data_is_another_configuration(finished, tmp_path, tiny_arrays, quiet):
    changed = tmp_path / "changed.npz"
    np.savez(changed, **{**tiny_arrays, "train_labels": tiny_arrays["train_clean_labels"]})
    with pytest.raises(UserError, match=r"resolved\.data_hash is"):
        loop.train("cross_entropy", experiment(changed), finished, quiet)


def test_changed_data_under_the_same_name_is_said_first(tmp_path, tiny_arrays, quiet):
    file = tmp_path / "data.npz"
    np.savez(file, **tiny_arrays)
    asked = experiment(file)
    loop.train("cross_entropy", asked, tmp_path / "run", quiet)
    np.savez(file, **{**tiny_arrays, "train_labels": tiny_arrays["train_clean_labels"]})
    with pytest.raises(UserError, match=r"configuration \(the data in npz:.*data.npz have changed since"):
        loop.train("cross_entropy", asked, tmp_path / "run", quiet)


def test_no_norm_clip_can_be_resumed(tmp_path, tiny_npz, quiet):
    free = experiment(tiny_npz, optimization=Optimization(epochs=1, batch_size=8, gradient_norm_clip=None))
    first = loop.train("cross_entropy", free, tmp_path / "run", quiet)
    again = loop.train("cross_entropy", free, tmp_path / "run", quiet)
    assert again["last"] == first["last"]


def test_a_kill_while_the_config_was_written_is_forgiven(tmp_path):
    (tmp_path / "config.json.unfinished").write_text('{"con')
    run_folder.claim(tmp_path, {"a": (1, 2)})
    run_folder.claim(tmp_path, {"a": (1, 2)})
    assert run_folder.read_config(tmp_path) == {"a": [1, 2]}


@pytest.mark.parametrize("content", [b"{}", b"[]", b"\xff\xfe", b"{"])
def test_a_damaged_config_is_an_error(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json: (damaged|cannot be read)"):
        run_folder.claim(tmp_path, {"a": 1})


@pytest.mark.parametrize(("fraction", "missing"), [(0.001, "validate"), (0.999, "train")])
def test_a_split_without_examples_is_an_error(tmp_path, tiny_npz, quiet, fraction, missing):
    empty = experiment(tiny_npz, data=Data(dataset=f"npz:{tiny_npz}", validation_fraction=fraction))
    with pytest.raises(UserError, match=f"of 60 examples leaves none to {missing} on"):
        loop.train("cross_entropy", empty, tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, tiny_npz, quiet):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"is not empty and has no config\.json"):
        loop.train("cross_entropy", experiment(tiny_npz), tmp_path, quiet)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt"}


def test_a_batch_larger_than_the_data(tmp_path, tiny_npz, quiet):
    large = experiment(tiny_npz, optimization=Optimization(batch_size=61))
    with pytest.raises(UserError, match="--batch-size 61 is more than the 60 training examples"):
        loop.train("cross_entropy", large, tmp_path / "run", quiet)
    assert not (tmp_path / "run").exists()


def test_divergence_is_reported(tmp_path, tiny_npz, quiet):
    wild = experiment(
        tiny_npz,
        optimization=Optimization(epochs=2, batch_size=8, learning_rate=1e30, gradient_norm_clip=1e30),
    )
    with pytest.warns(UserWarning, match="training loss of seed 0 is not finite"):
        loop.train("cross_entropy", wild, tmp_path / "run", quiet)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["train_loss"] == [
        None
    ]


@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(finished, run_dir, tiny_npz, quiet, damage):
    tiny = experiment(tiny_npz)
    (run_dir / "summary.json").unlink()
    for file in (run_dir / "checkpoints" / "4").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10]) if damage == "truncate" else file.unlink()
    with pytest.warns(UserWarning, match="damaged checkpoint skipped"):
        loop.train("cross_entropy", tiny, run_dir, quiet)
    assert_same(shipped(run_dir, tiny), shipped(finished, tiny))
    assert [path.name.split("-")[0] for path in (run_dir / "damaged-checkpoints").iterdir()] == ["4"]
    assert (run_dir / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()


def test_nothing_but_damaged_checkpoints_is_an_error(run_dir, tiny_npz, quiet):
    (run_dir / "summary.json").unlink()
    for file in (run_dir / "checkpoints").rglob("*"):
        if file.is_file():
            file.unlink()
    with (
        pytest.warns(UserWarning, match="damaged checkpoint skipped"),
        pytest.raises(UserError, match=r"no checkpoint can be read; .* \(nothing was deleted\)"),
    ):
        loop.train("cross_entropy", experiment(tiny_npz), run_dir, quiet)


@pytest.mark.slow
def test_a_run_killed_three_times_ends_in_the_same_bits(tmp_path, tiny_npz, quiet):
    """Before the first checkpoint, between two, and while one is being written."""
    tiny = experiment(
        tiny_npz,
        data=Data(dataset=f"npz:{tiny_npz}", validation_fraction=0.2),
        model=Model(width=16, norm="batch"),
        optimization=Optimization(epochs=150, batch_size=8),
        select="validation",
        checkpoint_every=25,
        seeds=2,
    )
    flags = (
        f"--dataset npz:{tiny_npz} --validation-fraction 0.2 --width 16 --norm batch "
        f"--epochs 150 --batch-size 8 --select validation --checkpoint-every 25 --seeds 2 "
        f"--method cross_entropy"
    ).split()
    run_dir = tmp_path / "killed"
    command = [sys.executable, "-m", "experiments", "train", *flags, "--run-dir", str(run_dir)]
    # Five processes compile the same program: let them share it.
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def epochs_done():
        path = run_dir / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def unfinished_checkpoints():
        return list((run_dir / "checkpoints").glob("*tmp*"))

    def kill_when(condition):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        deadline = time.monotonic() + 120
        while not condition() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()

    kill_when(lambda: epochs_done() >= 3)
    assert epochs_done() < 25
    kill_when(lambda: epochs_done() >= 28)
    # On a busy machine the checkpoint may be whole before the signal arrives: then at the next one.
    for epoch in (50, 75, 100, 125):
        kill_when(lambda epoch=epoch: epochs_done() >= epoch and unfinished_checkpoints())
        if unfinished_checkpoints():
            break
    assert unfinished_checkpoints(), "killed too late to leave a half-written checkpoint"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

    loop.train("cross_entropy", tiny, tmp_path / "whole", quiet)
    epoch, killed = shipped(run_dir, tiny)
    assert epoch == 150
    assert_same(killed, shipped(tmp_path / "whole", tiny)[1])
    assert (run_dir / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert not unfinished_checkpoints()
    assert {path.name for path in run_dir.iterdir()} == FILES


def test_an_epoch_that_diverged_is_never_selected():
    """A model without numbers predicts the first class, which may be the right one most of the time."""
    state = SimpleNamespace(params={"w": np.array([2.0, 2.0])}, statistics={})
    before = setup.Selected({"w": np.ones(2)}, {}, np.array([0.5, 0.5], np.float32))
    measured = {"validation_accuracy": np.array([0.9, 0.9])}
    selected = measurement.select(before, state, measured, np.array([True, False]))
    np.testing.assert_array_equal(selected.params["w"], [2, 1])
    np.testing.assert_allclose(selected.accuracy, [0.9, 0.5])
