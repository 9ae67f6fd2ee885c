import csv

import matplotlib.image
import numpy as np

from experiments.runs import long_table
from experiments.studies.figures import learned_first


def test_curves_are_means_over_seeds_and_the_claim_has_their_numbers(tmp_path):
    def rows():
        for method in (*learned_first.METHODS, "another"):
            for seed, offset in ((0, -0.01), (1, 0.01)):
                for epoch in range(1, 21):
                    learned = 0.9 if epoch < 6 or method != "cross_entropy" else 0.6
                    yield method, "symmetric", 0.4, seed, epoch, "test_accuracy", learned + offset
                    yield method, "symmetric", 0.4, seed, epoch, "memorised", epoch / 20
                    yield method, "symmetric", 0.4, seed, epoch, "train_loss", 1.0

    long_table.write(tmp_path / "results.csv", rows())
    learned_first.write_curves(tmp_path / "results.csv", tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * 20 * 2
    curves = learned_first.read_curves(tmp_path / "curves.csv")
    np.testing.assert_allclose(curves["cross_entropy", "test_accuracy"], [0.9] * 5 + [0.6] * 15)
    assert learned_first.claim(curves).startswith("Cross-entropy reaches 90 % and falls to 60 %")
    learned_first.draw(curves, tmp_path / "figure.png")
    assert matplotlib.image.imread(tmp_path / "figure.png").shape[1] == 1650
