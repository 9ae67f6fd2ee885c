"""The public surface: each name documented with an example, and nothing heavy behind the import."""

import inspect
import subprocess
import sys

import noisy_optax as nox
from noisy_optax import losses

MODULES = (
    nox,
    nox.audit,
    nox.diagnostics,
    nox.losses,
    nox.memory,
    nox.noise,
    nox.ogc,
    nox.robust_loss,
    nox.schedules,
    nox.sharpness,
    nox.training,
)


def public(module):
    """The public names of a module with their values: those it exports, else those it defines."""
    defined = (
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    )
    names = getattr(module, "__all__", [name for name in defined if not name.startswith("_")])
    return {name: getattr(module, name) for name in names}


PUBLIC = {name: value for module in MODULES for name, value in public(module).items()}


def test_every_public_name_is_documented():
    # A NamedTuple without a docstring is given one that starts with its own name.
    undocumented = [
        name for name, value in PUBLIC.items() if not value.__doc__ or value.__doc__.startswith(f"{name}(")
    ]
    assert undocumented == []
    functions = [(name, value) for name, value in PUBLIC.items() if inspect.isfunction(value)]
    assert len(functions) > 80
    assert [name for name, value in functions if ">>>" not in value.__doc__] == []


def test_losses_take_logits_and_labels_and_everything_else_by_name():
    for name, loss in public(losses).items():
        parameters = inspect.signature(loss).parameters if inspect.isfunction(loss) else {}
        if {"logits", "labels"} <= set(parameters):
            positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
            assert positional == ["logits", "labels"], name
            assert parameters["axis"].default == -1, name
            assert parameters["where"].default is None, name


def test_import_brings_nothing_heavy_and_no_warning():
    heavy = ["flax", "sklearn", "tensorflow", "matplotlib", "orbax", "PIL", "tyro", "rich", "experiments"]
    code = f"import sys, noisy_optax; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == "[]"
