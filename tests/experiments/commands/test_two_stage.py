"""The second stage: the labels that it trains on are written once and are no noise."""

import numpy as np
import pytest
from rich.console import Console

from experiments.commands import two_stage
from experiments.config import Data, Experiment, Placement


@pytest.mark.parametrize(
    ("data", "flag"),
    [
        (Data("npz:a.npz", noise="pair", noise_rate=0.2), "labels_file"),
        (Data("npz:a.npz", labels_file="human.npy"), "labels_file"),
        (Data("npy:a.npy", labels_file="t.csv", label="kind"), "labels_file"),
        # Nothing is known to be right: there is nothing to measure it against.
        (Data("npz:a.npz"), "corrections"),
        (Data("npz:a.npz", corrections="mine.csv"), "corrections"),
    ],
)
def test_the_second_stage_trains_on_the_corrected_labels_alone(tmp_path, data, flag):
    found = two_stage.corrected_data(data, tmp_path / "c.npy")
    asked = {name: getattr(found, name) for name in ("labels_file", "corrections") if getattr(found, name)}
    assert asked == {flag: str(tmp_path / "c.npy")}
    assert (found.dataset, found.noise, found.noise_rate) == (data.dataset, "none", None)
    assert (found.label, found.id) == (None, None)


def test_resumed_it_goes_on_with_the_labels_that_it_began_with(tmp_path, monkeypatch):
    written, trained = [], []

    def write(run_dir, experiment, path, console):
        written.append(path)
        np.save(path, np.zeros(3))

    monkeypatch.setattr(two_stage, "write_corrected", write)
    monkeypatch.setattr(two_stage, "train", lambda method, experiment, folder, *_: trained.append(folder))
    for _ in range(2):
        two_stage.second_stage(tmp_path, "dal", Experiment(), Placement(), Console(quiet=True))
    assert written == [tmp_path / "corrected.npy"]
    assert trained == [tmp_path / "second"] * 2
