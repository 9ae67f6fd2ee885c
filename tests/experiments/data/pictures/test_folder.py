import errno
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from experiments.__main__ import main
from experiments.data import cache, sources
from experiments.data.class_labels import Classes
from experiments.data.options import Data
from experiments.data.pictures import folder, image_files
from experiments.data.sources import Known
from experiments.terminal import UserError

pytestmark = pytest.mark.usefixtures("own_cache")


THREE = Known(3, None, Classes(3, ("ant", "bee", "cat")))


def write(path, *, size=(4, 4), grey=False, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if grey else (*size, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def tree(root, *, classes=("cat", "ant", "bee"), images=3, **options):
    """Classes of `images` files each; returns the pixels in the order of sorted paths."""
    pixels = []
    for label, name in enumerate(sorted(classes)):
        for i in range(images):
            pixels.append(write(root / name / f"{i}.png", seed=10 * label + i, **options))
    return np.stack(pixels)


def load(path, **options):
    return sources.load(Data(f"folder:{path}", **options))


def test_sub_folders_in_the_order_of_their_names_are_the_classes(tmp_path):
    pixels = tree(tmp_path)
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.train_images, pixels)
    assert dataset.train_labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.train_labels.dtype == np.int32
    assert (dataset.num_classes, dataset.class_names) == (3, ("ant", "bee", "cat"))
    assert (dataset.train_clean_labels, dataset.test_images, dataset.test_labels) == (None, None, None)


def test_train_and_test_folders_are_the_parts(tmp_path):
    train = tree(tmp_path / "train")
    test = tree(tmp_path / "test", classes=("bee", "cat"), images=2)
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.train_images, train)
    np.testing.assert_array_equal(dataset.test_images, test)
    # By the training part's names, of which the test part may lack some.
    assert dataset.test_labels.tolist() == [1, 1, 2, 2]


def test_a_class_may_be_called_train(tmp_path):
    tree(tmp_path, classes=("train", "plane"))
    assert load(tmp_path).class_names == ("plane", "train")


def test_parts_without_classes_are_refused(tmp_path):
    tree(tmp_path / "flat", classes=("train", "test"))
    with pytest.raises(UserError, match="its folders test and train have no sub-folders"):
        load(tmp_path / "flat")
    tree(tmp_path / "kaggle" / "train")
    pixels = write(tmp_path / "kaggle" / "test" / "0.png")
    with pytest.raises(UserError, match=r"test: expected sub-folders of images as in .*train, found none"):
        load(tmp_path / "kaggle")
    np.testing.assert_array_equal(
        sources.load_images(f"folder:{tmp_path / 'kaggle'}", THREE).images[0], pixels
    )


def test_hidden_folders_are_left_out(tmp_path):
    pixels = tree(tmp_path)
    write(tmp_path / "ant" / ".ipynb_checkpoints" / "0.png")
    np.testing.assert_array_equal(load(tmp_path).train_images, pixels)


def test_files_deeper_down_belong_to_their_class(tmp_path):
    tree(tmp_path)
    write(tmp_path / "bee" / "more" / "x.PNG")
    assert np.bincount(load(tmp_path).train_labels).tolist() == [3, 4, 3]


def test_all_are_grey_only_if_each_is(tmp_path):
    pixels = tree(tmp_path, grey=True)
    np.testing.assert_array_equal(load(tmp_path).train_images, pixels[..., None])
    colour = write(tmp_path / "ant" / "0.png")
    images = load(tmp_path).train_images
    np.testing.assert_array_equal(images[0], colour)
    np.testing.assert_array_equal(images[1:], np.repeat(pixels[1:, ..., None], 3, axis=3))


