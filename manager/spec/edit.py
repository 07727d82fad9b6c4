"""Change one key of a run file's text; all other lines, comments and quotes stay as they are.

A value on one line is replaced where it stands, and a key that the file shows in a comment (`# rank: 16`) is set there.
What is written in other ways (lists of several lines, `{...}`) goes through ruamel's round trip, which keeps comments
too. Whether a value is right is not asked here: text that does not fit stays in the file, for the reader to refuse.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from manager.errors import SpecError
from manager.spec.keys import default_value, is_required, part_names, value_types

Json = dict[str, Any]

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_COMMENT = re.compile(r"\s+#")
_SHORT = {"model": "source", "data": "source", "method": "kind"}
"""Parts that may be written as the value of one key alone: `model: ./model`."""
_EMPTY = {"list": "[]", "required": '""'}
"""What stands in the file where nothing was typed and the key is not taken out."""
_INDENT = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Where a value stands that takes one line or a part of it."""

    line: int
    """From 0."""
    start: int
    end: int


def key_text(text: str, key: str) -> str:
    """What a form shows for a dotted key: numbers as they are spelt, lists with commas; empty where it is not named.

    Raises:
        SpecError: the text is not YAML of keys and values.
    """
    tree = _tree(text)
    parent, name = _holder(tree, key)
    value = None if parent is None else parent.get(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(str(member) for member in value)
    if isinstance(value, int | float):
        span = _span(text.split("\n"), parent, name)
        return str(value) if span is None else text.split("\n")[span.line][span.start : span.end]
    return "" if value is None or isinstance(value, dict) else str(value)


def with_key(text: str, key: str, typed: str) -> str:
    """The text with a dotted key set to what was typed; empty takes the key out, so that its default holds.

    Raises:
        SpecError: the text is not YAML of keys and values.
    """
    tree = _tree(text)
    source = _written(key, typed.strip())
    if source is None and not _has(tree, key):
        return text
    if source is None:
        source = _EMPTY.get(_kind(key))
    wanted = _changed(_meaning(text) or {}, key, source)
    edited = _without(text, tree, key) if source is None else _edited(text, tree, key, source)
    if edited is not None and _meaning(edited) == wanted:
        return edited
    return _round_trip(text, key, source)


def _edited(text: str, tree: CommentedMap, key: str, source: str) -> str | None:
    """The text with the value replaced or put in; None where that takes more than lines."""
    parent, name = _holder(tree, key)
    lines = text.split("\n")
    if parent is not None and name in parent:
        span = _span(lines, parent, name)
        if span is None:
            return None
        lines[span.line] = _replaced(lines[span.line], span, source)
        return "\n".join(lines)
    return _inserted(lines, tree, key, source)


def _replaced(line: str, span: _Span, source: str) -> str:
    """The line with another value; a comment stays in its column where the value leaves room."""
    before, after = line[: span.start], line[span.end :]
    comment = after.lstrip()
    if not before.endswith(" "):
        before += " "
    if not comment:
        return before + source + after
    return f"{(before + source).ljust(span.end + len(after) - len(comment) - 1)} {comment}"


def _inserted(lines: list[str], tree: CommentedMap, key: str, source: str) -> str | None:
    *parts, name = key.split(".")
    part = parts[0] if parts else None
    if part is None:
        first, last, indent = 0, len(lines), ""
    elif part not in tree:
        body = "\n".join(lines).rstrip("\n")
        return f"{body}\n\n{part}:\n{_INDENT}{name}: {source}\n"
    else:
        first, last, indent = _opened(lines, tree, part)
    shown = re.compile(rf"{indent}# ?{re.escape(name)}:(?P<rest>\s.*|)$")
    for at in range(first, last):
        match = shown.match(lines[at])
        if match:
            comment = re.search(r"\s#.*$", match["rest"])
            value = f"{indent}{name}: {source}"
            column = match.start("rest") + comment.start() if comment else 0
            lines[at] = f"{value.ljust(column)} {comment[0].strip()}" if comment else value
            return "\n".join(lines)
    lines.insert(_place(lines, tree if part is None else tree[part], first), f"{indent}{name}: {source}")
    return "\n".join(lines)


def _opened(lines: list[str], tree: CommentedMap, part: str) -> tuple[int, int, str]:
    """First line and end of a part's block, and its indentation; a part without keys is opened for one."""
    at = tree.lc.key(part)[0]
    following = sorted(tree.lc.key(other)[0] for other in tree if tree.lc.key(other)[0] > at)
    held = tree[part]
    if isinstance(held, CommentedMap) and held:
        indent = " " * held.lc.key(next(iter(held)))[1]
    else:
        indent = _INDENT
        if isinstance(held, str) and part in _SHORT:
            span = _span(lines, tree, part)
            value = lines[at][span.start : span.end] if span else held
            lines[at] = f"{part}:{lines[at][span.end :] if span else ''}"
            lines.insert(at + 1, f"{indent}{_SHORT[part]}: {value}")
            following = [line + 1 for line in following]
            return at + 2, following[0] if following else len(lines), indent
        lines[at] = re.sub(r":\s*\{\s*\}", ":", lines[at], count=1)
    return at + 1, following[0] if following else len(lines), indent


def _place(lines: list[str], held: Any, first: int) -> int:
    """Under the last key that stands on one line of its own; else on top of the block."""
    spans = [_span(lines, held, name) for name in held] if isinstance(held, CommentedMap) else []
    return max((span.line + 1 for span in spans if span is not None), default=first)


def _without(text: str, tree: CommentedMap, key: str) -> str | None:
    """The text without the key's line; a line that explains itself in a comment becomes one."""
    parent, name = _holder(tree, key)
    lines = text.split("\n")
    span = None if parent is None else _span(lines, parent, name)
    if parent is None or span is None:
        return None
    line = lines[span.line]
    if line[span.end :].strip():
        indent = line[: len(line) - len(line.lstrip())]
        lines[span.line] = f"{indent}# {line.lstrip()}"
    else:
        del lines[span.line]
    part = key.partition(".")[0]
    if len(parent) == 1 and parent is not tree:
        at = tree.lc.key(part)[0]
        lines[at] = re.sub(r":", ": {}", lines[at], count=1)
    return "\n".join(lines)


def _span(lines: Sequence[str], parent: CommentedMap | None, name: str) -> _Span | None:
    """Where the value of a key stands; None where it takes several lines, or shares one in `{...}`."""
    if parent is None or parent.fa.flow_style() or parent[name] is None:
        return None
    at, start = parent.lc.value(name)
    if at >= len(lines) or at != parent.lc.key(name)[0]:
        return None
    rest = lines[at][start:]
    ends = [match.start() for match in _COMMENT.finditer(rest)]
    for end in (*ends, len(rest.rstrip())):
        if _same(rest[:end], parent[name]):
            return _Span(line=at, start=start, end=start + end)
    return None


def _same(source: str, value: object) -> bool:
    try:
        return bool(_plain(YAML(typ="rt", pure=True).load(source)) == _plain(value))
    except YAMLError:
        return False


def _written(key: str, typed: str) -> str | None:
    """What was typed as YAML of a type that the key may hold; None: nothing was."""
    if not typed:
        return None
    path = tuple(key.split("."))
    types = value_types(path)
    if list in types and (_kind(key) == "list" or "," in typed):
        members = [member.strip() for member in typed.strip("[]").split(",")]
        return f"[{', '.join(_quoted(member, in_list=True) for member in members if member)}]"
    if bool in types and typed.lower() in ("true", "false"):
        return typed.lower()
    if _NUMBER.fullmatch(typed) and types & {int, float, Decimal}:
        return typed
    # A text where only a number may stand is written too: the reader tells what is wrong with it.
    return _quoted(typed)


def _quoted(typed: str, *, in_list: bool = False) -> str:
    """A text as it is where YAML reads it so, else in quotes."""
    try:
        loaded = YAML(typ="safe", pure=True).load(f"a: [{typed}]" if in_list else f"a: {typed}")["a"]
    except (YAMLError, TypeError):
        loaded = None
    return typed if loaded == ([typed] if in_list else typed) else json.dumps(typed, ensure_ascii=False)


def _kind(key: str) -> str:
    path = tuple(key.split("."))
    if isinstance(default_value(path), list):
        return "list"
    return "required" if is_required(path) else "optional"


def _holder(tree: CommentedMap, key: str) -> tuple[CommentedMap | None, str]:
    """The mapping that has, or would have, the key, and the key's name in it."""
    part, dot, name = key.partition(".")
    if not dot:
        return tree, part
    held = tree.get(part)
    if isinstance(held, CommentedMap):
        return held, name
    return (tree, part) if isinstance(held, str) and _SHORT.get(part) == name else (None, name)


def _has(tree: CommentedMap, key: str) -> bool:
    parent, name = _holder(tree, key)
    return parent is not None and name in parent


def _changed(meaning: Json, key: str, source: str | None) -> Json:
    """The values that the file shall have."""
    part, dot, name = key.partition(".")
    held = meaning.setdefault(part, {}) if dot else meaning
    if source is None:
        held.pop(name or part, None)
    else:
        held[name or part] = _plain(YAML(typ="rt", pure=True).load(source))
    return {name: value for name, value in meaning.items() if value != {}}


def _round_trip(text: str, key: str, source: str | None) -> str:
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 4096
    yaml.preserve_quotes = True
    tree = yaml.load(text)
    part, dot, name = key.partition(".")
    held = tree
    if dot:
        if not isinstance(tree.get(part), dict):
            tree[part] = {_SHORT[part]: tree[part]} if part in _SHORT and tree.get(part) is not None else {}
        held = tree[part]
    else:
        name = part
    if source is None:
        held.pop(name, None)
    else:
        held[name] = yaml.load(source)
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _plain(value: object) -> Any:
    """Values without what the round trip knows of their spelling."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, CommentedSeq | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    return float(value) if isinstance(value, float) else str(value)


def _meaning(text: str) -> Json | None:
    """The values of a text, short forms spelt out and empty parts left out; None where it is not YAML."""
    try:
        tree = _plain(_tree(text))
    except SpecError:
        return None
    for part, short in _SHORT.items():
        if isinstance(tree.get(part), str):
            tree[part] = {short: tree[part]}
    parts = part_names()
    return {name: value for name, value in tree.items() if value != {} and not (value is None and name in parts)}


@lru_cache(maxsize=8)
def _tree(text: str) -> CommentedMap:
    """The parsed text; kept, because a form asks key by key, and never changed."""
    try:
        tree = YAML(typ="rt", pure=True).load(text)
    except YAMLError as error:
        raise SpecError(f"not valid YAML: {error}", hint="check indentation and quotes") from error
    if not isinstance(tree, CommentedMap):
        raise SpecError("a run file is a mapping of keys to values", hint="write one with `tunefare init`")
    return tree
