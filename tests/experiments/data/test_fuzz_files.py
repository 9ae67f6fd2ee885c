"""Files of arrays that are damaged anywhere, or hold anything: only UserError may come out."""

import io
import warnings

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from experiments.data import array_files, label_file, stream
from experiments.data.class_labels import Classes
from experiments.terminal import UserError

THREE = Classes(3, None)
LABELS = (np.arange(6) % 3).astype(np.int32)
IMAGES = np.random.default_rng(0).random((6, 3), np.float32)


def bytes_of(save, *args, **arrays):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names that only the newest format has.
        warnings.simplefilter("ignore", UserWarning)
        save(buffer, *args, **arrays)
    return buffer.getvalue()


PARTS = ("train_images", "train_labels", "train_clean_labels", "test_images", "test_labels")
WHOLE = {
    "plain.npz": bytes_of(np.savez, train_images=IMAGES, train_labels=LABELS),
    "compressed.npz": bytes_of(np.savez_compressed, train_images=IMAGES, train_labels=LABELS),
    "images.npz": bytes_of(np.savez, images=IMAGES, labels=LABELS),
    "labels.npz": bytes_of(np.savez, clean=LABELS, given=LABELS),
    "labels.npy": bytes_of(np.save, LABELS),
}


@st.composite
def damaged(draw, content):
    """A few bytes are other ones, are gone or are too many; or the end is missing."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        change = draw(st.sampled_from(["replace", "remove", "insert", "cut"]))
        other = draw(st.binary(min_size=1, max_size=8))
        match change:
            case "replace":
                content[place : place + len(other)] = other[: len(content) - place]
            case "remove":
                del content[place : place + len(other)]
            case "insert":
                content[place:place] = other
            case "cut":
                del content[place:]
    return bytes(content)


def read_every_way(path):
    """As each command would; what is not UserError goes through."""

    def read_streamed():
        images = array_files.load(path, streamed=True).train_images
        return list(stream.chunks(images))

    readers = [
        lambda: array_files.load(path),
        read_streamed,
        lambda: array_files.load_images(path, THREE),
        lambda: label_file.read(str(path), LABELS, THREE),
        lambda: label_file.read(f"{path}:given", LABELS, THREE),
    ]
    for reader in readers:
        with warnings.catch_warnings():
            # Ignored labels, and what NumPy says of old headers.
            warnings.simplefilter("ignore", UserWarning)
            try:
                reader()
            except UserError as error:
                said = str(error)
            else:
                continue
        assert said.startswith(str(path))
        assert "\n" not in said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("name", WHOLE)
@hypothesis.given(data=st.data())
def test_damaged_bytes(name, folder, data):
    path = folder / name
    path.write_bytes(data.draw(damaged(WHOLE[name])))
    read_every_way(path)


KEYS = st.sampled_from([*PARTS, "images", "labels", "given", "clean", "a/b"])
DTYPES = st.one_of(
    stn.scalar_dtypes(),
    stn.byte_string_dtypes(),
    stn.unicode_string_dtypes(),
    stn.array_dtypes(max_size=2),
    st.sampled_from([np.dtype(np.float32), np.dtype(np.uint8), np.dtype(np.int32), np.dtype(np.longdouble)]),
)
SHAPES = st.one_of(
    stn.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4), st.sampled_from([(6,), (6, 3)])
)


def of_any_bytes(dtype, shape, seed):
    """Every bit pattern occurs; small numbers too, which labels are."""
    rng = np.random.default_rng(seed)
    if dtype.kind in "iuf" and seed % 2:
        return rng.integers(0, 4, shape).astype(dtype)
    array = np.zeros(shape, dtype)
    if array.nbytes:
        array = np.frombuffer(rng.bytes(array.nbytes), dtype).reshape(shape)
    return array


ARRAYS = st.builds(of_any_bytes, DTYPES, SHAPES, st.integers(0, 99))


@hypothesis.given(arrays=st.dictionaries(KEYS, ARRAYS, max_size=4), plain=st.booleans())
def test_arrays_of_any_kind(folder, arrays, plain):
    path = folder / "any.npz"
    whole = {"train_images": IMAGES, "train_labels": LABELS} if plain else {}
    path.write_bytes(bytes_of(np.savez, **{**whole, **arrays}))
    read_every_way(path)
    path = folder / "any.npy"
    for array in arrays.values():
        path.write_bytes(bytes_of(np.save, array))
        read_every_way(path)
