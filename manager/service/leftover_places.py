"""Whom to ask about leftovers: places where runs of the ledger were, and accounts that this user has."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from manager.errors import EngineError, StateError
from manager.launch.aws_end import regions_of, was_on_aws
from manager.launch.from_store import store_uri
from manager.launch.render import cluster_name
from manager.launch.sky_attempt import read_attempt
from manager.prices.offer import Offer
from manager.runs.states import RunState
from manager.runs.summary import RunSummary
from manager.service.context import Context
from manager.service.inspection import reading

_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Any of them says that somebody means to use AWS; whether they are good is boto3's affair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRuns:
    """What the ledger and the folders of runs say about places."""

    states: Mapping[str, RunState]
    """Of all runs."""
    clusters: Mapping[str, str]
    """Name of a cluster or managed job -> its run, of the ledger and of folders: names of long ids are shortened."""
    aws_regions: tuple[str, ...]
    """Where runs were tried, by their folders."""
    bucket_uris: tuple[str, ...]
    """Under which runs have folders of their names."""
    on_skypilot: bool
    """Whether any run was ever launched through it."""
    on_aws: bool
    ledger_error: StateError | None
    """Why the ledger cannot be read; then no run has a state, and places are those of the folders."""


def known_runs(context: Context) -> KnownRuns:
    """Read the ledger, if there is one, and the folders of runs."""
    runs: list[RunSummary] = []
    error: StateError | None = None
    try:
        with reading(context) as ledger:
            runs = [] if ledger is None else ledger.summaries()
    except StateError as caught:
        error = caught
    folders = sorted(folder for folder in context.home.runs_dir.glob("*") if folder.is_dir())
    attempts = [attempt for folder in folders if (attempt := read_attempt(folder)) is not None]
    regions = {region for attempt in attempts if was_on_aws(attempt) for region in regions_of(attempt)}
    uris = [context.config.text("bucket"), *map(_store_parent, folders)]
    return KnownRuns(
        states={run.run_id: run.state for run in runs},
        clusters=_clusters([*(folder.name for folder in folders), *(run.run_id for run in runs)]),
        aws_regions=tuple(sorted(regions)),
        bucket_uris=tuple(sorted({uri.rstrip("/") for uri in uris if uri})),
        on_skypilot=bool(attempts) or any(run.engine == "sky" for run in runs),
        on_aws=any((run.machine or "").startswith("aws ") for run in runs) or any(map(was_on_aws, attempts)),
        ledger_error=error,
    )


def offers_of(context: Context, run_ids: Iterable[str]) -> dict[str, Offer]:
    """Machines that these runs of the ledger took, or were to take; without those that nobody knows."""
    found: dict[str, Offer] = {}
    with suppress(StateError), reading(context) as ledger:
        if ledger is None:
            return found
        for run_id in run_ids:
            record = ledger.run(run_id)
            choice = record.plan.choice
            offer = record.offer or (None if choice is None else choice.offer)
            if offer is not None:
                found[run_id] = offer
    return found


def why_not_aws(context: Context, runs: KnownRuns) -> str | None:
    """Why AWS is not asked; None: it is."""
    home = context.user_home / ".aws"
    named = any(context.environment.get(name) for name in _CREDENTIALS)
    if runs.on_aws or named or (home / "credentials").exists() or (home / "config").exists():
        return None
    return "no run was there and no credentials are set"


def why_not_skypilot(runs: KnownRuns) -> str | None:
    """Why SkyPilot is not asked; None: it is. It would start its API server."""
    if not runs.on_skypilot:
        return "no run was launched through it"
    return None if importlib.util.find_spec("sky") else "it is not installed"


def skypilot_user_hash(context: Context) -> str | None:
    """By which SkyPilot ends the names of this user's clusters at a provider; None: it was never used here."""
    told = context.environment.get("SKYPILOT_USER_ID")
    try:
        return told or (context.user_home / ".sky" / "user_hash").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _clusters(run_ids: Iterable[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for run_id in run_ids:
        # A folder that is no run's can have any name.
        with suppress(EngineError):
            names[cluster_name(run_id)] = run_id
    return names


def _store_parent(run_dir: Path) -> str:
    """The URI under which a run has its folder; empty: it keeps nothing in a bucket, or nobody can say."""
    parent, _, last = (store_uri(run_dir) or "").rstrip("/").rpartition("/")
    return parent if last == run_dir.name else ""
