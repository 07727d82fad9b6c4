"""What is still rented under the tag of any run: asked of the providers themselves, compared with the ledger.

Owns whom to ask and whose a thing is. Removal is `leftover_ends`. What has no tag of ours is not even looked at; what
another user has tagged is told and not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal

from manager.errors import StateError
from manager.launch.aws_inventory import CLOUD as AWS
from manager.launch.aws_inventory import AwsInventory
from manager.launch.bucket_folders import find_folders, remove_folder
from manager.launch.inventory import AskedInventory, Found, Rented, RentedKind, join
from manager.launch.sky_catalogs import HOSTED_CLOUDS
from manager.launch.sky_inventory import SKYPILOT, find_clusters
from manager.prices.offer import Offer
from manager.prices.storage_prices import storage_prices_as_of
from manager.runs.states import MAY_BILL, RunState
from manager.service.context import Context
from manager.service.known_names import CLOUDS_WITHOUT_CATALOG, check_names
from manager.service.leftover_places import (
    KnownRuns,
    known_runs,
    offers_of,
    skypilot_user_hash,
    why_not_aws,
    why_not_skypilot,
)
from manager.service.leftovers_report import Leftover, Leftovers, Standing, urgency
from manager.units import HOURS_PER_MONTH

ASK_LIMIT_S = 60.0
"""For each of the places; they are asked at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Askers:
    """Who is asked, and who removes; the defaults are the real ones."""

    aws: AskedInventory = field(default_factory=lambda: AwsInventory(limit_s=ASK_LIMIT_S))
    clusters: Callable[[], Found] = find_clusters
    folders: Callable[[Sequence[str], Sequence[str]], Found] = find_folders
    """Of URIs and ids of runs."""
    remove_folder: Callable[[Rented], None] = remove_folder


def find_leftovers(
    context: Context,
    *,
    clouds: Sequence[str] = (),
    regions: Sequence[str] = (),
    machines_only: bool = False,
    askers: Askers | None = None,
) -> Leftovers:
    """Everything under the tag, with its run, its state and its price; never raises for a provider that is silent.

    Args:
        context: surroundings.
        clouds: only these; empty: all that runs were on or that there are credentials for.
        regions: of AWS, only these; empty: where runs were and all that are enabled.
        machines_only: leave buckets out, which take longer.
        askers: asked instead of the real providers.

    Raises:
        StateError: the ledger cannot be read.
    """
    runs = known_runs(context)
    if runs.ledger_error is not None:
        raise runs.ledger_error
    return leftovers_of(
        context, runs, clouds=clouds, regions=regions, machines_only=machines_only, askers=askers or Askers()
    )


def find_leftovers_anyway(
    context: Context,
    *,
    clouds: Sequence[str] = (),
    regions: Sequence[str] = (),
    askers: Askers | None = None,
) -> tuple[Leftovers, StateError | None]:
    """As `find_leftovers`, also where the ledger cannot be read: then with what the folders of runs tell, and why.

    Raises:
        UsageError: there is no such cloud.
    """
    check_names("cloud", clouds, {*HOSTED_CLOUDS, *CLOUDS_WITHOUT_CATALOG})
    runs = known_runs(context)
    return leftovers_of(context, runs, clouds=clouds, regions=regions, askers=askers or Askers()), runs.ledger_error


def leftovers_of(
    context: Context,
    runs: KnownRuns,
    *,
    clouds: Sequence[str] = (),
    regions: Sequence[str] = (),
    machines_only: bool = False,
    askers: Askers,
) -> Leftovers:
    """As `find_leftovers`, with what is known of the runs; a ledger that cannot be read knows none."""
    wanted = {cloud.lower() for cloud in clouds}
    jobs: dict[str, Callable[[], tuple[Found, bool]]] = {}
    not_asked: dict[str, str] = {}
    if not wanted or AWS in wanted:
        why_not = None if AWS in wanted else why_not_aws(context, runs)
        _plan(jobs, not_asked, AWS, why_not, lambda: _ask_aws(askers.aws, runs, regions))
    if not wanted or wanted - {AWS}:
        _plan(jobs, not_asked, SKYPILOT, why_not_skypilot(runs), lambda: (askers.clusters(), True))
    if not machines_only and runs.bucket_uris:
        _plan(jobs, not_asked, "buckets", None, lambda: (askers.folders(runs.bucket_uris, list(runs.states)), True))
    answers = _ask(jobs)
    found = _without_twins({name: answer for name, (answer, _) in answers.items()})
    own_hash = skypilot_user_hash(context)
    told = [_with_run(item, runs) for item in found.items if not wanted or item.cloud in wanted]
    offers = offers_of(
        context, {run_id for item in told if (run_id := item.run_id) in runs.states and run_id and _needs_price(item)}
    )
    items = [_leftover(item, runs, offers, own_hash) for item in told]
    # With the space that may be followed by a kind of thing.
    places = {f"{AWS} {region} " for region in runs.aws_regions}
    return Leftovers(
        items=tuple(sorted(items, key=urgency)),
        asked=tuple(jobs),
        not_asked=not_asked,
        silent=found.silent,
        silent_of_runs=tuple(
            place
            for name, (answer, knows_where) in answers.items()
            for place in answer.silent
            if not knows_where or name != AWS or place == AWS or any(f"{place} ".startswith(one) for one in places)
        ),
        prices_as_of=storage_prices_as_of(),
    )


