import io
import json
import os
import resource
import threading
import time
from types import SimpleNamespace

import chex
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from experiments.__main__ import main
from experiments.config import Data, Experiment, Model, Optimization
from experiments.data import array_files, cache, sources, stream
from experiments.data.dataset import Stream
from experiments.runs import run_folder
from experiments.terminal import UserError
from experiments.training import checkpoints, epoch_loops, loop, setup, steps, training_data

pytestmark = pytest.mark.usefixtures("own_cache")


def counting(read=None, count=100):
    """Images that say which they are."""
    read = read or (lambda indices: indices.astype(np.float32)[:, None])
    return Stream((count, 1), np.dtype(np.float32), read, "test")


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_batches_come_in_order_whichever_is_read_first():
    order = np.random.default_rng(0).permutation(100).reshape(20, 5)

    def slow_at_times(indices):
        time.sleep(0.002 * (indices[0] % 3))
        return indices.astype(np.float32)[:, None]

    with stream.prefetch(counting(slow_at_times), order, depth=6, workers=4) as batches:
        np.testing.assert_array_equal(np.stack(list(batches))[..., 0], order)
    assert not prefetching()


def test_no_more_is_read_ahead_than_was_asked_for():
    started = []

    def noted(indices):
        started.append(indices[0])
        return indices.astype(np.float32)[:, None]

    with stream.prefetch(counting(noted), np.arange(50).reshape(50, 1), depth=3, workers=8) as batches:
        next(batches)
        next(batches)
        time.sleep(0.05)
        assert len(started) <= 5


def test_threads_end_with_the_with_however_it_ends():
    order = np.arange(100).reshape(50, 2)
    with stream.prefetch(counting(), order) as batches:
        next(batches)
    assert not prefetching()
    with pytest.raises(KeyError), stream.prefetch(counting(), order) as batches:
        raise KeyError(next(batches).shape)
    assert not prefetching()


def test_what_a_read_raises_comes_where_its_batch_would():
    def failing(indices):
        if 6 in indices:
            raise UserError("x.png: damaged")
        return indices

    with stream.prefetch(counting(failing), np.arange(20).reshape(10, 2)) as batches:
        got = [next(batches) for _ in range(3)]
        np.testing.assert_array_equal(got, np.arange(6).reshape(3, 2))
        with pytest.raises(UserError, match="damaged"):
            next(batches)
    assert not prefetching()


def test_a_part_of_a_part_and_chunks():
    part = stream.take(stream.take(counting(), np.arange(50, 100)), np.array([3, 1, 4, 1, 5]))
    assert part.shape == (5, 1)
    np.testing.assert_array_equal(np.concatenate(list(stream.chunks(part, 2)))[:, 0], [53, 51, 54, 51, 55])
    assert [len(chunk) for chunk in stream.chunks(part, 2)] == [2, 2, 1]
    np.testing.assert_array_equal(stream.read_all(part, lambda _: None)[:, 0], [53, 51, 54, 51, 55])


# The sources: what they stream is what they load.


def image_folder(root, tiny_arrays):
    for part in ("train", "test"):
        for i, (image, label) in enumerate(
            zip(tiny_arrays[f"{part}_images"], tiny_arrays[f"{part}_labels"], strict=True)
        ):
            path = root / part / "abc"[label] / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(path)
    return f"folder:{root}"


class NoxStreamed(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    code_path = None

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(4, 4, 1)),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

    def _generate_examples(self, seed):
        for i, pixels in enumerate(np.random.default_rng(seed).integers(0, 256, (60, 4, 4), np.uint8)):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            yield i, {"image": buffer.getvalue(), "label": i % 3}


