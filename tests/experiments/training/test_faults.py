"""What is damaged, empty, gone or not to be opened is named in one line; what is killed goes on."""

import builtins
import contextlib
import errno
import functools
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import __main__
from experiments.runs import run_folder
from experiments.studies import results_pages
from experiments.studies.__main__ import main as studies
from experiments.studies.claims import report as claims_report
from experiments.terminal import UserError
from experiments.training import checkpoints

pytestmark = pytest.mark.usefixtures("own_cache")

FLAGS = ["--epochs", "2", "--batch-size", "8", "--width", "16", "--checkpoint-every", "1"]
ON_DATA = ["train", "--dataset", "npz:data.npz", *FLAGS, "--run-dir"]
SUSPECTS = """rank,index,given_label,suggested_label,probability_wrong
1,5,0,1,0.875000
2,7,1,2,0.500000
3,1,1,2,0.250000
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_npz, tiny_arrays):
    """A folder with one of everything that is read."""
    root = tmp_path_factory.mktemp("whole") / "work"
    root.mkdir()
    shutil.copy(tiny_npz, root / "data.npz")
    given = tiny_arrays["train_labels"]
    np.save(root / "labels.npy", given)
    np.savez(root / "labels.npz", given=given, other=given)
    np.savez(root / "new.npz", images=tiny_arrays["test_images"])
    rng = np.random.default_rng(0)
    for name, kind in itertools.product("abc", ("png", "jpg")):
        path = root / "images" / name / f"image.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert __main__.main([*ON_DATA, "run"]) == 0
    (root / "run" / "labels.csv").write_text(SUSPECTS)
    estimate = {"rate": 0.1, "low": 0.08, "high": 0.12}
    (root / "run" / "audit.json").write_text(json.dumps({"estimated_noise_rate": estimate}))
    return root


@pytest.fixture
def work(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(__main__, "parse", lambda args: parse(tuple(args)))
    return tmp_path / "work"


# The commands are parsed once: all that differs is in the files.
parse = functools.cache(lambda args, parse=__main__.parse: parse(list(args)))


def empty(path, patch):
    path.write_bytes(b"")


def cut(path, patch):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def noise(path, patch):
    path.write_bytes(random.Random(0).randbytes(300))


def removed(path, patch):
    path.unlink()


def denied(path, patch):
    """As for a person who may not read it; root may."""
    target, real = path.resolve(), io.open

    def refuse(file, *args, **options):
        if isinstance(file, str | Path) and Path(file).resolve() == target:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return real(file, *args, **options)

    patch.setattr(io, "open", refuse)
    patch.setattr(builtins, "open", refuse)


ALWAYS = (empty, cut, noise, denied)
# For each reader: the file, the command, and what can happen to the file.
READERS = {
    "npz": ("data.npz", [*ON_DATA, "new"], (*ALWAYS, removed)),
    "npz streamed": ("data.npz", [*ON_DATA, "new", "--stream"], (*ALWAYS, removed)),
    "npy labels": ("labels.npy", [*ON_DATA, "new", "--labels-file", "labels.npy"], (*ALWAYS, removed)),
    "npz labels": (
        "labels.npz",
        [*ON_DATA, "new", "--labels-file", "labels.npz:given"],
        (*ALWAYS, removed),
    ),
    "png": (
        "images/b/image.png",
        ["train", "--dataset", "folder:images", *FLAGS, "--run-dir", "new"],
        ALWAYS,
    ),
    "jpeg": (
        "images/c/image.jpg",
        ["train", "--dataset", "folder:images", *FLAGS, "--run-dir", "new", "--stream"],
        # Half a file is enough for a JPEG's header; what is read later is a case of its own.
        (empty, noise, denied),
    ),
    "predicted npz": ("new.npz", ["predict", "run", "new.npz"], (*ALWAYS, removed)),
    "predicted folder": ("images/a/image.png", ["predict", "run", "folder:images"], ALWAYS),
    "config, train": ("run/config.json", [*ON_DATA, "run"], (*ALWAYS, removed)),
    "config, predict": ("run/config.json", ["predict", "run", "new.npz"], (*ALWAYS, removed)),
    "config, report": ("run/config.json", ["report", "run"], (*ALWAYS, removed)),
    "summary, train": ("run/summary.json", [*ON_DATA, "run"], ALWAYS),
    "summary, report": ("run/summary.json", ["report", "run"], ALWAYS),
    "metrics, report": ("run/metrics.jsonl", ["report", "run"], (denied,)),
    "suspects": ("run/labels.csv", ["report", "run"], ALWAYS),
    "audit": ("run/audit.json", ["report", "run"], ALWAYS),
    "results": ("results/digits/none.json", ["pages"], (*ALWAYS, removed)),
    "more results": ("results/claims/many_classes.json", ["pages"], ALWAYS),
}
CASES = [(name, damage) for name, (_, _, damages) in READERS.items() for damage in damages]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fails_in_one_line(command, file, capsys):
    """Exit code 2 and one line that names the file; all before it are warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        program = studies if command == ["pages"] else __main__.main
        assert program(command) == 2
    captured = capsys.readouterr()
    *before, last = captured.err.splitlines()
    assert last.startswith("error: ")
    assert Path(file).name in last
    assert all(line.startswith("warning: ") for line in before)


