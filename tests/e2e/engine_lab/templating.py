"""Filling in a lab's configuration templates (`string.Template`)."""

from pathlib import Path
from string import Template


def write_template(template: Path, target: Path, *, mode: int = 0o644, **values: object) -> None:
    """Write a template with every `$name` filled in.

    Raises:
        KeyError: the template has a name for which no value was given.
    """
    text = Template(template.read_text()).substitute(values)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(mode)