@pytest.fixture(params=["npz", "float npz", "folder", "tfds"])
def source(request, tmp_path, tiny_npz, tiny_arrays):
    """Name of a data set, and what else `sources.load` takes."""
    if request.param == "npz":
        return f"npz:{tiny_npz}", {}
    if request.param == "float npz":
        images = {name: np.asfortranarray(tiny_arrays[name] / 7) for name in ("train_images", "test_images")}
        np.savez(tmp_path / "floats.npz", **{**tiny_arrays, **images})
        return f"npz:{tmp_path / 'floats.npz'}", {}
    if request.param == "folder":
        return image_folder(tmp_path / "images", tiny_arrays), {"image_size": 5}
    tfds.disable_progress_bar()
    NoxStreamed(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    return "tfds:nox_streamed", {"data_dir": str(tmp_path)}


def test_a_stream_reads_what_is_loaded(source):
    name, options = source
    loaded, opened = sources.load(Data(name, **options)), sources.load(Data(name, stream=True, **options))
    for part in ("train_images", "test_images"):
        array, images = getattr(loaded, part), getattr(opened, part)
        assert (images.shape, images.dtype) == (array.shape, array.dtype)
        chosen = np.array([7, 3, 3, 29])
        np.testing.assert_array_equal(images.read(chosen), array[chosen])
    np.testing.assert_array_equal(opened.train_labels, loaded.train_labels)
    np.testing.assert_array_equal(opened.test_labels, loaded.test_labels)
    assert opened.num_classes == loaded.num_classes
    assert opened.class_names == loaded.class_names


def test_an_array_of_a_file_is_not_read_before_it_is_needed(tiny_npz, monkeypatch):
    monkeypatch.setattr(
        array_files, "_array", lambda path, archive, name: archive[name] if "labels" in name else None
    )
    assert isinstance(array_files.load(tiny_npz, streamed=True).train_images, Stream)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path, arrays: np.savez(path, **{**arrays, "train_images": np.full((60, 3), np.inf)}),
         "train_images has a value that is not a finite float32 at index 0"),
        (lambda path, arrays: np.savez(path, **{**arrays, "train_images": np.array([{}] * 60, object)}),
         "'train_images' cannot be read"),
        (lambda path, arrays: np.savez(path, **{**arrays, "train_images": np.zeros((60, 4), complex)}),
         "must be numbers, got complex"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_streamed(tmp_path, tiny_arrays, change, said):
    change(tmp_path / "a.npz", tiny_arrays)
    with pytest.raises(UserError, match=said):
        sources.load(Data(f"npz:{tmp_path / 'a.npz'}", stream=True))


def test_images_of_a_file_are_copied_once_and_anew_when_it_changes(tmp_path, tiny_arrays):
    path, said = tmp_path / "a.npz", []
    images = tiny_arrays["train_images"]

    def streamed():
        progress = SimpleNamespace(say=said.append)
        return array_files.load(path, progress, streamed=True).train_images.read(np.arange(len(images)))

    def copies():
        return [file.name for file in cache.folder().glob("*/*")]

    np.savez_compressed(path, train_images=images, train_labels=tiny_arrays["train_labels"])
    for _ in range(2):
        np.testing.assert_array_equal(streamed(), images)
    assert said == [f"{path}: copying train_images once"]
    first = copies()
    # The new file is as old.
    state = path.stat()
    np.savez(path, train_images=images[::-1], train_labels=tiny_arrays["train_labels"])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    np.testing.assert_array_equal(streamed(), images[::-1])
    assert len(copies()) == 1
    assert copies() != first
    (copy,) = cache.folder().glob("*/*.npy")
    copy.write_bytes(copy.read_bytes()[:-1])
    np.testing.assert_array_equal(streamed(), images[::-1])
    assert len(said) == 3


def test_a_copy_that_finds_no_room_is_one_line_and_leaves_nothing(tmp_path, tiny_npz, capsys):
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, unlimited[1]))
    try:
        code = main(["train", "--dataset", f"npz:{tiny_npz}", "--stream", "--run-dir", str(tmp_path / "run")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert code == 2
    assert "cannot be written (File too large); make room, or name another" in capsys.readouterr().err
    assert [file for file in cache.folder().rglob("*") if file.is_file()] == []


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"\x93NUMPY", b"\x93NAMPY")]
)
def test_a_damaged_file_leaves_no_copy(tmp_path, tiny_npz, damage):
    path = tmp_path / "damaged.npz"
    path.write_bytes(damage(tiny_npz.read_bytes()))
    with pytest.raises(UserError, match=r"damaged.npz: .*cannot be read"):
        array_files.load(path, streamed=True)
    assert list(cache.folder().rglob("*.npy*")) == []


