"""The one way in which templates of reports are read: everything is escaped, and an unknown name is an error."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from manager.reports.wording import plain


def template_environment(**names: object) -> Environment:
    """Templates of `templates/report`, with the filter `plain`, and what they may call by name."""
    environment = Environment(
        loader=PackageLoader("templates", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.globals.update(names)
    return environment
