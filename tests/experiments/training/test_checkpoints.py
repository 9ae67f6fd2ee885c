"""A damaged newest checkpoint costs no more than the epochs since the one before it."""

import shutil
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.terminal import UserError
from experiments.training import checkpoints
from experiments.training.checkpoints import Checkpoints, abstract

# Noise, which the format does not compress: most of what is written is these numbers.
TREES = [{"a": np.random.default_rng(epoch).normal(size=5000).astype(np.float32)} for epoch in range(3)]


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    saved = Checkpoints(folder)
    for epoch in (1, 2):
        saved.save(epoch, TREES[epoch])
    saved.close()
    return folder


@pytest.fixture
def saved(two_saved, tmp_path):
    shutil.copytree(two_saved, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def without_its_item(checkpoint):
    shutil.rmtree(checkpoint / "default")


def empty(checkpoint):
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def with_other_numbers(checkpoint):
    """As a disk leaves a file that it says it has written: of the right length, with zeros in it."""
    largest = max((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    content, middle = largest.read_bytes(), largest.stat().st_size // 2
    largest.write_bytes(content[:middle] + bytes(100) + content[middle + 100 :])


def restored(folder):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = Checkpoints(folder, read_only=True).restore(abstract(TREES[0]))
    return found, [str(warning.message) for warning in said]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", [without_its_item, empty, with_other_numbers])
def test_the_one_before_is_restored_with_one_warning(damage, saved):
    damage(saved / "2")
    (epoch, tree), said = restored(saved)
    assert epoch == 1
    np.testing.assert_array_equal(tree["a"], TREES[1]["a"])
    assert len(said) == 1
    assert str(saved / "2") in said[0]
    assert "kept" in said[0]


def test_a_checkpoint_of_an_earlier_version_has_no_checksum(saved):
    (saved / "2" / "_CHECKPOINT_METADATA").unlink()
    (epoch, _), said = restored(saved)
    assert (epoch, said) == (2, [])


def test_nobody_is_told_to_delete_what_cannot_be_read(saved):
    for epoch in "12":
        without_its_item(saved / epoch)
    with (
        pytest.warns(UserWarning, match="kept"),
        pytest.raises(UserError, match=r"nothing was deleted") as raised,
    ):
        Checkpoints(saved, read_only=True).restore(abstract(TREES[0]))
    assert "delete the" not in str(raised.value)
    assert {path.name for path in saved.iterdir()} == {"1", "2"}


def test_a_folder_that_would_be_split_at_a_backslash_is_refused(tmp_path):
    """The storage library would write the arrays into the folder `a`."""
    for name, said in (("a\\b", "backslash"), ("caf\udce9", "not UTF-8")):
        with pytest.raises(UserError, match=said):
            Checkpoints(tmp_path / name / "checkpoints")
    assert list(tmp_path.iterdir()) == []


def test_what_threads_say_after_a_failure_is_dropped_and_nothing_else(monkeypatch):
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    with checkpoints.late_callbacks_dropped():
        pass
    assert sys.unraisablehook == said.append
    with pytest.raises(OSError, match="full"), checkpoints.late_callbacks_dropped():
        raise OSError("full")
    for error in (RuntimeError("Event loop is closed"), RuntimeError("another")):
        sys.unraisablehook(SimpleNamespace(exc_value=error))
    assert [str(unraisable.exc_value) for unraisable in said] == ["another"]


def test_the_newest_of_two_is_restored_and_those_after_it_can_be_set_aside(tmp_path):
    saved = Checkpoints(tmp_path / "checkpoints")
    for epoch in (2, 4, 10):
        saved.save(epoch, {"a": np.full(3, epoch)})
    shape = abstract({"a": np.zeros(3, int)})
    epoch, tree = saved.restore(shape)
    assert (epoch, tree["a"].tolist()) == (10, [10, 10, 10])
    saved.set_aside_after(4)
    epoch, tree = saved.restore(shape)
    assert (epoch, tree["a"].tolist()) == (4, [4, 4, 4])
    saved.close()