def test_different_sizes_need_an_image_size(tmp_path):
    tree(tmp_path)
    write(tmp_path / "cat" / "0.png", size=(6, 4))
    with pytest.raises(UserError, match=r"cat/0\.png: is 4 x 6 pixels, .*ant/0\.png 4 x 4; .*--image-size N"):
        load(tmp_path)
    images = load(tmp_path, image_size=5).train_images
    assert images.shape == (9, 5, 5, 3)
    np.testing.assert_array_equal(images[6], image_files.read(tmp_path / "cat" / "0.png", 3, 5))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: (root / "ant" / "1.png").write_bytes(b"\x89PNG\r\n"), "ant/1.png: cannot be read as"),
        (lambda root: (root / "dog").mkdir(), "dog: has no PNG, JPEG or WebP files; fill or remove"),
        (lambda root: [shutil.rmtree(root / x) for x in ("bee", "cat")], "at least two sub-folders.*found 1"),
        (shutil.rmtree, "no such folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_cached(tmp_path, damage, said):
    tree(tmp_path / "data")
    damage(tmp_path / "data")
    with pytest.raises(UserError, match=said) as raised:
        load(tmp_path / "data")
    assert str(raised.value).startswith(str(tmp_path / "data"))
    assert "\n" not in str(raised.value)
    assert not cache.folder().exists()


def test_a_test_class_that_training_lacks(tmp_path):
    tree(tmp_path / "train")
    tree(tmp_path / "test", classes=("ant", "dog"))
    with pytest.raises(UserError, match=r"test/dog: is no class of the training part, .* ant, bee, cat"):
        load(tmp_path)


def test_a_single_image_is_allowed_with_a_warning(tmp_path):
    tree(tmp_path)
    write(tmp_path / "dog" / "only.png")
    with pytest.warns(UserWarning, match="1 class has a single image, the first 'dog'"):
        assert np.bincount(load(tmp_path).train_labels).tolist() == [3, 3, 3, 1]


def test_other_files_are_counted_in_one_warning_and_hidden_ones_are_not(tmp_path):
    pixels = tree(tmp_path)
    for name in ("ant/notes.txt", "ant/.DS_Store", "cat/x.gif", "readme.md"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".git").mkdir()
    with pytest.warns(UserWarning, match=r"ignored 2 files .*, the first .*ant/notes\.txt") as said:
        np.testing.assert_array_equal(load(tmp_path).train_images, pixels)
    assert len(said) == 1


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that have been decoded."""
    names, read = [], image_files.read

    def counted(path, *args):
        names.append(path.name)
        return read(path, *args)

    monkeypatch.setattr(image_files, "read", counted)
    return names


def test_a_second_load_decodes_nothing(tmp_path, decoded):
    tree(tmp_path)
    first = load(tmp_path)
    assert len(decoded) == 9
    np.testing.assert_array_equal(load(tmp_path).train_images, first.train_images)
    assert len(decoded) == 9
    load(tmp_path, image_size=5)
    load(tmp_path)
    assert len(decoded) == 18


def test_a_change_in_the_folder_is_noticed(tmp_path, decoded):
    tree(tmp_path)
    path = tmp_path / "ant" / "0.png"

    def rewrite():
        # The files have the same length: only the time differs.
        before = path.stat()
        path.write_bytes((tmp_path / "ant" / "1.png").read_bytes()[: before.st_size])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))

    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "ant" / "1.png", compress_level=0)
    Image.fromarray(np.ones((4, 4, 3), np.uint8)).save(path, compress_level=0)
    load(tmp_path)
    rewrite()
    assert load(tmp_path).train_images[0].max() == 0
    path.rename(tmp_path / "ant" / "9.png")
    assert load(tmp_path).train_images[0].max() == 0
    (tmp_path / "bee" / "0.png").unlink()
    assert len(load(tmp_path).train_images) == 8
    # What was has made way: one file, whatever happened.
    assert len(list(cache.folder().iterdir())) == 1


def same_dates(source, target):
    """Gives each file of one folder the date of the same file of the other."""
    for path in source.rglob("*.png"):
        state = path.stat()
        os.utime(target / path.relative_to(source), ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("change", ["in place", "another folder"])
def test_other_pictures_of_the_same_size_and_date_are_noticed(tmp_path, change, decoded):
    data, other = tmp_path / "data", tmp_path / "other"
    tree(data)
    shutil.copytree(data, other)
    for path in other.rglob("*.png"):
        # Not compressed, so that the files are of one length.
        for folder_, value in ((data, 1), (other, 2)):
            picture = Image.fromarray(np.full((4, 4, 3), value, np.uint8))
            picture.save(folder_ / path.relative_to(other), compress_level=0)
    same_dates(data, other)
    assert load(data).train_images.max() == 1
    if change == "in place":
        shutil.copytree(data, tmp_path / "before", copy_function=shutil.copy2)
        for path in other.rglob("*.png"):
            (data / path.relative_to(other)).write_bytes(path.read_bytes())
        same_dates(tmp_path / "before", data)
    else:
        data.rename(tmp_path / "before")
        other.rename(data)
    assert load(data).train_images.max() == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "other", "pickled"])
def test_a_damaged_cache_is_made_anew(tmp_path, damage, decoded):
    tree(tmp_path / "data", size=(40, 40))
    first = load(tmp_path / "data")
    (file,) = cache.folder().iterdir()
    content = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "other":
        file.write_bytes(b"something else")
    else:
        np.savez(file, key=np.array([{}], dtype=object))
    np.testing.assert_array_equal(load(tmp_path / "data").train_images, first.train_images)
    assert len(decoded) == 18
    load(tmp_path / "data")
    assert len(decoded) == 18


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    tree(tmp_path / "data")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written .*; the images are read anew next time"):
        assert len(load(tmp_path / "data").train_images) == 9


@pytest.mark.parametrize("place", ["bee", "bee/more"])
def test_a_folder_that_may_not_be_read_is_named(tmp_path, place, monkeypatch):
    """As for a person who may not open it; root may."""
    tree(tmp_path)
    write(tmp_path / "bee" / "more" / "3.png")
    real = os.scandir

    def refuse(path="."):
        if os.fspath(path) == str(tmp_path / place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=rf"{place}: the folder cannot be read \(Permission denied\)"):
        load(tmp_path)
    with pytest.raises(UserError, match="the folder cannot be read"):
        sources.load_images(str(tmp_path), THREE)


@pytest.fixture
def trained(tmp_path):
    tree(tmp_path / "data", size=(8, 8), images=4)
    flags = ["--image-size", "6", "--epochs", "1", "--batch-size", "4", "--width", "16"]
    run = ["--run-dir", str(tmp_path / "run")]
    assert main(["train", "--dataset", f"folder:{tmp_path / 'data'}", *flags, *run]) == 0
    return tmp_path / "run"


def test_predict_reads_files_as_training_did_and_names_them(trained, tmp_path, capsys):
    # Unlabelled, of another size and grey.
    write(tmp_path / "new" / "b.png", size=(9, 5))
    write(tmp_path / "new" / os.fsdecode(b"a\xe9.png"), grey=True)
    assert main(["predict", str(trained), f"folder:{tmp_path / 'new'}"]) == 0
    lines = (trained / "predictions.csv").read_text(errors="surrogateescape").split()
    assert lines[0] == "index,label,probability,file,class"
    assert [line.split(",")[3] for line in lines[1:]] == [os.fsdecode(b"a\xe9.png"), "b.png"]
    for line in lines[1:]:
        _, label, _, _, name = line.split(",")
        assert name == ("ant", "bee", "cat")[int(label)]
    # Sub-folders with names of classes are labels, whatever number they would have here.
    for name in ("cat", "bee"):
        shutil.copytree(tmp_path / "data" / name, tmp_path / "two" / name)
    assert main(["predict", str(trained), f"folder:{tmp_path / 'two'}"]) == 0
    rows = [line.split(",") for line in (trained / "predictions.csv").read_text().split()[1:]]
    right = np.mean([row[3].split(os.sep)[0] == row[4] for row in rows])
    assert f"accuracy against the labels in folder:{tmp_path / 'two'}: {right:.2%}" in capsys.readouterr().out
    (tmp_path / "two" / "cat").rename(tmp_path / "two" / "dog")
    with pytest.warns(UserWarning, match="labels ignored: .*the run has no class 'dog'"):
        found = sources.load_images(f"folder:{tmp_path / 'two'}", THREE._replace(image_size=6))
    assert (found.labels, found.images.shape) == (None, (8, 6, 6, 3))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no PNG, JPEG or WebP files, and no sub-folders of them"):
        sources.load_images(f"folder:{tmp_path / 'empty'}", THREE)


def test_a_split_of_a_folder_predicts_its_test_part(tmp_path):
    tree(tmp_path / "train")
    test = tree(tmp_path / "test", images=2)
    found = sources.load_images(f"folder:{tmp_path}", THREE)
    np.testing.assert_array_equal(found.images, test)
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_an_image_size_for_arrays_is_refused(tiny_npz):
    with pytest.raises(UserError, match="--image-size scales images of folder:DIR and tfds:NAME only"):
        sources.load(Data(f"npz:{tiny_npz}", image_size=8))


def test_class_folders_of_nothing(tmp_path):
    assert folder.class_folders(tmp_path / "nowhere") == []
