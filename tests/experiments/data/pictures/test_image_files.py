import numpy as np
import pytest
from PIL import Image

from experiments.data.pictures import image_files
from experiments.terminal import UserError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.webp", {"lossless": True})])
def test_lossless_files_come_back_to_the_byte(tmp_path, pixels, name, options):
    path = saved(tmp_path, Image.fromarray(pixels), name, **options)
    np.testing.assert_array_equal(image_files.read(path, 3), pixels)
    assert image_files.header(path) == (5, 7, False)


def test_jpeg_comes_back_nearly_and_by_its_content_whatever_its_name(tmp_path):
    smooth = np.broadcast_to(np.linspace(50, 200, 16).astype(np.uint8)[:, None, None], (16, 16, 3))
    path = saved(tmp_path, Image.fromarray(smooth), "a.jpg", quality=95)
    assert np.abs(image_files.read(path, 3).astype(int) - smooth).max() <= 4
    path.rename(tmp_path / "b.png")
    assert image_files.header(tmp_path / "b.png") == (16, 16, False)


def test_grey_stays_grey_or_becomes_three_equal_channels(tmp_path, pixels):
    grey = pixels[..., 0]
    path = saved(tmp_path, Image.fromarray(grey), "a.png")
    assert image_files.header(path).grey
    np.testing.assert_array_equal(image_files.read(path, 1), grey[..., None])
    np.testing.assert_array_equal(image_files.read(path, 3), np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bits_are_cut_and_one_bit_is_black_and_white(tmp_path, pixels):
    grey = pixels[..., 0].astype(np.uint16)
    path = saved(tmp_path, Image.fromarray(grey * 256 + 9), "a.png")
    assert image_files.header(path).grey
    np.testing.assert_array_equal(image_files.read(path, 1)[..., 0], grey)
    path = saved(tmp_path, Image.fromarray(grey > 99), "b.png")
    assert image_files.header(path).grey
    np.testing.assert_array_equal(image_files.read(path, 1)[..., 0], 255 * (grey > 99))


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    path = saved(tmp_path, image, "a.png")
    expected = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)[[[0, 1], [1, 0]]]
    np.testing.assert_array_equal(image_files.read(path, 3), expected)
    assert not image_files.header(path).grey
    # With one entry transparent, which shows the white behind.
    path = saved(tmp_path, image, "b.png", transparency=1)
    expected[[0, 1], [1, 0]] = 255
    np.testing.assert_array_equal(image_files.read(path, 3), expected)


def test_what_is_transparent_is_white_whatever_colour_hides_there(tmp_path, pixels):
    alpha = np.full((5, 7, 1), 255, np.uint8)
    alpha[2] = 0
    path = saved(tmp_path, Image.fromarray(np.concatenate([pixels, alpha], axis=2)), "a.png")
    pixels[2] = 255
    np.testing.assert_array_equal(image_files.read(path, 3), pixels)
    both = np.concatenate([pixels[..., :1], alpha], axis=2)
    path = saved(tmp_path, Image.fromarray(both, "LA"), "b.png")
    assert image_files.header(path).grey
    np.testing.assert_array_equal(image_files.read(path, 1), pixels[..., :1])


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (8, lambda a: np.rot90(a, 1))],
)
def test_exif_says_which_way_is_up(tmp_path, pixels, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(pixels), "a.png", exif=exif)
    expected = turn(pixels)
    np.testing.assert_array_equal(image_files.read(path, 3), expected)
    assert image_files.header(path)[:2] == expected.shape[:2]


def test_scaling_fills_the_square_and_keeps_what_fits_to_the_byte(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels), "a.png")
    assert image_files.read(path, 3, 9).shape == (9, 9, 3)
    halves = np.repeat(np.array([0, 200], np.uint8), 8)
    wide = saved(tmp_path, Image.fromarray(np.broadcast_to(halves, (4, 16))), "b.png")
    small = image_files.read(wide, 1, 2)[..., 0]
    # Both halves are still there, and averaged rather than sampled.
    assert np.all((small[:, 0] < 40) & (small[:, 1] > 160))
    square = saved(tmp_path, Image.fromarray(pixels[:, :5]), "c.png")
    np.testing.assert_array_equal(image_files.read(square, 3, 5), pixels[:, :5])


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("damage", ["empty", "text", "half"])
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, damage):
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path = saved(tmp_path, noisy, name)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"not an image", "half": whole[: len(whole) // 2]}[damage])
    with pytest.raises(UserError, match="cannot be read as an image") as raised:
        image_files.read(path, 3)
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).count(str(path)) == 1
    assert "\n" not in str(raised.value)


def test_other_formats_are_not_decoded(tmp_path, pixels):
    path = saved(tmp_path, Image.fromarray(pixels), "a.gif")
    with pytest.raises(UserError, match="cannot be read as an image"):
        image_files.read(path, 3)
