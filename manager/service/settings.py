"""The settings with their origins, and the verbs that change one: `config set`, `config unset`, the Settings screen.

Owns how the settings file is edited: comments and order stay, the file is replaced in one step, and what an editor
wrote in between is read again instead of lost. What a setting means and may be is `manager.config`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from manager.config import (
    FROM_FILE,
    Config,
    Setting,
    Value,
    check_value,
    find_setting,
    read_config,
    variable_of,
    without_password,
)
from manager.errors import ConfigError, StateError
from manager.service.context import Context, point_at_api_server
from manager.service.starting import write_whole

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_ATTEMPTS = 5
"""How often an edit is made again when someone else has written the file meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingState:
    """One setting as it holds now."""

    name: str
    value: str
    """Text; empty: none."""
    unit: str
    """Unit of a number, or what kind of text it is: `folder`, `file`, `URL`, `choice`."""
    origin: str
    """`default`, `config.toml` or the environment variable's name."""
    default: str
    choices: tuple[str, ...]
    """All values that it can have; empty: any of the unit."""
    meaning: str
    variable: str
    """The environment variable that goes before the file."""

    @property
    def shown(self) -> str:
        """The value with its unit, as a person reads it."""
        setting = find_setting(self.name)
        return f"{self.value} {self.unit}" if setting.is_number else self.value or "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSetting:
    """What holds after a setting was written or taken back."""

    context: Context
    """The surroundings with the new settings; the old ones keep what they had read."""
    state: SettingState
    note: str | None
    """Why the new value does not hold (the environment goes before the file), or what better be kept elsewhere."""


def settings(context: Context) -> tuple[SettingState, ...]:
    """All settings, in the order of the reference."""
    return tuple(_state(value) for value in context.config.values)


def reread(context: Context) -> Context:
    """The same surroundings with the settings as the file has them now.

    Raises:
        ConfigError: as `manager.config.read_config`.
    """
    config = read_config(context.home.config_file, context.environment)
    point_at_api_server(config)
    return replace(context, config=config)


def set_setting(context: Context, name: str, value: str) -> ChangedSetting:
    """Write one setting into the settings file.

    Raises:
        ConfigError: there is no such setting, the value is not of its unit, or the file cannot be read; nothing is
            written.
        StateError: the file cannot be written.
    """
    setting = find_setting(name)
    text = value.strip()
    check_value(Value(setting=setting, text=text, origin="what you gave"))

    def change(document: TOMLDocument) -> None:
        document[setting.name] = _written(setting, text)

    context.home.ensure()
    # A file that cannot be read as it is would not be readable afterwards either.
    read_config(context.home.config_file, context.environment)
    _edit(context.home.config_file, change)
    return _changed(context, setting, written=text)


def unset_setting(context: Context, name: str) -> ChangedSetting:
    """Take one setting out of the settings file, so that its default holds; one that is not there is no error.

    Raises:
        ConfigError: there is no such setting, or the file cannot be read.
        StateError: the file cannot be written.
    """
    setting = find_setting(name)

    def change(document: TOMLDocument) -> None:
        if setting.name in document:
            del document[setting.name]

    if context.home.config_file.exists():
        read_config(context.home.config_file, context.environment)
        _edit(context.home.config_file, change)
    return _changed(context, setting, written=None)


def _edit(file: Path, change: Callable[[TOMLDocument], None]) -> None:
    """Change the file as it is at this moment; through a link, whose end is what is replaced."""
    file = file.resolve()
    for _ in range(_ATTEMPTS):
        before = _read(file)
        new = _edited(before, change, file)
        if new == before:
            return
        if _read(file) == before:
            _replace(file, new)
            return
    raise StateError(f"settings file {file} is being written by someone else", hint="try again")


def _read(file: Path) -> str:
    try:
        # Without newline="" the line ends of another system would be changed all over the file.
        with file.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {file} cannot be read: {error}", hint="mend it, or move it away") from error


def _edited(text: str, change: Callable[[TOMLDocument], None], file: Path) -> str:
    import tomlkit  # only those who change a setting need it
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
        change(document)
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise ConfigError(f"settings file {file} cannot be read: {error}", hint="mend it, or move it away") from error


def _replace(file: Path, text: str) -> None:
    try:
        write_whole(file, text)  # readable by its owner only
    except OSError as error:
        raise StateError(
            f"settings file {file} cannot be written: {error.strerror}", hint="make it writable, or move it away"
        ) from error


def _written(setting: Setting, text: str) -> object:
    """The value as TOML: numbers bare where TOML can write them so, all else a string."""
    import tomlkit  # only those who change a setting need it
    from tomlkit.exceptions import TOMLKitError

    if setting.is_number:
        try:
            item = tomlkit.value(text)
        except TOMLKitError:
            return text
        if Decimal(str(item)) == Decimal(text):
            return item
    return text


def _changed(context: Context, setting: Setting, *, written: str | None) -> ChangedSetting:
    config = read_config(context.home.config_file, context.environment)
    state = _state(_of(config, setting))
    note = None
    if state.origin == state.variable:
        what = "the file's default" if written is None else "the file's value"
        note = f"{state.variable} is set to {state.value!r} in the environment and goes before {what}"
    elif written is not None and state.origin != FROM_FILE:
        raise StateError(f"`{setting.name}` was taken out of the settings file again", hint="someone else writes it")
    elif written is not None and without_password(written) != written:
        note = f"the password is in {context.home.config_file} now; ~/.pgpass or PGPASSWORD keeps it out of settings"
    return ChangedSetting(context=replace(context, config=config), state=state, note=note)


def _of(config: Config, setting: Setting) -> Value:
    return next(value for value in config.values if value.setting is setting)


def _state(value: Value) -> SettingState:
    setting = value.setting
    return SettingState(
        name=setting.name,
        value=value.shown,
        unit=setting.unit,
        origin=value.origin,
        default=setting.default,
        choices=setting.choices,
        meaning=setting.text,
        variable=variable_of(setting),
    )
