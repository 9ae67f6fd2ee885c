"""Ctrl-C ends a command in one line and with exit code 130, whatever it is doing."""

import os
import signal
import subprocess
import sys

import pytest

from experiments.safety import interrupts

START = """
import sys, time
from experiments.safety import interrupts
interrupts.SECONDS = 0.1
pressed = interrupts.install()
def ready():
    print("ready", flush=True)
"""
# What it is doing, after which the interpreter would end with another code and say more.
DOING = {
    "a step": "ready()\ntime.sleep(60)",
    "dropped": """
ready()
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
""",
    "translated": (
        "ready()\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt as error:\n    raise OSError from error"
    ),
    "another thread complains": """
import threading
def complain():
    pressed.wait()
    time.sleep(0.05)
    raise ValueError("lost")
threading.Thread(target=complain, daemon=True).start()
ready()
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
""",
    "one long call": "import hashlib\nready()\nhashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
}


def interrupted(process):
    """Exit code and what was said, of a process that is ready."""
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


@pytest.mark.parametrize("doing", DOING.values(), ids=DOING)
def test_one_line_and_exit_code_130(doing, request):
    command = [sys.executable, "-c", START + doing]
    root, pipe = request.config.rootpath, subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=root) as process:
        assert interrupted(process) == (interrupts.CODE, f"{interrupts.SAID}\n")


def test_an_import_that_catches_all_is_left(tmp_path, request):
    (tmp_path / "slow_module.py").write_text(
        "ready()\ntry:\n    time.sleep(60)\nexcept BaseException:\n    pass\n"
    )
    code = f"{START}\nimport builtins\nbuiltins.ready, builtins.time = ready, time\nimport slow_module"
    environment = {**os.environ, "PYTHONPATH": f"{request.config.rootpath}{os.pathsep}{tmp_path}"}
    command, pipe = [sys.executable, "-c", code], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert interrupted(process) == (interrupts.CODE, f"{interrupts.SAID}\n")


@pytest.mark.slow
def test_a_run_interrupted_at_twenty_moments_ends_in_the_same_metrics(tmp_path, tiny_npz, request):
    flags = (
        f"train --dataset npz:{tiny_npz} --epochs 60 --batch-size 8 --checkpoint-every 1 --run-dir".split()
    )

    def started(name):
        command = [sys.executable, "-m", "experiments", *flags, str(tmp_path / name)]
        pipe, root = subprocess.PIPE, request.config.rootpath
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=root)

    # Not before Python itself has started.
    for tenths in range(4, 64, 3):
        process = started("interrupted")
        try:
            process.wait(tenths / 10)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        said, code = process.communicate(timeout=60)[1], process.returncode
        # It may have ended by itself.
        assert (said, code) in ((f"{interrupts.SAID}\n", interrupts.CODE), ("", 0))
    for name in ("interrupted", "whole"):
        process = started(name)
        process.communicate()
        assert process.returncode == 0
    ended, whole = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("interrupted", "whole"))
    assert ended == whole
