"""No code of somebody else is run: no file that a run folder names, no compiled program of others."""

import json
import os
from pathlib import Path

import jax
import pytest

from experiments import __main__
from experiments.__main__ import main
from experiments.data import cache
from experiments.safety import trust
from tests.experiments.untrusted.conftest import FLAGS

EVIL = """from pathlib import Path
from noisy_optax.losses import generalized_cross_entropy as loss
Path('touched').touch()
"""


def name_method(method):
    path = Path("run/config.json")
    content = json.loads(path.read_text())
    content["config"]["hyperparameters"] = method
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "method",
    [
        {"run/evil.py:loss": {}},
        {"cross_entropy": {}, "run/evil.py:loss": {}},
        # The value would end the method and begin another one.
        {"generalized_cross_entropy": {"q": "0.5+run/evil.py:loss"}},
    ],
)
@pytest.mark.parametrize("command", ["predict", "report", "audit", "review", "clean"])
def test_code_that_a_run_folder_names_is_not_run(method, command, received, own_cache, capfd):
    Path("run/evil.py").write_text(EVIL)
    name_method(method)
    more = {"predict": ["data.csv"], "clean": ["--output", "new.csv"]}
    code = main([command, "run", *more.get(command, [])])
    assert not Path("touched").exists()
    said = capfd.readouterr().err
    if command in ("report", "review"):
        # They say it in the page, or need no model.
        assert code == 0
    else:
        assert code == 2
        assert "its method is code in run/evil.py, which has not been trained with on this machine" in said


def test_code_that_the_user_has_named_is_run_until_it_changes(received, own_cache, refused):
    path = Path("mine.py")
    path.write_text(EVIL.replace("Path('touched').touch()", ""))
    flags = ("--dataset", "csv:data.csv", *FLAGS, "--run-dir", "own")
    assert main(["train", "--method", "mine.py:loss", *flags]) == 0
    assert main(["predict", "own", "data.csv"]) == 0
    path.write_text(EVIL)
    assert "its method is code in mine.py" in refused("predict", "own", "data.csv")
    path.unlink()
    assert "its method is in mine.py, which is not there" in refused("predict", "own", "data.csv")
    assert not Path("touched").exists()


@pytest.fixture
def compiled(own_cache, monkeypatch):
    """The folder of compiled programs, as if JAX had been told of none."""
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    yield cache.folder() / "compiled"
    jax.config.update("jax_compilation_cache_dir", before)


def test_compiled_programs_are_kept_where_only_this_user_writes(compiled):
    __main__.keep_compiled_programs()
    assert jax.config.values["jax_compilation_cache_dir"] == str(compiled)
    assert compiled.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("named", [True, False], ids=["named", "by default"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder, patch: folder.chmod(0o777), "other users can write to it"),
        (lambda folder, patch: folder.chmod(0o770), "other users can write to it"),
        (lambda folder, patch: patch.setattr(os, "geteuid", lambda: 12345), "it belongs to another user"),
    ],
)
def test_compiled_programs_of_others_are_not_used(named, spoil, said, compiled, monkeypatch):
    compiled.mkdir(parents=True)
    monkeypatch.setattr(trust, "_is_own_group", lambda number: False)
    spoil(compiled, monkeypatch)
    if named:
        jax.config.update("jax_compilation_cache_dir", str(compiled))
    with pytest.warns(UserWarning, match=f"compiled programs are not kept there, since {said}; .* chmod 700"):
        __main__.keep_compiled_programs()
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_a_group_of_the_user_alone_may_write(tmp_path, monkeypatch):
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs").chmod(0o770)
    group = type("Group", (), {"gr_name": "ann", "gr_mem": []})
    monkeypatch.setattr(trust.grp, "getgrgid", lambda number: group)
    monkeypatch.setattr(trust.pwd, "getpwuid", lambda number: type("User", (), {"pw_name": "ann"}))
    assert trust.make_private(tmp_path / "programs") is None
    group.gr_mem = ["ann", "bob"]
    assert trust.make_private(tmp_path / "programs") == "other users can write to it"


def test_a_bucket_is_left_to_those_who_named_it(compiled):
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/programs")
    __main__.keep_compiled_programs()
    assert jax.config.values["jax_compilation_cache_dir"] == "gs://bucket/programs"
