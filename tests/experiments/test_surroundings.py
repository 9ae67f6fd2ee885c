"""A user without a home folder, a terminal without room or without letters, a folder with an odd name."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from experiments import config
from experiments.__main__ import main
from experiments.config import Data, Experiment
from experiments.data import cache
from experiments.terminal import UserError, print_any_name, print_table


@pytest.fixture
def no_home(monkeypatch):
    def missing():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", missing)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


@pytest.mark.usefixtures("no_home")
def test_a_command_needs_no_home_folder(capsys):
    assert main(["list", "methods"]) == 0
    assert capsys.readouterr().err == ""
    made = cache.arrays("name", "key", lambda: {"x": np.ones(2)})
    np.testing.assert_array_equal(made["x"], [1, 1])
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        cache.mapped("name", "key", io.BytesIO(), lambda: None)


def test_a_narrow_terminal_shows_all_columns():
    table = Table("method", "last-10 mean", "last epoch", "best epoch")
    for column in table.columns:
        column.no_wrap = True
    table.add_row("cross_entropy", "69.25", "74.01", "74.02")
    file = io.StringIO()
    print_table(Console(file=file, width=20), table)
    assert all(
        cell in file.getvalue() for cell in ("cross_entropy", "last-10 mean", "69.25", "74.01", "74.02")
    )
    silent = io.StringIO()
    print_table(Console(file=silent, width=20, quiet=True), table)
    assert silent.getvalue() == ""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_cannot_be_written_is_printed_with_question_marks(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    print_any_name()
    print("caf\udce9 ±", flush=True)
    assert written.getvalue() == b"caf? " + "±".encode(encoding, "replace") + b"\n"


@pytest.mark.parametrize("name", ["caf\udce9", r"a\b"])
def test_the_folder_of_a_run_has_a_name_that_checkpoints_can_have(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = Experiment(data=Data(dataset=f"npz:{name}.npz"))
    found = str(config.default_run_dir(experiment, "cross_entropy"))
    assert found.encode() == found.replace("\\", "").encode()
