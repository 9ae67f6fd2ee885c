import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import main

# Every kind of harm that a name can do: formula, escape, markup of three kinds, right-to-left override.
CLASSES = ("=cmd|'/c calc'!A1", "\x1b[2J[red]x[/]", "</script><b>$x$\u202e")
FLAGS = ("--label", "kind", "--epochs", "12", "--batch-size", "16", "--width", "16")


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """A table whose classes, ids and one heading are hostile, and a run on it that has been audited."""
    folder = tmp_path_factory.mktemp("received")
    rng = np.random.default_rng(0)
    lines = ["row_id,a,b,kind"]
    for i in range(48):
        a, b = np.eye(3)[i % 3][:2] * 4 + rng.normal(0, 0.1, 2)
        lines.append(f"@id{i}\x1b[1m,{a:.3f},{b:.3f},{CLASSES[(i + (i < 3)) % 3]}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "--dataset", "csv:data.csv", *FLAGS, "--run-dir", "run"]) == 0
        with Path("said.txt").open("w") as file, contextlib.redirect_stdout(file):
            assert main(["audit", "run"]) == 0
    return folder


@pytest.fixture
def received(original, tmp_path, monkeypatch, capfd):
    """A copy of it, which a test may spoil; the working folder."""
    folder = tmp_path / "received"
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    capfd.readouterr()
    return folder


@pytest.fixture
def refused(capfd):
    """Runs a command that has to end in one line of error; returns that line."""

    def run(*command):
        assert main(list(command)) == 2
        said = capfd.readouterr().err.splitlines()
        errors = [line for line in said if not line.startswith("warning: ")]
        assert len(errors) == 1
        assert errors[0].startswith("error: ")
        return errors[0]

    return run
