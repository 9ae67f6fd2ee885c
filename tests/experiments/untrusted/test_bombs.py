"""Small files that say that they hold a lot are refused before what they hold is read."""

import zipfile

import jax
import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from experiments import __main__
from experiments.data import array_files, cache, class_labels
from experiments.data.class_labels import Classes
from experiments.data.pictures import folder, image_files
from experiments.data.tables import read as tables
from experiments.safety import memory
from experiments.terminal import QUIET, UserError

ZEROS = np.zeros((1000, 100), np.uint8)
LABELS = np.arange(1000) % 2


@pytest.fixture
def little(monkeypatch):
    """A machine with 0.1 MB of memory; the zeros are as large, and their file has a thousandth."""
    monkeypatch.setattr(memory, "available", lambda: 100_000)


@pytest.fixture
def data(tmp_path):
    np.savez_compressed(tmp_path / "data.npz", train_images=ZEROS, train_labels=LABELS)
    np.save(tmp_path / "data.npy", ZEROS)
    # One value that is repeated: a page of a few bytes.
    parquet.write_table(pyarrow.table({"a": np.zeros(100_000)}), tmp_path / "data.parquet")
    (tmp_path / "data.csv").write_text("a\n" + "1\n" * 50_000)
    for name in "ab":
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("L", (200, 200)).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("data.npz", array_files.load),
        ("data.npz", array_files.read_all),
        ("data.npy", array_files.read_npy),
        ("data.parquet", tables.read),
        ("data.csv", tables.read),
        ("pictures", lambda path: folder.load(path, QUIET)),
    ],
)
def test_what_would_not_fit_the_memory_is_refused(name, read, data, little, own_cache):
    with pytest.raises(UserError, match=rf"{name}: the .* GiB of memory; .* are available; \w+"):
        read(data / name)


def test_what_fits_is_read_and_no_more_is_read_than_an_archive_says(data, own_cache):
    assert len(array_files.load(data / "data.npz").train_images) == 1000
    # An array that is larger than its entry says ends in an error and not in memory.
    content = (data / "data.npz").read_bytes()
    with zipfile.ZipFile(data / "data.npz") as archive:
        size = archive.getinfo("train_images.npy").file_size
    lied = content.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lied != content
    (data / "data.npz").write_bytes(lied)
    with pytest.raises(UserError, match="array 'train_images' cannot be read"):
        array_files.load(data / "data.npz")


def test_memory_is_measured():
    assert 2**20 < memory.available() < 2**60


def test_an_array_that_would_fill_the_disk_is_not_copied(data, own_cache, monkeypatch):
    monkeypatch.setattr(cache, "free_space", lambda: 100_000)
    with pytest.raises(UserError, match=r"data\.npz: array 'train_images' holds .* GiB, and the disk"):
        array_files.load(data / "data.npz", streamed=True)
    assert not cache.folder().exists()


def header(shape):
    """An npy file that ends after a header of that shape."""
    words = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (len(words) + 1).to_bytes(2, "little") + words.encode() + b"\n"


@pytest.mark.parametrize("shape", [(10**15,), (10**9, 10**9), (-1, 3), (2**63,), "(" * 5000])
def test_a_header_that_says_too_much_is_one_line(shape, tmp_path):
    (tmp_path / "x.npy").write_bytes(header(shape))
    with pytest.raises(UserError, match=r"x\.npy: cannot be read"):
        array_files.read_npy(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("train_images.npy", header(shape))
    with pytest.raises(UserError, match="array 'train_images' cannot be read"):
        array_files.read_all(tmp_path / "x.npz")


class Harm:
    """Touches a file when it is unpickled."""

    def __reduce__(self):
        return open, ("touched", "w")


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = np.array([Harm()], object)
    np.save("x.npy", objects)
    np.savez("x.npz", train_images=objects, train_labels=objects)
    for read, name in ((array_files.read_npy, "x.npy"), (array_files.read_all, "x.npz")):
        with pytest.raises(UserError, match="holds Python objects"):
            read(tmp_path / name)
    assert not (tmp_path / "touched").exists()


def test_a_picture_bomb_is_one_line(tmp_path, monkeypatch):
    Image.new("1", (20, 20)).save(tmp_path / "bomb.png")
    # Pillow's own limit is of 90 million pixels, which take a second to make.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"bomb\.png: cannot be read as an image \(.*decompression bomb"):
        image_files.read(tmp_path / "bomb.png", 1)


def test_one_label_makes_no_million_classes(tmp_path):
    huge = np.where(np.arange(40) == 0, 999_999, np.arange(40) % 2)
    for name, arrays in {
        "train": {"train_labels": huge},
        "clean": {"train_labels": np.arange(40) % 2, "train_clean_labels": huge},
        "names": {
            "train_labels": np.arange(40) % 2,
            "class_names": np.arange(2000).astype(str),
        },
    }.items():
        np.savez(tmp_path / f"{name}.npz", train_images=ZEROS[:40], **arrays)
        with pytest.raises(UserError, match="classes"):
            array_files.load(tmp_path / f"{name}.npz")


def test_one_vote_makes_no_million_classes():
    votes = np.zeros((2000, 3), np.int64)
    votes[0] = [2**62, 1, 1]
    # A column for each of 2^62 classes would be an error.
    assert class_labels.majority("x", "votes", votes).tolist() == [1] + [0] * 1999
    labels, classes = class_labels.to_indices("x", {"y": votes}, {"y": 2000})
    assert classes == Classes(2, None)
    assert labels["y"].dtype == np.int32


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError("Unable to allocate 9 TiB"), 2),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"), 2),
    ],
)
def test_too_little_memory_is_one_line(error, code, capsys):
    def fail(console):
        raise error

    assert __main__.guarded(fail) == code
    assert capsys.readouterr().err.startswith("error: there is not enough memory (")
    with pytest.raises(jax.errors.JaxRuntimeError):
        __main__.guarded(lambda console: _raise(jax.errors.JaxRuntimeError("INTERNAL: ours")))


def _raise(error):
    raise error