@pytest.mark.parametrize(("name", "damage"), CASES, ids=[f"{n}, {d.__name__}" for n, d in CASES])
def test_a_file_that_cannot_be_read(name, damage, work, capsys, monkeypatch):
    file, command, _ = READERS[name]
    if command == ["pages"]:
        shutil.copytree(results_pages.RESULTS.parent, work / "results")
        shutil.copy(results_pages.README, work)
        monkeypatch.setattr(results_pages, "RESULTS", work / "results" / "digits")
        monkeypatch.setattr(results_pages, "README", work / "README.md")
        monkeypatch.setattr(claims_report, "RESULTS", work / "results" / "claims")
    with monkeypatch.context() as patch:
        damage(work / file, patch)
        if damage is not denied:
            before = contents(work)
        fails_in_one_line(command, file, capsys)
    if damage is not denied:
        assert contents(work) == before
    assert not (work / "new").exists()


@pytest.mark.parametrize(
    ("file", "content", "command"),
    [
        ("run/config.json", {"config": 3}, ["predict", "run", "new.npz"]),
        ("run/config.json", {"config": {}}, ["predict", "run", "new.npz"]),
        (
            "run/config.json",
            {"config": {"method": "x", "hyperparameters": []}},
            ["predict", "run", "new.npz"],
        ),
        ("run/config.json", {"config": {}}, [*ON_DATA, "run"]),
        ("run/config.json", {"config": 3}, ["report", "run"]),
        ("run/summary.json", 3, [*ON_DATA, "run"]),
        ("run/summary.json", {"metric": "x", "seeds": [0], "last": {}}, [*ON_DATA, "run"]),
        ("run/audit.json", [1], ["report", "run"]),
    ],
)
def test_json_of_another_form(file, content, command, work, capsys):
    (work / file).write_text(json.dumps(content))
    fails_in_one_line(command, "run" if command[-1] == "run" else file, capsys)


@pytest.mark.parametrize("lines", ["{}\n{}\n", '{"train_loss": [1.0]}\n{"trai'])
def test_metrics_that_do_not_fit_the_checkpoint(lines, work, capsys):
    (work / "run" / "summary.json").unlink()
    (work / "run" / "metrics.jsonl").write_text(lines)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert __main__.main([*ON_DATA, "run"]) == 2
    captured = capsys.readouterr()
    assert "metrics.jsonl" in captured.err
    assert captured.err.count("\n") == 1
    assert (work / "run" / "metrics.jsonl").read_text() == lines


def test_a_quotation_mark_without_its_other_half(work, capsys):
    rows = "".join(f'{rank},1,1,2,0.1,"{rank}"\n' for rank in range(4, 9000))
    (work / "run" / "labels.csv").write_text(f'{SUSPECTS}4,1,1,2,"0.1\n{rows.replace(chr(34), "")}')
    fails_in_one_line(["report", "run"], "run/labels.csv", capsys)


def test_a_run_without_checkpoints_predicts_nothing(work, capsys):
    shutil.rmtree("run/checkpoints")
    fails_in_one_line(["predict", "run", "new.npz"], "run", capsys)


# The storage library leaves tasks behind when a file cannot be read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", [cut, pytest.param(empty, marks=pytest.mark.slow), removed])
def test_any_file_of_a_checkpoint(damage, tmp_path):
    """The newest checkpoint as it was, or a warning and the one before it."""
    trees = [{"a": np.arange(100.0) + epoch, "b": np.full(3, epoch)} for epoch in range(3)]
    saved = checkpoints.Checkpoints(tmp_path / "saved")
    for epoch in (1, 2):
        saved.save(epoch, trees[epoch])
    saved.close()
    files = [path.relative_to(tmp_path / "saved") for path in sorted((tmp_path / "saved" / "2").rglob("*"))]
    for number, file in enumerate(path for path in files if (tmp_path / "saved" / path).is_file()):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "saved", folder)
        damage(folder / file, None)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = checkpoints.Checkpoints(folder, read_only=True).restore(checkpoints.abstract(trees[2]))
        epoch, tree = found
        assert epoch == 2 or [str(folder / "2") in str(warning.message) for warning in said] == [True], file
        np.testing.assert_array_equal(tree["a"], trees[epoch]["a"], err_msg=str(file))
        np.testing.assert_array_equal(tree["b"], trees[epoch]["b"], err_msg=str(file))


