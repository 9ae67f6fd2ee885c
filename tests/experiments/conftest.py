import numpy as np
import pytest
from rich.console import Console

from experiments.terminal import Progress


@pytest.fixture(scope="session")
def tiny_arrays():
    """Three classes of 4x4 byte images that a network tells apart easily, the first tenth mislabelled."""
    rng = np.random.default_rng(0)

    def draw(n):
        labels = np.arange(n) % 3
        images = rng.integers(0, 100, (n, 4, 4, 1))
        images[np.arange(n), labels] += 120
        return images.astype(np.uint8), labels

    train_images, clean = draw(60)
    test_images, test_labels = draw(30)
    given = clean.copy()
    given[:6] = (given[:6] + 1) % 3
    return {
        "train_images": train_images,
        "train_labels": given,
        "train_clean_labels": clean,
        "test_images": test_images,
        "test_labels": test_labels,
    }


@pytest.fixture(scope="session")
def tiny_npz(tmp_path_factory, tiny_arrays):
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, **tiny_arrays)
    return path


@pytest.fixture
def quiet():
    return Progress(Console(quiet=True))


@pytest.fixture
def own_cache(tmp_path_factory, monkeypatch):
    """A cache folder for one test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
