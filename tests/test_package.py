"""What is shipped: its version, what it says it needs, and that the wheel stands alone."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import noisy_optax

ROOT = Path(noisy_optax.__file__).parents[1]
PACKAGE = "noisy-optax"


def test_the_version_is_that_of_the_metadata_and_a_semantic_one():
    version = Version(noisy_optax.__version__)
    assert str(version) == noisy_optax.__version__
    assert len(version.release) == 3
    assert importlib.metadata.version(PACKAGE) == noisy_optax.__version__


def test_it_asks_for_what_it_imports_and_nothing_else():
    imported = {
        name.split(".")[0]
        for file in (ROOT / "noisy_optax").rglob("*.py")
        # It has an extra of its own, and nothing imports it.
        if file != ROOT / "noisy_optax" / "sklearn.py"
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    third_party = imported - set(sys.stdlib_module_names) - {"noisy_optax"}
    dependencies = re.search(
        r"^dependencies = (\[.*?^\])", (ROOT / "pyproject.toml").read_text(), re.M | re.S
    )
    assert dependencies is not None
    assert {Requirement(text).name for text in ast.literal_eval(dependencies[1])} == third_party


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment(tmp_path):
    """Needs a package index."""

    def run(*command):
        return subprocess.run(
            [str(part) for part in command], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    built = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    if built.returncode:
        unreachable = "No matching distribution" in built.stderr or "ConnectionError" in built.stderr
        if unreachable or "NewConnectionError" in built.stderr:
            pytest.skip("no package index within reach, to build the wheel with")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    venv = tmp_path / "venv"
    assert run(sys.executable, "-m", "venv", venv).returncode == 0
    installed = run(venv / "bin" / "python", "-m", "pip", "install", wheel)
    assert installed.returncode == 0, installed.stderr
    code = "import noisy_optax; print(noisy_optax.__version__, noisy_optax.__file__)"
    imported = run(venv / "bin" / "python", "-W", "error", "-c", code)
    assert (imported.returncode, imported.stderr) == (0, "")
    version, file = imported.stdout.split()
    assert version == noisy_optax.__version__
    assert Path(file).is_relative_to(venv)
