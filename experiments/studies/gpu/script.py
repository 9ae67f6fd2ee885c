"""Measures on a GPU that is at hand for a few minutes, the most valuable first; resumes a results folder."""

import dataclasses
import warnings
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console

from experiments.__main__ import keep_compiled_programs
from experiments.studies.gpu import page, pictures, published, runs, session, speed
from experiments.studies.gpu.pictures import Sheets
from experiments.studies.gpu.programs import Programs
from experiments.studies.gpu.session import Job, Session
from experiments.studies.whole_runs.whole_run import Pictures
from experiments.terminal import UserError
from experiments.training import training_data

# Long enough to memorise.
EPOCHS = 40
# What a measurement of ResNet-18's speed may take, on both sides.
SPEED_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure speed, then training runs on noisy CIFAR-10, on a GPU that is at hand for a few minutes."""

    minutes: float
    """When to end, counted from the start of the command; nothing is begun that would not be finished."""
    data: Path
    """A folder with the sheets train-*.webp (the first ones are enough) and test-*.webp and labels.npz."""
    results: Path = Path("runs/gpu")
    """The folder for results.jsonl and README.md; results that it already has are not measured again."""
    epochs: int = EPOCHS
    """Epochs of each training run."""
    width: int = 256
    """Channels of the speed-run network."""
    batch_size: int = 1024
    """Examples in a step of the speed-run network."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """What convolutions are computed in. On a CPU toys stand in for ResNet-18, whatever the precision."""
    toy: bool = False
    """For rehearsals on a CPU: each run is one compiled loop there too, slow as that is with convolutions."""


def main(started: float, args: list[str] | None = None) -> int:
    """Runs a session that began at `started`; 0, 1 if a job failed, or 2 after a one-line message."""
    console, errors = Console(), Console(stderr=True)

    def line(text: str, to: Console = console) -> None:
        to.print(text, markup=False, highlight=False, soft_wrap=True)

    def show_warning(message, *_, **__):
        line(f"warning: {message}", errors)

    warnings.showwarning = show_warning
    keep_compiled_programs()
    arguments = tyro.cli(Arguments, args=args, prog="python -m experiments.studies.gpu", description=__doc__)
    try:
        session.check_minutes(arguments.minutes)
        now = Session(arguments.minutes, arguments.results, line, started=started)
        measure(arguments, now)
    except UserError as error:
        line(f"error: {error}", errors)
        return 2
    return 1 if now.failed else 0


def measure(arguments: Arguments, now: Session) -> None:
    """Everything that fits into the minutes, in the order of its value."""
    now.end_at_the_latest()
    sheets = pictures.load(arguments.data)
    device = jax.devices()[0]
    count, names = len(sheets.train_images), ", ".join(sheets.labels)
    now.say(f"{device.device_kind}; {count} training pictures, labels {names}")
    on_cpu = device.platform == "cpu"
    shape = runs.Shape(
        arguments.width, arguments.batch_size, arguments.precision, step_by_step=on_cpu and not arguments.toy
    )
    toys = on_cpu or arguments.toy
    matrix = Matrix(now, sheets, shape)
    size = speed.Size(examples=32, batch_size=8, toy=True, blocks=1) if toys else speed.Size()

    families = runs.families(arguments.epochs, shape)
    matrix.compile(runs.PRESET, runs.PRESET_EPOCHS)
    preset = runs.Run("cross_entropy", "clean", runs.PRESET_EPOCHS)
    for family in families:
        matrix.compile(family, arguments.epochs)
    now.carry_out(matrix.job(preset, runs.PRESET))
    by_method = {name: family for family in families for name in family.methods}
    for run in runs.order(arguments.epochs, tuple(sheets.labels)):
        now.carry_out(matrix.job(run, by_method[run.method]))
    # Last: choosing kernels for ResNet-18 takes minutes.
    for precision in (arguments.precision,) if toys else (arguments.precision, "float32"):
        for method in speed.METHODS:
            now.carry_out(matrix.resnet_job(method, precision, size))
    published.carry_out(now, sheets, arguments.results, toy=toys)
    page.write(arguments.results)
    now.say(f"results {arguments.results / page.FILE}")


class Matrix:
    """The runs of the speed-run network on one set of pictures, and the programs that they share."""

    def __init__(self, now: Session, sheets: Sheets, shape: runs.Shape):
        self._now, self._sheets, self._shape = now, sheets, shape
        self.programs = Programs()
        self._inputs = training_data.measure_inputs(sheets.train_images, scaling="standardize")
        self._images = jnp.asarray(sheets.train_images), jnp.asarray(sheets.test_images)
        self._test_labels = jnp.asarray(sheets.test_labels)
        # Seconds of work on the host, which no program has to wait for.
        self.programs.begin(
            "statistics", lambda: runs.fitted_statistics(shape, sheets.train_images, self._inputs)
        )

    def compile(self, family: runs.Family, epochs: int) -> None:
        """Begins to compile a family's program, if that has not begun."""
        pictures = self._pictures("clean")
        self.programs.begin(
            (family.name, epochs),
            lambda: runs.compile_family(family, epochs, self._shape, self._inputs, pictures),
        )

    def compile_resnet(self, method: str, precision: str, size: speed.Size) -> None:
        """Begins to compile ResNet-18's program, if that has not begun."""
        self.programs.begin((method, precision), lambda: speed.our_epoch(method, precision, size))

    def resnet_job(self, method: str, precision: str, size: speed.Size) -> Job:
        """The measurement of ResNet-18's speed as a job."""

        def carry_out():
            self.compile_resnet(method, precision, size)
            # Compiling beside it would slow down PyTorch's loop, which waits for Python at every step.
            self.programs.wait(self._now.left() - SPEED_SECONDS)
            program = self.programs.get((method, precision), 0.0)
            return {"kind": "speed", **speed.measure(method, precision, program, size)}

        name = f"speed / {method} / {precision}"
        return Job(name, lambda: 0.0 if size.toy else SPEED_SECONDS, carry_out)

    def job(self, run: runs.Run, family: runs.Family) -> Job:
        """The run as a job."""

        def carry_out():
            spare = self._now.left() - self._expected(run, family)
            program = self.programs.get((family.name, run.epochs), spare)
            statistics = self.programs.get("statistics", spare)
            measured = runs.carry_out(
                run, family, program, statistics, self._inputs, self._pictures(run.labels), self._shape
            )
            best, last = max(measured["test_accuracy"]), np.mean(measured["test_accuracy"][-5:])
            memorised = measured["memorised"][-1]
            self._now.say(f"{run.name}: test {last:.2%}, best epoch {best:.2%}, memorised {memorised:.1%}")
            return {"kind": "run", **self._shape._asdict(), "examples": self._examples, **measured}

        name = f"{run.name} / {self._examples} pictures"
        return Job(name, lambda: self._expected(run, family), carry_out)

    @property
    def _examples(self) -> int:
        return len(self._sheets.train_images)

    def _pictures(self, labels: str) -> Pictures:
        given, clean = (jnp.asarray(self._sheets.labels[name]) for name in (labels, "clean"))
        return Pictures(self._images[0], given[None], clean, self._images[1], self._test_labels)

    def _timed(self) -> list[dict]:
        """Runs of this shape on this device."""
        device = jax.devices()[0].device_kind
        return [
            result
            for result in self._now.results
            if result.get("kind") == "run"
            and all(result[name] == value for name, value in self._shape._asdict().items())
            and result["provenance"]["device"].endswith(device)
        ]

    def _expected(self, run: runs.Run, family: runs.Family) -> float:
        """Seconds of a run, from the latest of the same program or else of any, by pictures and gradients."""
        timed = self._timed()
        same = [result for result in timed if result["program"] == family.name] or timed
        if not same:
            return 0.0
        latest = same[-1]
        each = latest["seconds"] / (latest["epochs"] * latest["examples"] * latest["gradients"])
        return each * run.epochs * self._examples * family.gradients
