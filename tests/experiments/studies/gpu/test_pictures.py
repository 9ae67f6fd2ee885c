import numpy as np
import pytest

from experiments.studies.gpu import pictures
from experiments.terminal import UserError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 32, 32, 3), np.uint8)
    pictures.write_sheets(tmp_path, "train", images[:8], 2)
    pictures.write_sheets(tmp_path, "test", images[8:], 2)
    labels = np.arange(12).astype(np.uint8) % 10
    np.savez(tmp_path / "labels.npz", clean=labels, wrong=(labels + 1) % 10, test=labels[:4])
    return tmp_path, images


def test_what_was_written_is_read_in_order(folder):
    path, images = folder
    found = pictures.load(path)
    np.testing.assert_array_equal(found.train_images, images[:8])
    np.testing.assert_array_equal(found.test_images, images[8:])
    # Labels of pictures that were left at home are left out.
    np.testing.assert_array_equal(found.labels["wrong"], np.arange(1, 9))
    assert list(found.labels) == ["clean", "wrong"]
    np.testing.assert_array_equal(found.test_labels, np.arange(4))


def test_the_first_sheets_are_enough_and_a_gap_is_not(folder):
    path, images = folder
    (path / "train-01.webp").rename(path / "train-02.webp")
    with pytest.raises(UserError, match="without a gap, found 00, 02"):
        pictures.load(path)
    (path / "train-02.webp").unlink()
    np.testing.assert_array_equal(pictures.load(path).train_images, images[:4])
    (path / "test-00.webp").unlink()
    with pytest.raises(UserError, match=r"expected test-0\.webp, test-1\.webp and so on .* found none"):
        pictures.load(path)


def test_damage_is_told(folder):
    path, _ = folder
    whole = (path / "train-00.webp").read_bytes()
    (path / "train-00.webp").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"train-00\.webp: cannot be read as a picture"):
        pictures.load(path)
    (path / "train-00.webp").write_bytes(whole)
    np.savez(path / "labels.npz", clean=np.zeros(3, np.uint8), test=np.zeros(4, np.uint8))
    with pytest.raises(UserError, match="clean has 3 entries for 8 examples"):
        pictures.load(path)
    np.savez(path / "labels.npz", clean=np.zeros(8, np.uint8))
    with pytest.raises(UserError, match="array 'test' is missing"):
        pictures.load(path)


def test_grey_images_become_pictures():
    grey = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8, 1)
    found = pictures.to_pictures(grey)
    assert found.shape == (1, 32, 32, 3)
    np.testing.assert_array_equal(found[0, ::4, ::4, 1], np.round(255 * grey[0, ..., 0]))
    assert len(np.unique(found[0, 0:4, 4:8])) == 1
