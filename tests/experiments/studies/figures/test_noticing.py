"""The figure of the recipe: it can be drawn from what is committed, and its claim has the numbers."""

import numpy as np
from PIL import Image

from experiments.studies.figures import noticing


def test_it_is_drawn_from_what_is_committed(tmp_path):
    noticing.draw(tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert np.asarray(picture).std() > 10


def test_the_claim_has_the_numbers():
    rows = {
        ("symmetric-0.6", "recommended"): {"noticed": "memorising began at epoch 7", "last": [0.9, 0.94]},
        ("symmetric-0.6", "cross_entropy"): {"last": [0.5]},
    }
    assert noticing.claim(rows).startswith("With 60 % wrong labels, memorising is noticed at epoch 7 to 7")
    assert "rises to 92 %, where that of cross-entropy falls to 50 %" in noticing.claim(rows)
