import io
import zipfile

import chex
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from experiments.data import array_files, digits, sources
from experiments.data.class_labels import Classes
from experiments.data.options import Data
from experiments.data.sources import Known
from experiments.terminal import UserError


def test_digits_are_scikit_learns_split_as_the_reference_protocol_says():
    dataset = digits.load()
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    expected = train_test_split(images, labels, test_size=450, stratify=labels, random_state=0)
    found = dataset.train_images, dataset.test_images, dataset.train_labels, dataset.test_labels
    chex.assert_trees_all_equal(found, tuple(expected))
    assert [array.dtype for array in found] == [np.float32] * 2 + [np.int32] * 2
    np.testing.assert_array_equal(dataset.train_clean_labels, dataset.train_labels)


def test_npz_arrays_come_back(tiny_npz, tiny_arrays):
    dataset = sources.load(Data(f"npz:{tiny_npz}"))
    for name, array in tiny_arrays.items():
        np.testing.assert_array_equal(getattr(dataset, name), array)
    assert dataset.num_classes == 3


def test_test_set_and_clean_labels_are_optional(tmp_path, tiny_arrays):
    path = tmp_path / "few.npz"
    np.savez(path, train_images=tiny_arrays["train_images"], train_labels=tiny_arrays["train_labels"])
    dataset = array_files.load(path)
    assert (dataset.train_clean_labels, dataset.test_images, dataset.test_labels) == (None, None, None)


def test_flat_float64_features_become_float32(tmp_path):
    path = tmp_path / "flat.npz"
    np.savez(path, train_images=np.ones((4, 5)), train_labels=np.array([0, 1, 0, 1], np.uint8))
    dataset = array_files.load(path)
    assert dataset.train_images.dtype == np.float32
    assert dataset.train_labels.dtype == np.int32


THREE = Known(1, None, Classes(3, None))


def _with(name, value):
    return lambda arrays: {**arrays, name: value(arrays[name]) if callable(value) else value}


def _without(*names):
    return lambda arrays: {key: value for key, value in arrays.items() if key not in names}


