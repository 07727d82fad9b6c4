"""The palette: every action that can be reached from here, found by words, with its key and its command line.

An action of another screen switches to it first. Owns no action: they are `tui.actions`'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.dom import DOMNode
from textual.screen import Screen

from tui.actions import ACTIONS, APP, TABLE, Action
from tui.screens.help import ordered

if TYPE_CHECKING:
    from tui.app import TunefareApp


class Actions(Provider):
    """Actions as hits."""

    async def discover(self) -> Hits:
        """All of them, those of the present screen first."""
        for action in self._reachable():
            yield DiscoveryHit(self._name(action), self._run(action), text=self._words(action), help=_help(action))

    async def search(self, query: str) -> Hits:
        """Those that match, by name, sentence or command."""
        matcher = self.matcher(query)
        for action in self._reachable():
            score = max(matcher.match(text) for text in (self._name(action), action.text, action.command or ""))
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(self._name(action)),
                    self._run(action),
                    text=self._words(action),
                    help=_help(action),
                )

    def _reachable(self) -> Iterator[Action]:
        tunefare = cast("TunefareApp", self.app)
        scope = _scope_of(self.screen)
        for action in ordered(ACTIONS, scope):
            is_here = action.screen in (APP, scope) or _owner(self.screen, action) is not None
            if is_here or action.screen in tunefare.MODES:
                yield action

    def _name(self, action: Action) -> str:
        where = "" if action.screen in (APP, TABLE, _scope_of(self.screen)) else f"{action.screen.capitalize()}: "
        key = self.app.get_key_display(Binding(action.key.split(",")[0], ""))
        return f"{where}{action.label} ({key})"

    def _words(self, action: Action) -> str:
        return f"{self._name(action)} {action.text}"

    def _run(self, action: Action) -> Any:
        async def run() -> None:
            await run_action(cast("TunefareApp", self.app), self.screen, action)

        return run


async def run_action(app: TunefareApp, screen: Screen[Any], action: Action) -> None:
    """Do what the action's key would do, on its own screen."""
    if action.screen in app.MODES and action.screen != _scope_of(screen):
        await app.switch_mode(action.screen)
        screen = app.screen
    owner = _owner(screen, action)
    await app.run_action(action.call or action.id.partition(".")[2], default_namespace=owner or app)


def _owner(screen: Screen[Any], action: Action) -> DOMNode | None:
    """The widget with the focus, one around it, the screen, or else the first within it, that has the action's key."""
    focused = screen.focused
    nodes = [*(focused.ancestors_with_self if focused is not None else ()), screen, *screen.walk_children()]
    return next((node for node in nodes if _has(node, action)), None)


def _has(node: DOMNode, action: Action) -> bool:
    return any(binding.id == action.id for _, binding in node._bindings)


def _scope_of(screen: Screen[Any]) -> str:
    return getattr(screen, "SCOPE", APP)


def _help(action: Action) -> str:
    return f"{action.text} Command: {action.command}" if action.command else action.text
