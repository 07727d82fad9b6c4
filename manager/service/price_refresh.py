"""Refresh price catalogs: downloaded through SkyPilot, checked, kept as good copies, their changes written down.

A download is believed only when it can be read and has not shrunk beside the last one; until then SkyPilot's own
catalog is not touched. One cloud's failure is its own line.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from manager.errors import PriceError, StateError, TunefareError
from manager.launch.sky_catalogs import HOSTED_CLOUDS, SkyCatalogs
from manager.launch.sky_worker import SkyWorker
from manager.prices.good_copies import (
    CATALOG_FILE,
    CatalogFacts,
    GoodCopy,
    examine_catalog,
    good_copy,
    keep_copy,
    reason_to_doubt,
)
from manager.prices.history import PriceHistory
from manager.prices.sky_catalog import default_catalog_dir, download_time_s, read_catalogs
from manager.service.context import Context
from manager.service.known_names import check_names
from manager.units import format_duration

UPDATED = "updated"
UNCHANGED = "unchanged"
KEPT = "kept"
FAILED = "failed"
CANCELLED = "cancelled"
MAIN_CLOUDS = ("aws", "azure", "gcp", "lambda", "nebius", "oci", "runpod", "vast")
"""Refreshed without being asked for, beside those that SkyPilot has on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What became of one cloud's catalog."""

    cloud: str
    state: str
    """`updated`, `unchanged` (the same as before, now of today), `kept` (somebody's own changes stay), `failed` or
    `cancelled`."""
    detail: str
    """Rows and changed prices, or why it failed and what is used instead."""
    rows: int | None
    """Rows of the downloaded catalog; None where there is none to be believed."""
    changed_prices: int | None
    """Prices that are new, gone or different since the last refresh; None: not known, or the first one."""


