"""Train and compare classifiers on noisy labels, find the wrong labels, and predict."""

if __name__ == "__main__":
    # Before the imports, which take seconds.
    from experiments.safety import interrupts

    interrupted = interrupts.install()

import dataclasses
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Union

import jax
from rich.console import Console
from tyro.conf import subcommand

from experiments import presets, terminal
from experiments.commands import flags, flat
from experiments.data import cache
from experiments.safety import compiled_programs, interrupts, trust
from experiments.terminal import Stopped, UserError, say

# The subcommand of each kind of flags; the module of that name has a function `run(flags, console)`.
COMMANDS: dict[type, str] = {
    flags.Train: "train",
    flags.Compare: "compare",
    flags.Predict: "predict",
    flags.Audit: "audit",
    flags.Review: "review",
    flags.Clean: "clean",
    flags.Report: "report",
    flags.Prepare: "prepare",
    flags.List: "list",
}
STOPPED = 75


def main(args: list[str] | None = None) -> int:
    """Runs one command; returns 0, or 2 after a one-line message about what the user can mend.

    75, which says "try again" by convention, if `--stop-after` ended a run before its last epoch.
    """
    return guarded(lambda console: run(parse(sys.argv[1:] if args is None else args), console))


def guarded(action: Callable[[Console], None]) -> int:
    """Runs `action`; returns the exit code, and tells what the user can mend in one line."""
    terminal.print_any_name()
    console, errors = terminal.make_console(), terminal.make_console(stderr=True)
    said: set[str] = set()

    def show_warning(message, *_, **__):
        text = compiled_programs.mended(str(message))
        # One line for all programs that do not fit on a full disk.
        if text != str(message) and text in said:
            return
        said.add(text)
        say(errors, f"warning: {text}")

    warnings.showwarning = show_warning
    # Matplotlib says at length where it keeps its fonts if the home folder cannot be written to.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    keep_compiled_programs()
    try:
        action(console)
    except Stopped as reached:
        say(console, str(reached))
        return STOPPED
    except UserError as error:
        say(errors, f"error: {error}")
        return 2
    except BrokenPipeError:
        # Whoever read our output, `head` say, has seen enough; nothing is left to say or to flush.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 1
    except OSError as error:
        say(errors, f"error: {_describe(error)}")
        return 2
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        say(errors, f"error: there is not enough memory ({terminal.one_line(error)[:200]})")
        return 2
    except KeyboardInterrupt:
        interrupts.say_unless_said()
        return interrupts.CODE
    return 0


def keep_compiled_programs() -> None:
    """Lets the next command find what this one has compiled, unless JAX has been told where to keep that."""
    named = jax.config.values["jax_compilation_cache_dir"]
    # A bucket in a cloud has its own rules.
    if "://" in (named or ""):
        return
    try:
        kept_in = Path(named) if named else cache.folder() / "compiled"
    # A user without a home folder keeps none.
    except UserError:
        return
    if not trust.may_hold_programs(kept_in):
        jax.config.update("jax_compilation_cache_dir", None)
    elif named is None:
        jax.config.update("jax_compilation_cache_dir", str(kept_in))
        # Many small ones add up at every start.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def parse(args: list[str]) -> Any:
    """The flags of the command that the arguments spell.

    `train` and `compare` start from a preset if they name one.
    """
    preset = presets.chosen(args)
    train = flags.Train() if preset is None else dataclasses.replace(preset.train, preset=preset.name)
    compare = flags.Compare() if preset is None else _compare_like(preset)
    starts = {flags.Train: train, flags.Compare: compare}
    shown = {
        name: flat.flattened(starts[kind], flags.ORDERS[kind]) if kind in starts else kind
        for kind, name in COMMANDS.items()
    }
    parsed = terminal.parse(
        Union[tuple(Annotated[kind, subcommand(name)] for name, kind in shown.items())],  # noqa: UP007
        args,
        "python -m experiments",
        description=__doc__,
    )
    for kind, start in starts.items():
        if type(parsed) is shown[COMMANDS[kind]]:
            return flat.nested_again(start, parsed)
    return parsed


def _compare_like(preset: presets.Preset) -> flags.Compare:
    experiment = dataclasses.replace(preset.train.experiment, seeds=flags.Compare().experiment.seeds)
    return flags.Compare(experiment, ("cross_entropy", preset.train.method), preset=preset.name)


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def run(command: Any, console: Console) -> None:
    """Carries out a parsed command."""
    # Each command imports what it needs, for all of it together takes seconds to import.
    module = importlib.import_module(f"experiments.commands.{COMMANDS[type(command)]}")
    module.run(command, console)


if __name__ == "__main__":
    code = main()
    # A library may have made something else of it.
    if interrupted.is_set():
        interrupts.leave(interrupts.CODE)
    sys.exit(code)
