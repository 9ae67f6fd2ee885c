import dataclasses

import pytest

from experiments.__main__ import main
from experiments.commands import flags, flat
from experiments.config import Experiment, Placement


def test_flat_and_nested_again_is_what_it_was():
    train = flags.Train(Experiment(seeds=7), Placement(devices=2), "dal")
    kind = flat.flattened(train, flags.ORDERS[flags.Train])
    assert flat.nested_again(train, kind()) == train
    changed = dataclasses.replace(kind(), noise="pair", stop_after=1.0)
    assert flat.nested_again(train, changed).experiment.data.noise == "pair"
    assert flat.nested_again(train, changed).placement == Placement(devices=2, stop_after=1.0)


def test_an_order_without_a_flag_is_refused():
    with pytest.raises(ValueError, match=r"not in both: \['stop_after'\]"):
        flat.flattened(flags.Train(), flags.ORDERS[flags.Train][:-1])


@pytest.mark.parametrize("command", ["train", "compare"])
def test_help_is_short_and_what_is_set_first_comes_first(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    said = capsys.readouterr().out
    assert len(said.splitlines()) <= 160
    first = ["--dataset", "--noise", "--method", "--run-dir", "--seeds", "--epochs", "--model", "--augment"]
    places = [said.index(f"{flag} " if flag != "--method" else flag) for flag in first]
    assert places == sorted(places)
