"""The user's own keys, laid over those of the action table."""

from __future__ import annotations

from manager.service.context import Context
from manager.service.key_names import UnusableKeyError, normal_key
from manager.service.keys import KeyedAction, UserKeys, read_keys
from tui.actions import ACTIONS, APP, PARTS, SCREENS, TABLE


def user_keys(context: Context) -> UserKeys:
    """The keys that hold for this user, and what in `keys.toml` is not heeded."""
    return read_keys(context.home.keys_file, [keyed(action.id, action.key) for action in ACTIONS])


def keyed(action_id: str, keys: str) -> KeyedAction:
    """An action with its default keys in their one spelling."""
    spelled = tuple(dict.fromkeys(map(_spelled, keys.split(","))))
    scope = action_id.partition(".")[0]
    screen = PARTS.get(scope, scope)
    is_of_dialog = screen not in (APP, TABLE, *SCREENS)
    return KeyedAction(id=action_id, keys=spelled, part_of=PARTS.get(scope), is_of_dialog=is_of_dialog)


def _spelled(key: str) -> str:
    try:
        return normal_key(key)
    except UnusableKeyError:
        # Keys that users cannot have, as Esc, are the application's own.
        return key.strip()
