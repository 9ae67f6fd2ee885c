import csv

from experiments.config import Data
from experiments.runs import long_table


def test_each_seed_epoch_and_metric_has_a_row(tmp_path):
    history = [
        {"epoch": 1, "train_loss": [2.0, None], "tau": 3.0, "test_recall": [[0.1, 0.2], [0.3, 0.4]]},
        {"epoch": 2, "train_loss": [1.0, 1.5], "tau": 2.0, "test_recall": [[0.5, 0.6], [0.7, 0.8]]},
    ]
    data = Data(noise="pair", noise_rate=0.3)
    long_table.write(tmp_path / "results.csv", long_table.rows("ogc", data, [4, 5], history))
    with (tmp_path / "results.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 2 * 2 * 4
    assert all((row["method"], row["noise"], row["rate"]) == ("ogc", "pair", "0.3") for row in found)
    values = {(row["seed"], row["epoch"], row["metric"]): row["value"] for row in found}
    assert values["4", "1", "train_loss"] == "2.0"
    assert values["5", "1", "train_loss"] == "nan"
    assert values["4", "2", "tau"] == values["5", "2", "tau"] == "2.0"
    assert values["5", "2", "test_recall_1"] == "0.8"


def test_labels_of_a_file_and_clean_ones():
    rows = list(long_table.rows("ce", Data(labels_file="x.npy"), [0], [{"epoch": 1, "a": [1.0]}]))
    assert rows == [("ce", "labels-file", None, 0, 1, "a", 1.0)]
