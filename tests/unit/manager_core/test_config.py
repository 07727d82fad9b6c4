"""Settings: precedence, origin, and refusal of what is not known."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from manager.config import read_config
from manager.errors import ConfigError


def test_environment_over_file_over_default(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("local_price_usd_per_hour = 0.30\nstop_grace_s = 5\n")
    config = read_config(file, {"TUNEFARE_STOP_GRACE_S": "7"})
    origins = {value.setting.name: (value.text, value.origin) for value in config.values}
    assert origins["local_price_usd_per_hour"] == ("0.3", "config.toml")
    assert origins["stop_grace_s"] == ("7", "TUNEFARE_STOP_GRACE_S")
    assert origins["launch_timeout_s"] == ("1800", "default")
    assert config.number("stop_grace_s") == Decimal(7)


def test_an_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("local_price = 1\n")
    with pytest.raises(ConfigError, match="unknown setting `local_price`") as caught:
        read_config(file, {})
    assert caught.value.hint == "did you mean `local_price_usd_per_hour`?"


@pytest.mark.parametrize("text", ["abc", "-1", "nan", "inf", "", "1e400", "1e-400"])
def test_what_is_no_number_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"not a number of s|outside of 0 to 3600 s|at least 1e-9 s"):
        read_config(tmp_path / "none.toml", {"TUNEFARE_STOP_GRACE_S": text})


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("TUNEFARE_LONGEST_RUN_HOURS", "0", "outside of 0.001 to 8760 h"),
        ("TUNEFARE_HEARTBEAT_S", "0.5", "outside of 1 to 600 s"),
        ("TUNEFARE_HEARTBEAT_S", "1e9", "outside of 1 to 600 s"),
        ("TUNEFARE_LAUNCH_TIMEOUT_S", "0", "outside of 10 to 86400 s"),
        ("TUNEFARE_IDLE_MINUTES_TO_AUTOSTOP", "0", "outside of 1 to 1440 min"),
        ("TUNEFARE_IDLE_MINUTES_TO_AUTOSTOP", "2.5", "not a whole number of min"),
        ("TUNEFARE_BUCKET", "my-runs", "'my-runs' is no store"),
        ("TUNEFARE_BUCKET", "ftp://x/y", "is no store"),
        ("TUNEFARE_BUCKET", "s3://", "is no store|no bucket"),
    ],
)
def test_what_would_spoil_a_guard_or_a_launch_is_refused(tmp_path: Path, variable: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_config(tmp_path / "none.toml", {variable: text})


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("= 3")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(file, {})
