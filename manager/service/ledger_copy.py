"""`ledger copy`: the runs of this machine's ledger, brought into the one that people share."""

from __future__ import annotations

from manager.config import FROM_FILE, Value, check_value, find_setting
from manager.errors import UsageError
from manager.runs.copying import Copied, copy_runs
from manager.runs.ledger import Ledger
from manager.service.context import Context

__all__ = ["Copied", "copy_ledger"]


def copy_ledger(context: Context, url: str | None) -> Copied:
    """Copy every run that is over and not there yet; may be done again at any time.

    Args:
        context: surroundings; the file is that of the state folder, whatever `ledger_url` says.
        url: of the server; None: as `ledger_url` has it.

    Raises:
        UsageError: no server is named, or there is no ledger here.
        ConfigError: it is no URL of PostgreSQL.
        StateError: one of the ledgers cannot be used.
    """
    where = url or context.ledger_url
    if where is None:
        raise UsageError("copy to where?", hint="name the server: --to postgresql://user@host/database")
    check_value(Value(setting=find_setting("ledger_url"), text=where, origin=FROM_FILE if url is None else "--to"))
    if not context.home.ledger_file.exists():
        raise UsageError(f"there is no ledger in {context.home.root}", hint="nothing has to be copied")
    with (
        Ledger.open(context.home.ledger_file) as source,
        Ledger.connect(where, runs_dir=context.home.runs_dir) as target,
    ):
        return copy_runs(source, target, context.user)
