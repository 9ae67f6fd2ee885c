"""The pages under docs/: their code runs, their commands exist, and the reference leaves nothing out."""

import inspect
import re
import shlex
import textwrap
from pathlib import Path

import griffe
import jax
import pytest

import noisy_optax
from experiments.__main__ import COMMANDS, parse

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}


# Several trainings each, in frameworks that tests/sharpness/test_frameworks.py runs a step of anyway.
LONG = (
    "start/equinox.md",
    "start/linen.md",
    "start/nnx.md",
    "start/options.md",
    "methods/ogc.md",
    "methods/per_example.md",
)


def blocks(page, language):
    """The fenced blocks of a language, which may be indented as in a tab."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


CODE = [
    pytest.param(page, marks=[pytest.mark.slow] if page in LONG else [])
    for page in PAGES
    if blocks(page, "python")
]


@pytest.mark.parametrize("page", CODE)
def test_the_code_of_a_page_runs(page):
    namespace = {}
    # As on a reader's machine, where bias vectors broadcast.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for code in blocks(page, "python"):
            exec(compile(code, page, "exec"), namespace)
            # One in ten is what a step that does nothing would leave.
            assert namespace.get("accuracy", 1.0) > 0.75


def test_the_commands_of_the_pages_exist():
    text = "\n".join(block for page in PAGES for block in blocks(page, "sh")).replace("\\\n", "")
    commands = set(re.findall(r"^python -m experiments (.*?)$", text, flags=re.MULTILINE))
    assert len(commands) > 20
    for command in commands:
        parse(shlex.split(command))


def test_every_command_is_listed():
    assert [name for name in COMMANDS.values() if f"`{name}" not in PAGES["experiments/index.md"]] == []


def test_the_reference_leaves_nothing_out():
    shown = re.findall(r"^::: (\S+)", "\n".join(PAGES.values()), flags=re.MULTILINE)
    package = griffe.load("noisy_optax", search_paths=[DOCS.parent])
    for name in noisy_optax.__all__:
        value = getattr(noisy_optax, name)
        if not inspect.ismodule(value):
            # As a link, which has to lead somewhere for the strict build.
            assert f"[`nox.{name}`][noisy_optax." in PAGES["api/index.md"]
            continue
        assert value.__name__ in shown
        own = [key for key in vars(value) if getattr(vars(value)[key], "__module__", None) == value.__name__]
        public = getattr(value, "__all__", [key for key in own if not key.startswith("_")])
        for key in public:
            found = package[f"{name}.{key}"]
            # What has no docstring is left out of the page.
            assert found.is_public, key
            assert (found.target if found.is_alias else found).has_docstring, key


def test_ranges_are_shown_as_text():
    extensions = griffe.load_extensions(DOCS / "doctests.py")
    package = griffe.load("noisy_optax", search_paths=[DOCS.parent], extensions=extensions)
    described = [
        str(argument.description)
        for function in package["schedules"].functions.values()
        for section in (function.docstring.parse("google") if function.docstring else ())
        if section.kind.value == "parameters"
        for argument in section.value
    ]
    assert "\\> 0." in described
    assert [text for text in described if text.startswith(">")] == []


def test_a_page_has_one_name():
    navigation = (DOCS.parent / "mkdocs.yml").read_text()
    named = dict(re.findall(r"^ +- ([^:\n]+): (\S+\.md)$", navigation, flags=re.MULTILINE))
    assert len(named) > 35
    for name, page in named.items():
        text = PAGES[page]
        if included := re.match(r'--8<-- "(.*)"', text):
            text = (DOCS.parent / included[1]).read_text()
        assert name == "Home" or text.startswith(f"# {name}\n"), page


def test_search_works_in_a_folder():
    shim = "javascripts/iframe-worker.js"
    # The plugin leaves out its own script, which it loads from the web, if it is given one of this name.
    assert f"    - {shim}\n" in (DOCS.parent / "mkdocs.yml").read_text()
    assert "IFrameWorker" in (DOCS / shim).read_text()


def test_the_table_of_losses_has_its_place():
    assert PAGES["methods/other_losses.md"].count("<!-- losses -->") == 1