def _plan(
    jobs: dict[str, Callable[[], tuple[Found, bool]]],
    not_asked: dict[str, str],
    name: str,
    why_not: str | None,
    ask: Callable[[], tuple[Found, bool]],
) -> None:
    if why_not is None:
        jobs[name] = ask
    else:
        not_asked[name] = why_not


def _ask(jobs: dict[str, Callable[[], tuple[Found, bool]]]) -> dict[str, tuple[Found, bool]]:
    """Each with a time limit of its own, at the same time."""
    if not jobs:
        return {}
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = {name: pool.submit(job) for name, job in jobs.items()}
        return {name: future.result() for name, future in futures.items()}


def _ask_aws(aws: AskedInventory, runs: KnownRuns, regions: Sequence[str]) -> tuple[Found, bool]:
    """The answer, and whether all regions are known that could hold something."""
    if regions:
        return aws.find(regions), True
    enabled = aws.regions()
    places = [*runs.aws_regions, *(region for region in enabled.value or () if region not in runs.aws_regions)]
    found = aws.find(places)
    if enabled.value is not None:
        return found, True
    unknown = Found(silent={AWS: f"which regions are enabled is unknown: {enabled.reason}"})
    return join([found, unknown]), False


def _without_twins(answers: dict[str, Found]) -> Found:
    """A cluster of AWS is there as its machines, where AWS itself has answered."""
    aws = answers.get(AWS)
    told = aws is not None and not aws.silent
    joined = join(answers.values())
    items = [item for item in joined.items if not (told and item.kind is RentedKind.CLUSTER and item.cloud == AWS)]
    return Found(items=tuple(items), silent=joined.silent)


def _with_run(item: Rented, runs: KnownRuns) -> Rented:
    """A cluster or job without a tag is known by its name, where its run is."""
    if item.run_id is not None or item.kind is not RentedKind.CLUSTER:
        return item
    return replace(item, run_id=runs.clusters.get(item.id))


def _leftover(item: Rented, runs: KnownRuns, offers: Mapping[str, Offer], own_hash: str | None) -> Leftover:
    state = None if item.run_id is None else runs.states.get(item.run_id)
    priced = replace(item, usd_per_month=_machine_price(item, offers)) if _needs_price(item) else item
    standing = _standing(item, state, own_hash)
    if item.kind is RentedKind.DATA:
        # Which of the runs that are on reads it only its machine knows.
        is_on = any(one in MAY_BILL | {RunState.PLANNED} for one in runs.states.values())
        standing = Standing.LIVING if is_on else Standing.KEPT
    return Leftover(rented=priced, standing=standing, run_state=state)


def _standing(item: Rented, state: RunState | None, own_hash: str | None) -> Standing:
    if state is not None:
        return Standing.LIVING if state in MAY_BILL | {RunState.PLANNED} else Standing.ORPHAN
    # SkyPilot's table is this user's; a name at the provider ends with the user's hash.
    is_own = item.kind is RentedKind.CLUSTER or (
        own_hash is not None and item.cluster is not None and item.cluster.endswith(f"-{own_hash}")
    )
    return Standing.UNKNOWN_RUN if is_own else Standing.FOREIGN


def _needs_price(item: Rented) -> bool:
    """A machine costs what its run's plan says; EC2 tells no prices."""
    return item.usd_per_month is None and item.kind is RentedKind.INSTANCE and item.state == "running"


def _machine_price(item: Rented, offers: Mapping[str, Offer]) -> Decimal | None:
    """What the run's plan says that one node costs; None: unknown, or it is another machine."""
    offer = offers.get(item.run_id or "")
    if offer is None:
        return None
    if offer.price_usd_per_hour is None or item.name.partition(",")[0] != offer.instance_type:
        return None
    return offer.price_usd_per_hour / offer.num_nodes * HOURS_PER_MONTH
