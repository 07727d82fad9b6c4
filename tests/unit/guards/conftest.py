"""A rented machine of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guarded_machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    one = Machine(folder=tmp_path)
    one.stub("sudo")
    one.stub("shutdown")
    for name in ("python", "python3"):
        one.stub(name, "exit 1")
    yield one
    one.end()