# A full disk; for checkpoints see test_train.


@contextlib.contextmanager
def little_room(limit):
    # What is compiled meanwhile would be cut off too, in the cache that all tests share.
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", before)


@pytest.mark.slow
# Without room for its pictures a run is finished all the same.
@pytest.mark.parametrize(("limit", "named", "code"), [(100, "config.json", 2), (20_000, "curves.png", 0)])
def test_a_full_disk_is_one_line_and_the_run_goes_on_afterwards(limit, named, code, work, capsys):
    command = [*ON_DATA, "full"]
    with little_room(limit), warnings.catch_warnings():
        warnings.simplefilter("always")
        assert __main__.main(command) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{named}: cannot be written (File too large)" in said
    assert not [path for path in (work / "full").rglob("*") if path.match("*unfinished*")]
    assert __main__.main(command) == 0
    assert numbers(work / "full") == numbers(work / "run")


def test_no_room_for_a_line_or_for_predictions(work, capsys):
    before = contents(work)
    with little_room(100):
        fails_in_one_line(["predict", "run", "new.npz"], "predictions.csv", capsys)
        assert contents(work) == before
        with pytest.raises(UserError, match=r"metrics.jsonl: cannot be written \(File too large\)"):
            run_folder.append_metrics(work, {"epoch": 1, "train_loss": [0.0] * 100})


def numbers(run_dir):
    """All that a run measured, without times and where it ran."""
    summary = json.loads((run_dir / "summary.json").read_text())
    for name in ("seconds", "provenance"):
        del summary[name]
    return summary, (run_dir / "metrics.jsonl").read_text()


# Kills.


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_in_the_same_bits(tmp_path, tiny_npz):
    flags = (
        f"train --dataset npz:{tiny_npz} --width 16 --norm batch --epochs 400 --batch-size 8 --seeds 2 "
        f"--checkpoint-every 2 --method ogc:queue_size=40,update_every=2 --validation-fraction 0.2 "
        f"--select validation --run-dir"
    ).split()
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}

    def command(name):
        return [sys.executable, "-m", "experiments", *flags, str(tmp_path / name)]

    def start(name):
        return subprocess.Popen(command(name), stdout=subprocess.DEVNULL, env=environment)

    def epochs_done():
        path = tmp_path / "killed" / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    rng, kills, while_writing = random.Random(0), 0, 0
    while kills < 20:
        process, before = start("killed"), epochs_done()
        # Not at a time but after so many epochs and a part of one more, on a machine of any speed.
        target, part = before + rng.randint(0, 12), rng.random() * 0.02
        while epochs_done() < target and process.poll() is None:
            time.sleep(0.001)
        time.sleep(part)
        assert process.poll() is None, f"finished after {kills} kills; give it more epochs"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        while_writing += bool(list((tmp_path / "killed").rglob("*-tmp*")))
    subprocess.run(command("killed"), check=True, stdout=subprocess.DEVNULL, env=environment)
    subprocess.run(command("whole"), check=True, stdout=subprocess.DEVNULL, env=environment)
    assert while_writing, "no kill came while a checkpoint was being written"
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "whole")
    predict = [sys.executable, "-m", "experiments", "predict"]
    for name in ("killed", "whole"):
        asked = [str(tmp_path / name), str(tiny_npz), "--output", str(tmp_path / f"{name}.npz")]
        subprocess.run([*predict, *asked], check=True, stdout=subprocess.DEVNULL, env=environment)
    with np.load(tmp_path / "killed.npz") as killed, np.load(tmp_path / "whole.npz") as whole:
        np.testing.assert_array_equal(killed["probabilities"], whole["probabilities"])

    def names(name):
        return {path.relative_to(tmp_path / name).parts[0] for path in (tmp_path / name).rglob("*")}

    assert names("killed") == names("whole")
    assert not [
        path for path in (tmp_path / "killed").rglob("*") if "tmp" in path.name or "unfinished" in path.name
    ]