def refresh_prices(
    context: Context,
    clouds: tuple[str, ...] = (),
    *,
    tell: Callable[[str], None] | None = None,
    worker: SkyWorker | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[Refreshed]:
    """Download the catalogs of these clouds, or of the main ones and those that are here.

    Args:
        context: surroundings.
        clouds: SkyPilot's names.
        tell: is told of each cloud before it is asked.
        worker: asked instead of a new one.
        is_cancelled: asked before each cloud and while one is waited for; what is done by then stays done.

    Raises:
        UsageError: SkyPilot hosts no catalog of a cloud.
        EngineError: SkyPilot is not installed.
        StateError: the cache cannot be written.
    """
    check_names("cloud with a hosted catalog", clouds, set(HOSTED_CLOUDS))
    context.home.ensure()
    own = default_catalog_dir(context.user_home)
    wanted = [cloud.lower() for cloud in clouds] or sorted({*MAIN_CLOUDS, *_present(own)})
    with tempfile.TemporaryDirectory(prefix="refresh-", dir=context.home.cache_dir) as folder:
        url = context.config.text("catalog_url").rstrip("/") or None
        with SkyCatalogs(Path(folder), url=url, worker=worker, give_up=is_cancelled) as catalogs:
            refresh = _Refresh(context, catalogs, own, Path(folder), is_cancelled)
            lines = []
            for cloud in wanted:
                if tell is not None and not is_cancelled():
                    tell(f"downloading the prices of {cloud} ...")
                lines.append(refresh.cloud(cloud))
    with contextlib.suppress(StateError), PriceHistory(context.home.price_history_file) as history:
        history.prune(now_s=context.clock())
    return lines


class _Refresh:
    """One refresh: where things lie."""

    def __init__(
        self, context: Context, catalogs: SkyCatalogs, own: Path, scratch: Path, is_cancelled: Callable[[], bool]
    ) -> None:
        self._context = context
        self._is_cancelled = is_cancelled
        self._catalogs = catalogs
        self._own = own
        self._scratch = scratch
        self._timeout_s = float(context.config.number("refresh_timeout_s"))

    def cloud(self, cloud: str) -> Refreshed:
        """Refresh one cloud; never raises for what its source or its files do."""
        if self._is_cancelled():
            return self._without(cloud, CANCELLED, "not asked")
        try:
            return self._refresh(cloud)
        except TunefareError as error:
            return self._without(cloud, CANCELLED if self._is_cancelled() else FAILED, error.message)

    def _without(self, cloud: str, state: str, reason: str) -> Refreshed:
        text = f"{reason}; {self._what_is_used(cloud)}"
        return Refreshed(cloud=cloud, state=state, detail=text, rows=None, changed_prices=None)

    def _refresh(self, cloud: str) -> Refreshed:
        target = self._own / cloud / CATALOG_FILE
        before = _examined(target)
        kept = good_copy(self._context.home.prices_dir, cloud)
        path, source = self._catalogs.download(cloud, timeout_s=self._timeout_s)
        facts = self._believed(path, before, kept)
        known_since_s = download_time_s(target, self._own) if before is not None else None
        old_prices = _prices(self._scratch, target) if before is not None and before.sha256 != facts.sha256 else None
        now_s = self._context.clock()
        keep_copy(path, facts, folder=self._context.home.prices_dir, cloud=cloud, downloaded_at_s=now_s, source=source)
        installed = self._catalogs.install(cloud, path, self._own, replace=before is None)
        if not installed:
            text = f"{target} was put there or changed by hand and stays; delete it to take the downloaded catalog"
            return Refreshed(cloud=cloud, state=KEPT, detail=text, rows=facts.rows, changed_prices=None)
        if before is not None and before.sha256 == facts.sha256:
            self._begin_history(cloud, path, now_s if known_since_s is None else known_since_s)
            text = f"{facts.rows:,} rows, none changed"
            return Refreshed(cloud=cloud, state=UNCHANGED, detail=text, rows=facts.rows, changed_prices=0)
        changed, note = self._recorded(cloud, path, old_prices, known_since_s, now_s)
        return Refreshed(
            cloud=cloud, state=UPDATED, detail=f"{facts.rows:,} rows, {note}", rows=facts.rows, changed_prices=changed
        )

    def _believed(self, path: Path, before: CatalogFacts | None, kept: GoodCopy | None) -> CatalogFacts:
        try:
            facts = examine_catalog(path)
        except PriceError as error:
            said = error.message.replace(f"price catalog {path}", "the downloaded catalog")
            raise PriceError(said, hint=error.hint) from error
        last = before or (kept.facts if kept is not None else None)
        doubt = None if last is None else reason_to_doubt(facts, last)
        if doubt is not None:
            raise PriceError(f"the downloaded catalog is not believed: {doubt}")
        return facts

    def _begin_history(self, cloud: str, path: Path, as_of_s: float) -> None:
        """Write the prices of now down, where there are none of this cloud yet; changes need a beginning."""
        with contextlib.suppress(StateError), PriceHistory(self._context.home.price_history_file) as history:
            if not history.has(cloud):
                history.record(cloud, _prices(self._scratch, path), as_of_s=as_of_s)

    def _recorded(
        self,
        cloud: str,
        path: Path,
        old_prices: dict[str, Decimal | None] | None,
        known_since_s: float | None,
        now_s: float,
    ) -> tuple[int | None, str]:
        """Number of changed prices and the words for it; a history that cannot be written is a note, no failure."""
        try:
            with PriceHistory(self._context.home.price_history_file) as history:
                if old_prices and known_since_s is not None:
                    history.record(cloud, old_prices, as_of_s=min(known_since_s, now_s - 1))
                is_first = not history.has(cloud)
                changed = history.record(cloud, _prices(self._scratch, path), as_of_s=now_s)
        except StateError as error:
            return None, f"no history was written: {error.message}"
        if is_first:
            return None, "the first in the history"
        return changed, f"prices new, gone or different: {changed:,}"

    def _what_is_used(self, cloud: str) -> str:
        target = self._own / cloud / CATALOG_FILE
        if _examined(target) is not None:
            age_s = self._context.clock() - (download_time_s(target, self._own) or 0.0)
            return f"SkyPilot's catalog stays, downloaded {format_duration(max(age_s, 0.0))} ago"
        kept = good_copy(self._context.home.prices_dir, cloud)
        if kept is not None:
            age_s = self._context.clock() - kept.downloaded_at_s
            return f"the good copy is used, downloaded {format_duration(max(age_s, 0.0))} ago"
        return "there is no other catalog of this cloud"


def _present(directory: Path) -> Iterator[str]:
    """Clouds whose catalog SkyPilot has on this machine."""
    for cloud in HOSTED_CLOUDS:
        if (directory / cloud / CATALOG_FILE).exists():
            yield cloud


def _examined(path: Path) -> CatalogFacts | None:
    """None: there is none, or it is damaged."""
    try:
        return examine_catalog(path)
    except PriceError:
        return None


def _prices(scratch: Path, catalog: Path) -> dict[str, Decimal | None]:
    """Key of each offer of one catalog -> its lowest known price, dollars per hour."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        alone = Path(folder) / catalog.parent.name / CATALOG_FILE
        alone.parent.mkdir()
        shutil.copy2(catalog, alone)
        market = read_catalogs(Path(folder), now_s=catalog.stat().st_mtime)
    prices: dict[str, Decimal | None] = {}
    for offer in market.offers():
        usd, known = offer.price_usd_per_hour, prices.get(offer.key)
        prices[offer.key] = known if usd is None or (known is not None and known < usd) else usd
    return prices
