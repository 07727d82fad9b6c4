"""An error as it is shown."""

from __future__ import annotations

import pytest

from manager.errors import StateError
from manager.service.failures import error_text


@pytest.mark.parametrize(("hint", "text"), [(None, "error: it broke"), ("mend it", "error: it broke\nhint: mend it")])
def test_an_error_has_its_hint_in_a_line_of_its_own(hint: str | None, text: str) -> None:
    assert error_text(StateError("it broke", hint=hint)) == text
