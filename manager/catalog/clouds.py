"""Clouds on which SkyPilot cannot do everything that a plan or a task may ask for; dated facts, a row per cloud."""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib.resources import files


def has_several_nodes(cloud: str) -> bool:
    """Whether SkyPilot rents several machines there for one job."""
    return _says(cloud, "several_nodes")


def has_autodown(cloud: str) -> bool:
    """Whether a task may ask there that an idle machine takes itself down; elsewhere SkyPilot refuses such a task."""
    return _says(cloud, "autodown")


def has_rented_disk(cloud: str) -> bool:
    """Whether a disk of the size that a task asks for comes with a machine there; elsewhere the node's own is used."""
    return _says(cloud, "rented_disk")


def _says(cloud: str, column: str) -> bool:
    row = _rows().get(cloud)
    return row is None or row[column] == "yes"


@lru_cache(maxsize=1)
def _rows() -> dict[str, dict[str, str]]:
    text = files("manager.catalog").joinpath("data", "clouds.csv").read_text(encoding="utf-8")
    return {row["cloud"]: row for row in csv.DictReader(text.splitlines())}