def _set(index, value):
    def change(array):
        array = array.copy()
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("train_images"), "array 'train_images' is missing; the file has"),
        (_without("train_labels"), "array 'train_labels' is missing"),
        (_without("test_labels"), "expected test_images and test_labels together"),
        (_without("test_images"), "expected test_images and test_labels together"),
        (_with("train_images", np.zeros((60,))), r"must be \[N, H, W, C\] or \[N, D\], got shape \[60\]"),
        (_with("train_images", np.zeros((0, 4))), r"train_images is empty, its shape is \[0, 4\]"),
        (_with("train_images", np.full((60, 4, 4, 1), 256)), "pictures of int64 from 256 to 256; expected"),
        (_with("train_images", np.zeros((60, 4), complex)), "must be numbers, got complex128"),
        (_with("train_images", np.full((60, 4), np.nan)), "not a finite float32 at index 0; fill the gaps"),
        (_with("train_images", np.full((60, 4), 1e300)), "not a finite float32 at index 0; fill the gaps"),
        (_with("train_labels", lambda y: y + 0.5), "train_labels must be class numbers or names, got 1.5 at"),
        (_with("train_labels", lambda y: np.eye(3)[y] * 2), "expected rows of probabilities, of sum 1"),
        (_with("train_labels", lambda y: np.stack([-y, -y], 1)), "votes of several people; .* at index 0"),
        (_with("train_labels", lambda y: y.astype(str)), "must all be names or all be numbers"),
        (_with("train_labels", lambda y: y[:-1]), "train_labels has 59 entries for 60 examples"),
        (_with("train_labels", _set(7, -1)), "train_labels must be in .*, got -1 at index 7"),
        (_with("train_labels", np.zeros(60, int)), "hold a single class"),
        (_with("train_clean_labels", _set(5, -3)), "train_clean_labels must be in .*, got -3 at index 5"),
        (_with("class_names", np.array(["a", "b"])), r"train_labels must be in \[0, 2\), got 2 at index"),
        (_with("class_names", np.array(["a", "a", "b"])), "class_names must be different strings"),
        (_with("test_images", np.zeros((30, 5, 4, 1), np.uint8)), "train_images uint8 .4, 4, 1.; expected"),
        (_with("test_images", np.zeros((30, 4, 4, 1), np.float32)), "expected the same"),
    ],
)  # fmt: skip
def test_wrong_arrays_are_named(tmp_path, tiny_arrays, change, said):
    path = tmp_path / "wrong.npz"
    np.savez(path, **change(tiny_arrays))
    with pytest.raises(UserError, match=said) as raised:
        array_files.load(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def _bytes_of(write):
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


WHOLE = _bytes_of(lambda f: np.savez(f, train_images=np.ones((60, 4)), train_labels=np.arange(60) % 3))


def _with_byte(content, after, offset, value):
    place = content.index(after) + offset
    return content[:place] + bytes([value]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not an npz file"),
        (b"not an archive", "is not an npz file, it does not begin like one"),
        (WHOLE[: len(WHOLE) // 2], "cannot be read as an npz file"),
        (WHOLE[:200] + b"\xff" * 100 + WHOLE[300:], "array 'train_images' cannot be read"),
        (_bytes_of(lambda f: np.save(f, np.ones(3))), "expected an npz archive of named arrays"),
        # The flag that says encrypted, and a method of compression that does not exist.
        (_with_byte(WHOLE, b"PK\1\2", 8, 1), "encrypted"),
        (_with_byte(WHOLE, b"PK\1\2", 10, 99), "compression method is not supported"),
    ],
)  # fmt: skip
def test_damaged_files_are_named(tmp_path, content, said):
    path = tmp_path / "damaged.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as raised:
        array_files.load(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.usefixtures("own_cache")
def test_a_single_number_is_no_images_in_memory_or_streamed(tmp_path):
    np.savez(tmp_path / "one.npz", train_images=np.float32(1), train_labels=np.arange(3))
    for streamed in (False, True):
        with pytest.raises(UserError, match=r"train_images must be .*, got shape \[\]"):
            array_files.load(tmp_path / "one.npz", streamed=streamed)


def test_a_prepared_data_set_is_nothing_to_predict():
    with pytest.raises(UserError, match="cannot predict cifar10; expected digits, csv:FILE, folder:DIR"):
        sources.load_images("cifar10", THREE)


def test_pickled_content_is_never_loaded(tmp_path):
    path = tmp_path / "pickled.npz"
    np.savez(path, train_images=np.array([{"a": 1}], dtype=object), train_labels=np.zeros(1, int))
    with pytest.raises(UserError, match="'train_images' holds Python objects, which are not read"):
        array_files.load(path)


def test_an_archive_of_something_else(tmp_path):
    path = tmp_path / "other.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match="'train_images' is missing"):
        array_files.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images", "hello")
        archive.writestr("train_labels", "hello")
    with pytest.raises(UserError, match="'train_images' is not an array"):
        array_files.load(path)


def test_a_class_that_noise_has_emptied_is_still_a_class(tmp_path, tiny_arrays):
    path = tmp_path / "emptied.npz"
    given = tiny_arrays["train_labels"].copy()
    given[given == 2] = 0
    np.savez(path, **{**tiny_arrays, "train_labels": given})
    assert array_files.load(path).num_classes == 3


def test_labels_that_say_unknown_do_not_stop_a_prediction(tmp_path, tiny_arrays):
    path = tmp_path / "unknown.npz"
    np.savez(path, images=tiny_arrays["test_images"], labels=np.full(30, -1))
    with pytest.warns(UserWarning, match="labels ignored, since the run has 3 classes: .* got -1 at index 0"):
        assert sources.load_images(str(path), THREE).labels is None


def test_a_missing_file_and_an_unknown_name(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        sources.load(Data(f"npz:{tmp_path / 'nowhere.npz'}"))
    with pytest.raises(UserError, match="--dataset 'mnits' is not known; expected digits, csv:FILE"):
        sources.load(Data("mnits"))


def test_images_to_predict_with_and_without_labels(tmp_path, tiny_npz, tiny_arrays):
    images, labels, *_ = sources.load_images(f"npz:{tiny_npz}", THREE)
    np.testing.assert_array_equal(images, tiny_arrays["test_images"])
    np.testing.assert_array_equal(labels, tiny_arrays["test_labels"])
    path = tmp_path / "new.npz"
    np.savez(path, images=tiny_arrays["test_images"])
    images, labels, *_ = sources.load_images(str(path), THREE)
    np.testing.assert_array_equal(images, tiny_arrays["test_images"])
    assert labels is None


def test_columns_that_float32_would_round_away_are_moved_by_the_means_of_training(tmp_path):
    rng = np.random.default_rng(0)
    train, test = (np.stack([1.7e9 + rng.integers(0, 60, n), rng.normal(5, 1, n)], axis=1) for n in (20, 9))
    labels = {"train_labels": np.arange(20) % 2, "test_labels": np.arange(9) % 2}
    np.savez(tmp_path / "a.npz", train_images=train, test_images=test + 600, **labels)
    dataset = array_files.load(tmp_path / "a.npz")
    centre = np.array([np.round(train[:, 0].mean()), 0.0])
    np.testing.assert_array_equal(dataset.offset, centre)
    np.testing.assert_allclose(dataset.train_images, train - centre, rtol=1e-6)
    np.testing.assert_allclose(dataset.test_images, test + 600 - centre, rtol=1e-6)
    known = Known(1, None, Classes(2, None), offset=dataset.offset)
    found = sources.load_images(str(tmp_path / "a.npz"), known)
    np.testing.assert_array_equal(found.images, dataset.test_images)
