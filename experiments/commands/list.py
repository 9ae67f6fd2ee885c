"""`list`: what can be named on the command line."""

import inspect

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from experiments import method_names, methods, presets
from experiments.commands.flags import List
from experiments.presets import page
from experiments.terminal import UserError, check_output


def run(command: List, console: Console) -> None:
    """Prints the losses, the methods or the presets."""
    if command.figure is not None and command.what != "losses":
        raise UserError("--figure has no effect without `losses`")
    if command.details and command.what != "presets":
        raise UserError("--details has no effect without `presets`")
    match command.what:
        case "losses":
            _list_losses(command, console)
        case "methods":
            _list_methods(console)
        case "presets":
            page.show(presets.PRESETS, console, details=command.details)


def _list_losses(command: List, console: Console) -> None:
    from experiments.pages import loss_page, plots

    check_output(command.figure, "--figure")
    if command.figure is not None and command.figure.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"--figure {command.figure}: expected a name that ends in .png, .pdf or .svg")
    loss_page.show(loss_page.entries(), console)
    if command.figure is not None:
        plots.losses(loss_page.curves(methods.LOSSES), command.figure)


def _list_methods(console: Console) -> None:
    for kind, functions in (("Losses", methods.METHODS), ("Transformations", methods.TRANSFORMATIONS)):
        console.print(Text(kind, style="bold"))
        for name, function in functions.items():
            own = method_names.defaults(function)
            spelled = ",".join(f"{key}={value}" for key, value in own.items())
            console.print(Text(f"  {name}").append(f":{spelled}" if spelled else "", style="dim"))
            what, _, _ = (inspect.getdoc(function) or "").partition("\n")
            console.print(Padding(Text(what), (0, 0, 0, 6)))
        console.print()
