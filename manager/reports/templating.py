"""The one way in which templates of reports are read: everything is escaped, and an unknown name is an error."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from manager.reports.wording import failure_word, plain


def template_environment(**names: object) -> Environment:
    """Templates of `templates/report`, with their filters, and what they may call by name."""
    environment = Environment(
        loader=PackageLoader("templates", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    environment.filters["failure_word"] = failure_word
    environment.globals.update(names)
    return environment
