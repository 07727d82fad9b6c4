"""The stage of the sky engine's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.launch.sky_engine import SkyEngine
from tests.support.sky_stage import Stage


@pytest.fixture
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """With the engine that the test's module names as ENGINE, or the plain one."""
    stage = Stage(tmp_path, kind=getattr(request.module, "ENGINE", SkyEngine))
    yield stage
    stage.engine.close()