def test_what_does_not_go_with_a_stream(tmp_path, tmp_path_factory, tiny_arrays, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path_factory.mktemp("clean") / "clean.npz"
    np.savez(path, **{**tiny_arrays, "train_labels": tiny_arrays["train_clean_labels"]})
    for flags, said in (
        (["--dataset", "digits"], "digits is in memory, leave it out"),
        (["--seeds", "2"], "--stream reads the batches of one seed, got --seeds 2"),
        (["--noise", "instance", "--noise-rate", "0.2"], "--noise instance looks at all images at once"),
    ):
        assert main(["train", "--dataset", f"npz:{path}", "--stream", *flags]) == 2
        assert said in capsys.readouterr().err
    assert main(["train", "--checkpoint-every-steps", "5"]) == 2
    assert "--checkpoint-every-steps needs --stream" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# Training.


def experiment(path, model="mlp", *, stream=True, every=None, **data):
    return Experiment(
        data=Data(dataset=f"npz:{path}", stream=stream, **data),
        model=Model(model=model, width=16),
        optimization=Optimization(epochs=2, batch_size=8),
        checkpoint_every=2,
        checkpoint_every_steps=every,
    )


METHOD = "cross_entropy"


def final(run_dir, asked):
    parts = setup.assemble(METHOD, asked, (4, 4, 1), 3, round(60 * (1 - asked.data.validation_fraction)))
    inputs = steps.Inputs(np.zeros(1, np.float32), np.zeros(1, np.float32))
    expected = setup.shape_of_run(parts._replace(audited=60), asked, inputs)
    return checkpoints.Checkpoints(run_dir / "checkpoints", read_only=True).restore(
        checkpoints.abstract(expected)
    )


def assert_same_run(first, second, asked):
    (epoch, a), (other, b) = final(first, asked), final(second, asked)
    assert epoch == other == 2
    chex.assert_trees_all_equal(a, b)
    assert (first / "metrics.jsonl").read_text() == (second / "metrics.jsonl").read_text()


def test_a_streamed_epoch_is_the_epoch_in_memory_to_the_bit(tiny_npz):
    loaded, opened = (sources.load(Data(f"npz:{tiny_npz}", stream=lazily)) for lazily in (False, True))
    asked = experiment(tiny_npz)
    parts = setup.assemble(METHOD, asked, (4, 4, 1), 3, 60)
    given, keys = jnp.asarray(loaded.train_labels)[None], training_data.seed_keys(asked)["order"]
    found = []
    run_epoch = epoch_loops.compile_stepwise_epoch(parts, 8, 1)
    for images in (loaded.train_images, opened.train_images):
        inputs = training_data.measure_inputs(images, scaling="standardize")
        state = setup.initial_state(parts, training_data.seed_keys(asked))
        images = images if isinstance(images, Stream) else jnp.asarray(images)
        found.append((inputs, run_epoch(state, inputs, images, given, keys)))
    chex.assert_trees_all_equal(*found)


def test_a_run_killed_within_an_epoch_ends_in_the_same_bits(tmp_path, tiny_npz, quiet, monkeypatch):
    asked = experiment(tiny_npz, every=5)
    monkeypatch.setattr(loop, "plot", lambda *_: None)
    run_dir = tmp_path / "run"
    taken = []

    def killed_after(number):
        """The step of the whole run at which training stops; the batch of every step is noted."""
        compiled = epoch_loops.compile_stepwise_epoch

        def compile_epoch(parts, batch_size, num_seeds):
            run_epoch = compiled(parts, batch_size, num_seeds)

            def noted(*args, keep, **options):
                def stop(step, state, done):
                    keep(step, state, done)
                    taken.append(step)
                    if len(taken) == number:
                        raise KeyboardInterrupt

                return run_epoch(*args, keep=stop, **options)

            return noted

        return compile_epoch

    # Seven steps an epoch: killed after the fifth of the second, resumed after the third.
    with monkeypatch.context() as patch:
        patch.setattr(epoch_loops, "compile_stepwise_epoch", killed_after(6 + 5))
        with pytest.raises(KeyboardInterrupt):
            loop.train(METHOD, asked, run_dir, quiet)
    assert {path.name for path in (run_dir / "checkpoints-within-epochs").iterdir()} == {"5", "10"}
    assert len(run_folder.read_metrics(run_dir, 1)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(epoch_loops, "compile_stepwise_epoch", killed_after(None))
        loop.train(METHOD, asked, run_dir, quiet)
    assert taken == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 4, 5, 6]
    loop.train(METHOD, experiment(tiny_npz), tmp_path / "whole", quiet)
    assert_same_run(run_dir, tmp_path / "whole", asked)
    assert not (run_dir / "checkpoints-within-epochs").exists()
    assert json.loads((run_dir / "summary.json").read_text())["epochs"] == 2
