"""The checks before a launch, a line each: what runs, what was found, what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from manager.service.preflight import CheckState, Preflight

_WORDS = {
    CheckState.OK: "ok",
    CheckState.FAILED: "FAILED",
    CheckState.UNKNOWN: "unknown",
    CheckState.SKIPPED: "skipped",
}
_CLASSES = {CheckState.FAILED: "error", CheckState.UNKNOWN: "warning", CheckState.SKIPPED: "dim"}
_NAME_WIDTH, _STATE_WIDTH = 12, 8


class CheckLines(Vertical):
    """Knows how many of the checks are through, and which of them speak against a launch."""

    DEFAULT_CSS = """
    CheckLines { height: auto; }
    CheckLines .check { height: auto; }
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)
        self._found: dict[str, Preflight] = {}

    def compose(self) -> ComposeResult:
        """All of them, as running."""
        for name in self._names:
            yield Static(f"{name:<{_NAME_WIDTH}}...", id=f"check-{name}", classes="check dim", markup=False)

    def show(self, found: Preflight) -> None:
        """One is through."""
        self._found[found.name] = found
        line = self.query_one(f"#check-{found.name}", Static)
        text = f"{found.name:<{_NAME_WIDTH}}{_WORDS[found.state]:<{_STATE_WIDTH}}{found.text}"
        line.update(text if found.hint is None else f"{text}\n{'':<{_NAME_WIDTH + _STATE_WIDTH}}{found.hint}")
        line.set_classes(f"check {_CLASSES.get(found.state, '')}")

    @property
    def failed(self) -> tuple[Preflight, ...]:
        """Those that speak against a launch."""
        return tuple(found for found in self._found.values() if found.state is CheckState.FAILED)

    @property
    def are_through(self) -> bool:
        """Whether each has its answer."""
        return len(self._found) == len(self._names)

    @property
    def summary(self) -> str:
        """`4 of 7 done; disk FAILED`."""
        failed = "".join(f"; {found.name} FAILED" for found in self.failed)
        if not self.are_through:
            return f"{len(self._found)} of {len(self._names)} done{failed}"
        counts = {state: sum(found.state is state for found in self._found.values()) for state in _WORDS}
        told = ", ".join(
            f"{count} {_WORDS[state]}" for state, count in counts.items() if count and state is not CheckState.FAILED
        )
        return f"{told or 'none ok'}{failed}"
