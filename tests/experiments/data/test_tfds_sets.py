import importlib.util
import io
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from experiments.__main__ import main
from experiments.data import sources, tfds_sets
from experiments.data.options import Data
from experiments.terminal import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


def pixels(i, shape=(6, 5, 3)):
    return np.random.default_rng(i).integers(0, 256, shape, np.uint8)


def encoded(array):
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(buffer, "PNG")
    return buffer.getvalue()


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    # TFDS would look it up with importlib_resources, which only the extra `prepare` brings.
    code_path = None
    FEATURES = tfds.features.FeaturesDict({})

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(self.FEATURES))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 20), "test": self._generate_examples(100, 7)}

    def _generate_examples(self, first, count):
        for i in range(count):
            example = {
                "image": encoded(self.image(first + i)),
                "label": i % 3,
                "id": f"no{i:03d}",
                "coarse_label": 0,
            }
            yield i, {name: example[name] for name in self.FEATURES}

    def image(self, i):
        return pixels(i)


LABEL = tfds.features.ClassLabel(names=["ant", "bee", "cat"])


class NoxTiny(_Builder):
    FEATURES = {
        "id": tfds.features.Text(),
        "image": tfds.features.Image(shape=(6, 5, 3)),
        "label": LABEL,
        "coarse_label": tfds.features.ClassLabel(num_classes=2),
    }


class NoxGreyWithoutIds(_Builder):
    FEATURES = {
        "image": tfds.features.Image(shape=(4, 4, 1)),
        "label": tfds.features.ClassLabel(num_classes=3),
    }

    def image(self, i):
        return pixels(i, (4, 4, 1))


class NoxSizes(_Builder):
    FEATURES = {"image": tfds.features.Image(shape=(None, None, 3)), "label": LABEL}

    def image(self, i):
        return pixels(i, (4 + i % 3, 5, 3))


class NoxNoImage(_Builder):
    FEATURES = {"label": LABEL, "id": tfds.features.Text()}


def write(builder, folder, file_format="array_record"):
    tfds.disable_progress_bar()
    builder(data_dir=folder, file_format=file_format).download_and_prepare()
    return str(folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write(NoxTiny, tmp_path_factory.mktemp("tfds"))


def test_examples_come_back_in_the_order_of_their_ids(prepared):
    dataset = sources.load(Data("tfds:nox_tiny", data_dir=prepared))
    np.testing.assert_array_equal(dataset.train_images, np.stack([pixels(i) for i in range(20)]))
    np.testing.assert_array_equal(dataset.test_images, np.stack([pixels(100 + i) for i in range(7)]))
    assert dataset.train_labels.tolist() == [i % 3 for i in range(20)]
    assert dataset.test_labels.tolist() == [i % 3 for i in range(7)]
    assert (dataset.num_classes, dataset.class_names) == (3, ("ant", "bee", "cat"))
    # The files have them in another order, or the test would show nothing.
    places = [example["id"] for example in NoxTiny(data_dir=prepared).as_data_source(split="train")]
    assert places != sorted(places)


def test_without_ids_images_and_labels_stay_together(tmp_path):
    dataset = sources.load(Data("tfds:nox_grey_without_ids", data_dir=write(NoxGreyWithoutIds, tmp_path)))
    assert dataset.train_images.shape == (20, 4, 4, 1)
    assert dataset.class_names is None
    numbers = [next(i for i in range(20) if (pixels(i, (4, 4, 1)) == x).all()) for x in dataset.train_images]
    assert sorted(numbers) == list(range(20))
    assert dataset.train_labels.tolist() == [i % 3 for i in numbers]


def test_images_of_different_sizes_need_an_image_size(tmp_path):
    write(NoxSizes, tmp_path)
    with pytest.raises(UserError, match="images of different sizes; --image-size N"):
        sources.load(Data("tfds:nox_sizes", data_dir=str(tmp_path)))
    assert sources.load(Data("tfds:nox_sizes", data_dir=str(tmp_path), image_size=6)).train_images.shape[
        1:
    ] == (
        6,
        6,
        3,
    )


def test_what_is_read_once_is_kept_until_it_is_written_anew(prepared, monkeypatch):
    first = sources.load(Data("tfds:nox_tiny", data_dir=prepared))
    with monkeypatch.context() as patch:
        patch.setattr(tfds_sets, "_index", None)
        patch.setattr(tfds_sets.stream, "read_all", None)
        again = sources.load(Data("tfds:nox_tiny", data_dir=prepared))
    np.testing.assert_array_equal(again.train_images, first.train_images)
    np.testing.assert_array_equal(again.train_labels, first.train_labels)


def test_errors_say_what_to_do(tmp_path, prepared):
    def error(name, data_dir):
        with pytest.raises(UserError) as raised:
            sources.load(Data(name, data_dir=str(data_dir)))
        assert "\n" not in str(raised.value)
        return str(raised.value)

    said = error("mnist", tmp_path)
    assert said.startswith("tfds:mnist is not prepared in ")
    assert said.endswith(f"run python -m experiments prepare mnist --data-dir {tmp_path}")
    assert "the nearest names are mnist, " in error("tfds:mnits", tmp_path)
    assert "nox_tiny" in error("tfds:nox_tinny", prepared).split("nearest names are")[1]
    assert "has the features ['id', 'label']" in error(
        "tfds:nox_no_image", write(NoxNoImage, tmp_path)
    ).replace("['label', 'id']", "['id', 'label']")
    damaged = write(NoxGreyWithoutIds, tmp_path)
    file = next((tmp_path / "nox_grey_without_ids" / "1.0.0").glob("*train.array_record*"))
    file.write_bytes(file.read_bytes()[:-20])
    assert "delete it and prepare nox_grey_without_ids anew" in error("tfds:nox_grey_without_ids", damaged)


def test_prepare_writes_what_load_reads(tmp_path, capsys, monkeypatch):
    found = importlib.util.find_spec
    # Whether or not it is installed here, this set is written without it.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tensorflow" or found(name))
    tfds.disable_progress_bar()
    assert main(["prepare", "nox_tiny", "--data-dir", str(tmp_path)]) == 0
    assert "prepared; train on it with --dataset tfds:nox_tiny" in capsys.readouterr().out
    assert len(sources.load(Data("tfds:nox_tiny", data_dir=str(tmp_path))).train_labels) == 20
    assert main(["prepare", "nox_tiny", "--data-dir", str(tmp_path)]) == 0
    assert "already prepared" in capsys.readouterr().out


def test_the_flags_reach_it(tmp_path, prepared, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # One batch more than there are examples: the data are read, and nothing is compiled.
    assert main(["train", "--dataset", "tfds:nox_tiny", "--data-dir", prepared, "--batch-size", "21"]) == 2
    assert "--batch-size 21 is more than the 20 training examples" in capsys.readouterr().err


def test_prepare_without_tensorflow_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["prepare", "cifar10", "--data-dir", str(tmp_path / "new")]) == 2
    assert "pip install '.[prepare]'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_reading_imports_no_tensorflow(prepared, request):
    code = (
        "import sys; from experiments.data import sources; from experiments.data.options import Data\n"
        f"found = sources.load(Data('tfds:nox_tiny', data_dir={prepared!r}))\n"
        "assert found.train_images.shape == (20, 6, 5, 3)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    root = request.config.rootpath
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
