"""Read `tunefare.yaml` strictly: unknown keys, wrong values and newer versions are errors that name the line.

The rim where untrusted text becomes a RunSpec; nothing behind it parses again.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from manager.errors import SpecError
from manager.spec.keys import part_names
from manager.spec.model import SPEC_VERSION, RunSpec
from manager.spec.schema import RunFile, allowed_keys

_INIT_HINT = "write one with `tunefare init`"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecProblem:
    """One thing that is wrong with a run file."""

    key: str
    """Dotted key as it stands in the file: `training.epochs`; empty: the file as a whole."""
    line: int | None
    """In the file, from 1; None where the text is no YAML of keys and values."""
    message: str
    hint: str | None


def read_spec(file: Path) -> RunSpec:
    """Read a run file; relative folders and files in it are meant from the file's own folder.

    Raises:
        SpecError: the file is missing, is not YAML, is of a newer version, or breaks the schema.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(f"run file {file} does not exist", hint=_INIT_HINT) from error
    except IsADirectoryError as error:
        raise SpecError(
            f"run file {file} is a folder", hint=f"give the file in it: {file / 'tunefare.yaml'}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"run file {file} cannot be read: {error}", hint="a run file is YAML in UTF-8 that you may read"
        ) from error
    return parse_spec(text, name=str(file), folder=file.absolute().parent)


def parse_spec(text: str, *, name: str, folder: Path) -> RunSpec:
    """The same from text; `name` stands in messages, `folder` is where relative paths start."""
    tree = _parse_yaml(text, name)
    version = tree.get("schema")
    if isinstance(version, int) and version > SPEC_VERSION:
        raise SpecError(
            f"{name}:{_line(tree, ('schema',))}: run file is of schema {version}, "
            f"this tunefare reads up to {SPEC_VERSION}",
            hint="update tunefare, or write the file anew with `tunefare init`",
        )
    try:
        return RunFile.model_validate(tree).to_spec(folder)
    except ValidationError as error:
        raise _explain(error, tree, name) from error
    except (OSError, RuntimeError) as error:
        # The operating system refuses the path itself: a name too long, a user's home that does not exist.
        raise SpecError(f"{name}: a source cannot be looked up: {error}", hint="check model and data") from error


def spec_problems(text: str, *, name: str, folder: Path) -> tuple[SpecProblem, ...]:
    """All that is wrong with the text of a run file, at most one problem a key, worst first; empty: it can be read.

    What concerns two keys of a part is told at the one that it names first.
    """
    try:
        parse_spec(text, name=name, folder=folder)
    except SpecError as error:
        if not isinstance(error.__cause__, ValidationError):
            return (SpecProblem(key="", line=None, message=error.message, hint=error.hint),)
        tree = _parse_yaml(text, name)
        found: dict[str, SpecProblem] = {}
        for detail in _worst_first(error.__cause__):
            problem = _blaming(_problem(detail, tree), tree)
            found.setdefault(problem.key, problem)
        return tuple(found.values())
    return ()


def _blaming(problem: SpecProblem, tree: CommentedMap) -> SpecProblem:
    """A problem of a whole part, told at the first key of it that its sentence names."""
    if problem.key not in tree or not problem.message.startswith(f"`{problem.key}`:"):
        return problem
    keys = allowed_keys((problem.key,))
    words = re.findall(r"[a-z_]+", problem.message.partition(":")[2])
    named = next((word for word in words if word in keys), None) if problem.key in part_names() else None
    if named is None:
        return problem
    return replace(problem, key=f"{problem.key}.{named}", line=_line(tree, (problem.key, named)))


def _parse_yaml(text: str, name: str) -> CommentedMap:
    try:
        tree = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise SpecError(f"{where}: not valid YAML: {error.problem}", hint="check indentation and quotes") from error
    except YAMLError as error:
        raise SpecError(f"{name}: not valid YAML: {error}", hint="check indentation and quotes") from error
    if not isinstance(tree, CommentedMap):
        raise SpecError(f"{name}: a run file is a mapping of keys to values", hint=_INIT_HINT)
    return tree


def _explain(error: ValidationError, tree: CommentedMap, name: str) -> SpecError:
    details = _worst_first(error)
    first = _problem(details[0], tree)
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return SpecError(f"{name}:{first.line}: {first.message}{more}", hint=first.hint)


def _worst_first(error: ValidationError) -> list[ErrorDetails]:
    # An unknown key is most often the cause of a missing one: it comes first.
    return sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")


def _problem(detail: ErrorDetails, tree: CommentedMap) -> SpecProblem:
    path = _visible(detail["loc"], tree, names_a_key=detail["type"] in ("extra_forbidden", "missing"))
    message, hint = _sentence(detail, path)
    return SpecProblem(key=".".join(str(part) for part in path), line=_line(tree, path), message=message, hint=hint)


def _visible(location: tuple[int | str, ...], tree: CommentedMap, *, names_a_key: bool) -> tuple[int | str, ...]:
    """The part of pydantic's location that exists in the file (it also names the branches of unions)."""
    node: Any = tree
    path: list[int | str] = []
    for position, key in enumerate(location):
        inside = isinstance(node, CommentedMap) and key in node
        inside = inside or (isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node))
        if inside:
            path.append(key)
            node = node[key]
        elif position == len(location) - 1 and (names_a_key or key in allowed_keys(tuple(path))):
            path.append(key)
    return tuple(path)


def _sentence(detail: ErrorDetails, path: tuple[int | str, ...]) -> tuple[str, str | None]:
    dotted = ".".join(str(part) for part in path)
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = allowed_keys(path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1)
        listing = f"allowed here: {', '.join(known)}"
        return f"unknown key `{dotted}`", f"did you mean `{near[0]}`? {listing}" if near else listing
    if kind == "missing":
        return f"key `{dotted}` is missing", _INIT_HINT
    if path[:1] == ("secrets",) and kind != "value_error":
        # What stands there may be a secret: it is not repeated.
        return f"`{dotted}` is no list of names", "write names of environment variables: secrets: [HF_TOKEN]"
    shown = detail["input"]
    if kind == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", ""))
        values = [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]
        near = difflib.get_close_matches(str(shown), values, n=1)
        hint = f"allowed values: {', '.join(values)}"
        return f"`{dotted}` is {shown!r}", f"did you mean `{near[0]}`? {hint}" if near else hint
    if kind == "value_error":
        return f"`{dotted}`: {detail['ctx']['error']}", None
    if kind == "list_type" and isinstance(shown, str):
        return f"`{dotted}` is {shown!r}, wanted a list", f"write it as [{shown}]"
    if kind == "decimal_parsing" and isinstance(shown, str):
        return f"`{dotted}` is {shown!r}, wanted a number of dollars", "write the number alone, such as 5 or 2.50"
    return f"`{dotted}` is {shown!r}: {_lower_first(detail['msg'])}", None


def _line(tree: CommentedMap, path: tuple[int | str, ...]) -> int:
    """Line of the deepest part of the path that the file has, from 1."""
    node: Any = tree
    line = 0
    for key in path:
        if isinstance(node, CommentedMap) and key in node:
            line = node.lc.key(key)[0]
        elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
            line = node.lc.item(key)[0]
        else:
            break
        node = node[key]
    return line + 1


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
