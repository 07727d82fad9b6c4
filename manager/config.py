"""Settings of this user: flag > environment > file > default, each with its origin.

Owns what belongs to a person or a machine (price of the own hardware, waiting times); what belongs to a job stands in
the run file.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from manager.errors import ConfigError

_ENVIRONMENT_PREFIX = "TUNEFARE_"
_SMALLEST_NUMBER = Decimal("1e-9")
"""Of any unit, but for 0."""
_TEXT_UNITS = ("folder", "file", "URL", "choice", "name")
_LEDGER_SECRETS = ("TUNEFARE_LEDGER_URL", "PGPASSWORD", "PGPASSFILE")
_PASSWORDS = (
    (re.compile(r"(://[^/?#\s:@]*):[^/?#\s]*@"), r"\1:***@"),
    (re.compile(r"((?:^|[?&\s])(?:ssl)?password)=[^&\s]*", re.IGNORECASE), r"\1=***"),
)
FROM_FILE = "config.toml"
"""Origin of a value that stands in the settings file."""
BY_DEFAULT = "default"
THEMES = ("auto", "dark", "light", "terminal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: how it is called, what it means and what it is without a word from the user."""

    name: str
    default: str
    unit: str
    text: str
    choices: tuple[str, ...] = ()
    """All values that the setting can have; empty: any of the unit."""
    least: str = "0"
    most: str = "1e9"
    """Bounds of a number, in its unit; beyond 1e9 sums of dollars lose their cents."""
    is_whole: bool = False
    """Whether a number has no fraction."""

    @property
    def is_number(self) -> bool:
        """Whether the value is a number of the unit; else the unit names a kind of text."""
        return self.unit not in _TEXT_UNITS


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="local_price_usd_per_hour",
        default="0.10",
        unit="USD/h",
        text="what an hour of this machine costs you; the default is an assumption "
        "(about 0.4 kW at 0.25 USD/kWh, no wear), not a measurement",
    ),
    Setting(
        name="catalogs",
        default="",
        unit="folder",
        text="price catalogs in SkyPilot's layout; empty: SkyPilot's own, else the shipped list prices",
    ),
    Setting(
        name="assumptions",
        default="",
        unit="file",
        text="own assumptions, see `tunefare assumptions`; empty: assumptions.toml in the state folder",
    ),
    Setting(
        name="catalog_url",
        default="",
        unit="URL",
        text="address of a mirror from which SkyPilot downloads catalogs; empty: SkyPilot's own",
    ),
    Setting(
        name="refresh_timeout_s",
        default="120",
        unit="s",
        least="1",
        most="86400",
        text="time to download the price catalog of one cloud",
    ),
    Setting(
        name="cloud_timeout_s",
        default="20",
        unit="s",
        most="3600",
        text="time that clouds have, all together, to answer about live spot prices and quotas",
    ),
    Setting(
        name="idle_minutes_to_autostop",
        default="10",
        unit="min",
        least="1",
        most="1440",
        is_whole=True,
        text="SkyPilot takes a cloud machine down after this idle time, as one net more",
    ),
    Setting(
        name="launch_timeout_s",
        default="1800",
        unit="s",
        least="10",
        most="86400",
        text="provisioning and file sync may take this long, and so may set-up; then the machine is taken down",
    ),
    Setting(
        name="longest_run_hours",
        default="72",
        unit="h",
        least="0.001",
        most="8760",
        text="a run without a deadline saves a checkpoint and ends after this time",
    ),
    Setting(
        name="stop_grace_s",
        default="60",
        unit="s",
        most="3600",
        text="time for the trainer to save a checkpoint at `stop`",
    ),
    Setting(
        name="heartbeat_s",
        default="30",
        unit="s",
        least="1",
        most="600",
        text="between two signs of life of the trainer; a guard lets a cap pass by at most this time",
    ),
    Setting(
        name="hang_minutes",
        default="30",
        unit="min",
        most="1440",
        text="a task without a step, an evaluated batch or a saved file for this long counts as hung and is ended; "
        "0: it never does",
    ),
    Setting(
        name="bucket",
        default="",
        unit="URL",
        text="s3://bucket/prefix or gs://bucket/prefix where runs keep checkpoints and events; empty: on their "
        "machine alone",
    ),
    Setting(
        name="spot_recovery",
        default="managed",
        unit="choice",
        text="of a run on spot machines that has a bucket: managed (SkyPilot replaces a preempted machine) or none",
        choices=("managed", "none"),
    ),
    Setting(
        name="ledger_url",
        default="",
        unit="URL",
        text="postgresql://user@host/database where people share a ledger; empty: a file in the state folder. Give the "
        "password by ~/.pgpass or PGPASSWORD",
    ),
    Setting(
        name="user",
        default="",
        unit="name",
        text="who launches runs here, as budgets and lists name it; empty: login name @ host name",
    ),
    Setting(
        name="api_server",
        default="",
        unit="URL",
        text="address of a SkyPilot API server that people share; empty: SkyPilot's own settings, else one on this "
        "machine",
    ),
    Setting(
        name="measure_timeout_s",
        default="300",
        unit="s",
        least="1",
        most="86400",
        text="time to read and tokenize a data set for a plan",
    ),
    Setting(
        name="confirm_above_usd",
        default="10",
        unit="USD",
        text="a launch that may cost more than this starts only when the run's name is typed",
    ),
    Setting(
        name="theme",
        default="auto",
        unit="choice",
        text="colours of the terminal UI: auto (dark or light as the terminal's background), dark, light, "
        "terminal (the terminal's own colours and background)",
        choices=THEMES,
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A setting's value and where it came from."""

    setting: Setting
    text: str
    origin: str
    """`default`, `config.toml` or the environment variable's name."""

    @property
    def shown(self) -> str:
        """The value for people's eyes: without the password of a URL."""
        return without_password(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings, parsed."""

    values: tuple[Value, ...]

    def text(self, name: str) -> str:
        """A setting as text."""
        return next(value.text for value in self.values if value.setting.name == name)

    def number(self, name: str) -> Decimal:
        """A setting as a number; `read_config` has checked that it is one."""
        return Decimal(self.text(name))

    @property
    def catalogs(self) -> Path | None:
        """Folder of price catalogs, or None."""
        return Path(self.text("catalogs")).expanduser() if self.text("catalogs") else None

    @property
    def assumptions(self) -> Path | None:
        """File of own assumptions, or None."""
        return Path(self.text("assumptions")).expanduser() if self.text("assumptions") else None


def read_config(file: Path, environment: Mapping[str, str]) -> Config:
    """Read the settings.

    Raises:
        ConfigError: the file is not TOML, names an unknown setting, or a value is not of its unit.
    """
    from_file = _read_file(file)
    return Config(values=tuple(_value(setting, from_file, environment) for setting in SETTINGS))


def find_setting(name: str) -> Setting:
    """The setting of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in _BY_NAME:
        raise ConfigError(f"unknown setting `{name}`", hint=_nearest(name))
    return _BY_NAME[name]


def variable_of(setting: Setting) -> str:
    """The environment variable that goes before the settings file."""
    return _ENVIRONMENT_PREFIX + setting.name.upper()


def without_password(url: str) -> str:
    """An address with *** where its password stands."""
    for pattern, instead in _PASSWORDS:
        url = pattern.sub(instead, url)
    return url


def config_anyway(environment: Mapping[str, str]) -> Config:
    """Without a settings file, and with the defaults for what the environment has wrong: for an end that must come."""
    values = []
    for setting in SETTINGS:
        try:
            values.append(_value(setting, {}, environment))
        except ConfigError:
            values.append(_value(setting, {}, {}))
    return Config(values=tuple(values))


def without_ledger_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that has no use for the ledger."""
    return {name: value for name, value in environment.items() if name not in _LEDGER_SECRETS}


def check_value(value: Value) -> None:
    """Refuse what is not of the setting's unit.

    Raises:
        ConfigError: it is no number of the unit, or none of the choices.
    """
    if value.setting.is_number:
        _check_number(value)
    elif value.setting.name == "ledger_url":
        _check_ledger_url(value)
    elif value.setting.name == "bucket" and value.text:
        _check_bucket(value)
    elif value.setting.name == "api_server" and value.text and not value.text.startswith(("http://", "https://")):
        raise ConfigError(
            f"setting `api_server` is {value.shown!r} (from {value.origin}), no address",
            hint="write http://host:46580, as `sky api login -e` takes it",
        )
    elif value.setting.choices and value.text not in value.setting.choices:
        known = ", ".join(value.setting.choices)
        near = difflib.get_close_matches(value.text, value.setting.choices, n=1)
        raise ConfigError(
            f"setting `{value.setting.name}` is {value.text!r} (from {value.origin}), none of {known}",
            hint=f"did you mean `{near[0]}`?" if near else f"the default is {value.setting.default}",
        )


def _check_ledger_url(value: Value) -> None:
    given = f"setting `ledger_url` is {value.shown!r} (from {value.origin})"
    if value.text and not value.text.startswith(("postgresql://", "postgres://")):
        raise ConfigError(f"{given}, no URL of PostgreSQL", hint="write postgresql://user@host:5432/database")
    if ":***@" in value.text or "password=***" in value.text:
        raise ConfigError(
            f"{given}, whose password was taken out for people's eyes",
            hint="leave the password out of the URL: ~/.pgpass or PGPASSWORD holds it",
        )


def _read_file(file: Path) -> dict[str, str]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"settings file {file} cannot be read: {error}", hint="mend it, or move it away") from error
    for name in table:
        if name not in _BY_NAME:
            raise ConfigError(f"settings file {file} has an unknown setting `{name}`", hint=_nearest(name))
    return {name: str(value) for name, value in table.items()}


def _nearest(name: str) -> str:
    if name == "home":
        return "the state folder is no setting: TUNEFARE_HOME names it"
    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    return f"did you mean `{near[0]}`?" if near else f"known settings: {', '.join(_BY_NAME)}"


def _value(setting: Setting, from_file: Mapping[str, str], environment: Mapping[str, str]) -> Value:
    variable = variable_of(setting)
    if variable in environment:
        value = Value(setting=setting, text=environment[variable], origin=variable)
    elif setting.name in from_file:
        value = Value(setting=setting, text=from_file[setting.name], origin=FROM_FILE)
    else:
        value = Value(setting=setting, text=setting.default, origin=BY_DEFAULT)
    check_value(value)
    return value


def _check_number(value: Value) -> None:
    setting, given = value.setting, f"setting `{value.setting.name}` is {value.text!r} (from {value.origin})"
    hint = f"the default is {setting.default} {setting.unit}"
    try:
        number = Decimal(value.text)
    except InvalidOperation as error:
        raise ConfigError(f"{given}, not a number of {setting.unit}", hint=hint) from error
    if not number.is_finite() or number < 0:
        raise ConfigError(f"{given}, not a number of {setting.unit}", hint=hint)
    if setting.is_whole and number != number.to_integral_value():
        raise ConfigError(f"{given}, not a whole number of {setting.unit}", hint=hint)
    if not Decimal(setting.least) <= number <= Decimal(setting.most):
        bounds = f"{setting.least} to {setting.most} {setting.unit}"
        raise ConfigError(f"{given}, outside of {bounds}", hint=hint)
    if number and number < _SMALLEST_NUMBER:
        raise ConfigError(f"{given}, which nothing here can be: 0, or at least 1e-9 {setting.unit}", hint=hint)


def _check_bucket(value: Value) -> None:
    from tasks.stores.errors import StoreError  # Only where there is a bucket.
    from tasks.stores.opening import check_uri

    try:
        check_uri(value.text)
    except StoreError as error:
        raise ConfigError(f"setting `bucket` (from {value.origin}): {error.message}", hint=error.hint) from error
