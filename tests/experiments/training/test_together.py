"""An error that only one of two processes meets ends both, each saying who failed and why."""

import socket
import subprocess
import sys

import pytest

from experiments.training import together

START = """
import sys
from experiments import __main__
from experiments.terminal import UserError
from experiments.training import checkpoints, setup
def fail(*_, **__):
    raise UserError("the data\\nare gone")
own = int(sys.argv[1])
"""
FAILING = {
    # While the other waits for it in its first step, or within a step or a barrier.
    "set-up of the second": "if own == 1: setup.load = fail",
    "checkpoint of the first": "if own == 0: checkpoints.Checkpoints.save = fail",
}


@pytest.mark.slow
@pytest.mark.parametrize("failing", FAILING.values(), ids=FAILING)
def test_both_end_and_name_the_one_that_failed(failing, tmp_path, tiny_npz, request):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    flags = ["--dataset", f"npz:{tiny_npz}", "--epochs", "3", "--batch-size", "8", "--checkpoint-every", "1"]
    flags += ["--run-dir", str(tmp_path / "run"), "--coordinator", coordinator, "--processes", "2"]
    code = f"{START}{failing}\nsys.exit(__main__.main(['train', *sys.argv[2:], '--process-id', str(own)]))"
    pipe, root = subprocess.PIPE, request.config.rootpath
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(i), *flags], stderr=pipe, text=True, cwd=root)
        for i in range(2)
    ]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    who = 1 if "own == 1" in failing else 0
    for said, returned in ended:
        assert returned == 2
        assert said.startswith(f"error: process {who} of 2, on ")
        assert said.endswith(": the data are gone\n")
        assert said.count("\n") == 1
    assert not list(tmp_path.glob(".*failed*"))


def test_one_process_has_nobody_to_tell(tmp_path):
    with pytest.raises(ValueError, match="mine"), together.ending_together(tmp_path / "run"):
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == []
