"""A run folder has one owner, whose lock ends with its process."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from experiments.runs import run_folder
from experiments.terminal import UserError

HOLD = """
import sys, time
from pathlib import Path
from experiments.runs import run_folder
with run_folder.owned(Path(sys.argv[1])):
    print("owned", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path, request):
    """Another process that has the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=request.config.rootpath) as process:
        assert process.stdout.readline() == "owned\n"
        yield process
        process.kill()


def test_the_second_is_refused_in_one_line_and_told_by_whom(tmp_path, owner):
    with (
        pytest.raises(UserError, match=f"another process trains in this folder .process {owner.pid} on "),
        run_folder.owned(tmp_path / "run"),
    ):
        pytest.fail("owned twice")
    assert owner.poll() is None


def test_an_owner_that_was_killed_leaves_no_lock(tmp_path, owner):
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert (tmp_path / "run" / run_folder.LOCK).exists()
    with run_folder.owned(tmp_path / "run"):
        pass


def test_nothing_is_left_behind(tmp_path):
    with run_folder.owned(tmp_path / "new"):
        assert (tmp_path / "new" / run_folder.LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="within"), run_folder.owned(tmp_path / "mine"):
        raise ValueError("within")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_lock_counts_only_where_others_look_for_it(tmp_path, monkeypatch):
    """The former owner removes the file after the next one has opened it and before that has locked it."""
    path, lock, removed = tmp_path / run_folder.LOCK, fcntl.flock, []

    def slow(file, operation):
        if not removed:
            removed.append(path.unlink())
        return lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    with run_folder.owned(tmp_path):
        assert path.exists()
        with pytest.raises(UserError, match="another process"), run_folder.owned(tmp_path):
            pytest.fail("owned twice")


def test_owners_one_after_the_other_never_meet(tmp_path):
    code = f"""
import random, sys, time
from pathlib import Path
from experiments.runs import run_folder
from experiments.terminal import UserError
folder, inside = Path(r"{tmp_path}") / "run", Path(r"{tmp_path}") / "inside"
end = time.monotonic() + 3
while time.monotonic() < end:
    try:
        with run_folder.owned(folder):
            inside.touch(exist_ok=False)
            time.sleep(random.random() / 1000)
            inside.unlink()
    except UserError:
        pass
"""
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    time.sleep(0)
    assert [process.wait() for process in started] == [0, 0]
