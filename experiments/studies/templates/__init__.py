"""Pages of Markdown from templates and tables."""

from pathlib import Path
from typing import Any

import jinja2


def render(name: str, /, **values: Any) -> str:
    """The page that the template `name` makes of the values; a value that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(section=_section, **values)


def markdown(rows: list[list[str]]) -> str:
    """A table of Markdown."""
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _section(name: str, table: str) -> str:
    """A table between marks by which the pages under docs/ include it."""
    return f"<!-- --8<-- [start:{name}] -->\n{table}<!-- --8<-- [end:{name}] -->\n"
