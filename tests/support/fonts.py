"""Pictures in pixels need a font of the machine; servers may have none."""

from __future__ import annotations

import pytest

from manager.service.reporting import has_font

needs_font = pytest.mark.skipif(not has_font(), reason="this machine has no font")
