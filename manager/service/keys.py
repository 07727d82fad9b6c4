"""A user's own keys, `keys.toml`: what is read from it, what is refused, what holds then.

```toml
[keys]
"plan.mark" = "m"              # one key
"runs.filter" = ["slash", "f"] # or several
```

Owns the rules of a clash. The actions and their default keys are given: they belong to the screens.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.service.key_names import UnusableKeyError, normal_key

_SHARED_SCOPES = ("app", "table")
"""Their keys hold on several screens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedAction:
    """An action that can have a key of the user's own."""

    id: str
    """`scope.name`."""
    keys: tuple[str, ...]
    """By default."""
    part_of: str | None = None
    """The screen, where the scope is only a part of one."""
    is_of_dialog: bool = False
    """While a dialog is open, the keys of the whole application do not hold."""

    @property
    def scope(self) -> str:
        """The screen that it belongs to; `app` and `table` are on several."""
        return self.part_of or self.id.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProblem:
    """One line of the file that is not heeded."""

    action: str | None
    """What the line is about; None: the whole file."""
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """The keys that an action has."""

    action: str
    keys: tuple[str, ...]
    default: tuple[str, ...]
    origin: str
    """`default` or `keys.toml`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserKeys:
    """What of the file holds."""

    rows: tuple[KeyRow, ...]
    """All actions, in the order that they were given in."""
    problems: tuple[KeyProblem, ...]

    @property
    def keymap(self) -> dict[str, str]:
        """Actions with keys of the user's own -> the keys, divided by commas."""
        return {row.action: ",".join(row.keys) for row in self.rows if row.origin != "default"}


def read_keys(file: Path, actions: Sequence[KeyedAction]) -> UserKeys:
    """The keys that hold; whatever cannot be heeded is a problem, and the default holds there. Nothing is raised."""
    problems: list[KeyProblem] = []
    own = _own_keys(_table(file, problems), {action.id: action for action in actions}, problems)
    _drop_clashes(own, actions, problems)
    rows = tuple(
        KeyRow(
            action=action.id,
            keys=own.get(action.id, action.keys),
            default=action.keys,
            origin=file.name if action.id in own else "default",
        )
        for action in actions
    )
    return UserKeys(rows=rows, problems=tuple(problems))


def _table(file: Path, problems: list[KeyProblem]) -> Mapping[str, object]:
    """The table `keys` of the file; a dotted name without quotes is read as the same."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(KeyProblem(action=None, message=f"{file} cannot be read: {error}", hint=_MEND))
        return {}
    for name in document.keys() - {"keys"}:
        problems.append(KeyProblem(action=None, message=f"{file} has an unknown table `{name}`", hint=_MEND))
    table = document.get("keys", {})
    if not isinstance(table, dict):
        problems.append(KeyProblem(action=None, message=f"`keys` in {file} is no table", hint=_MEND))
        return {}
    return _flat(table)


_MEND = 'write lines as `"plan.mark" = "m"` under `[keys]`'


def _flat(table: Mapping[str, object], before: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{before}{name}."))
        else:
            flat[before + name] = value
    return flat


def _own_keys(
    table: Mapping[str, object], known: Mapping[str, KeyedAction], problems: list[KeyProblem]
) -> dict[str, tuple[str, ...]]:
    own: dict[str, tuple[str, ...]] = {}
    for name, value in table.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "`tunefare tui --keys` lists the actions"
            problems.append(KeyProblem(action=name, message=f"no action is called `{name}`", hint=hint))
            continue
        try:
            own[name] = _keys_of(value)
        except UnusableKeyError as error:
            message = f"`{name}` cannot have the key {value!r}: {error}"
            problems.append(KeyProblem(action=name, message=message, hint=_stays(known[name])))
    return own


def _keys_of(value: object) -> tuple[str, ...]:
    spelled = value.split(",") if isinstance(value, str) and value != "," else value
    if not isinstance(spelled, str | list) or not spelled or not all(isinstance(key, str) for key in spelled):
        raise UnusableKeyError("a key is a text, several are a list of texts")
    return tuple(dict.fromkeys(normal_key(key) for key in spelled))


def _drop_clashes(own: dict[str, tuple[str, ...]], actions: Sequence[KeyedAction], problems: list[KeyProblem]) -> None:
    """Take own keys back, the last of the file first, until none is another action's key as well."""
    known = {action.id: action for action in actions}
    clashing = True
    while clashing:
        clashing = False
        for name in reversed(own):
            other = _clash(known[name], own, actions)
            if other is not None:
                keys = ", ".join(own.pop(name))
                message = f"`{name}` cannot have the key {keys}: `{other.id}` has it"
                problems.append(KeyProblem(action=name, message=message, hint=_stays(known[name])))
                clashing = True
                break


def _clash(
    action: KeyedAction, own: Mapping[str, tuple[str, ...]], actions: Sequence[KeyedAction]
) -> KeyedAction | None:
    keys = set(own[action.id])
    for other in actions:
        meet = action.scope == other.scope or action.scope in _SHARED_SCOPES or other.scope in _SHARED_SCOPES
        if "app" in (action.scope, other.scope) and (action.is_of_dialog or other.is_of_dialog):
            meet = False
        if other.id != action.id and meet and keys.intersection(own.get(other.id, other.keys)):
            return other
    return None


def _stays(action: KeyedAction) -> str:
    return f"its default stays: {', '.join(action.keys)}"
