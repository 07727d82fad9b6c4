"""`quota`: what the clouds let this user's accounts rent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.cli.limit_options import RegionsOption, names
from manager.cli.output import console, emit_json, narrate
from manager.cli.plan_command import CatalogsOption
from manager.errors import ExitCode
from manager.service.context import open_context

if TYPE_CHECKING:
    from manager.prices.quota import AllowedMachine, Quota
    from manager.service.quota import QuotaLine, QuotaReport

_MOST_MACHINES = 4


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quota")(quota)


def quota(
    clouds: Annotated[
        str | None, typer.Option("--clouds", help="aws, gcp or both, with a comma; default: both.")
    ] = None,
    regions: RegionsOption = None,
    catalogs: CatalogsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """Limits of AWS and GCP on accelerators, and which machines they allow. Needs the clouds' credentials."""
    # Catalogs are not needed by `--help`.
    from manager.service.quota import quota_report

    if not as_json:
        narrate("asking the clouds for quotas ...")
    report = quota_report(open_context(), names(clouds) or (), names(regions) or (), catalogs=catalogs)
    if as_json:
        emit_json({"schema": 1, "quotas": [_to_json(line) for line in report.lines], "notes": list(report.notes)})
    else:
        _print(report, console())
    return ExitCode.DONE


def _print(report: QuotaReport, screen: Console) -> None:
    known = [line for line in report.lines if line.quota.code]
    if known:
        screen.print(_table(known))
        screen.print()
    unknown: dict[tuple[str, str], list[str]] = {}
    for quota in (line.quota for line in report.lines):
        if quota.reason is not None:
            unknown.setdefault((quota.cloud, quota.reason), []).append(quota.region or "all regions")
    for (cloud, reason), places in unknown.items():
        screen.print(f"unknown: {cloud} {', '.join(dict.fromkeys(places))}: {escape(reason)}")
    if any(line.quota.is_default for line in known):
        screen.print("default: what AWS gives any account; of this one it told no value", style="dim")
    if any(line.quota.cloud == "gcp" and line.quota.use_spot for line in known):
        screen.print("spot on GCP counts against the quota on demand as long as it has none of its own", style="dim")
    _print_requests(known, screen)


def _table(lines: list[QuotaLine]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("in use", justify="right", no_wrap=True)
    table.add_column("where", no_wrap=True)
    table.add_column("market", no_wrap=True)
    table.add_column("quota", overflow="fold")
    table.add_column("is enough for", overflow="fold")
    for line in lines:
        quota = line.quota
        limit = "unknown" if quota.limit is None else f"{quota.limit:g} {quota.unit}"
        table.add_row(
            limit + (", default" if quota.is_default else ""),
            "?" if quota.in_use is None else f"{quota.in_use:g}",
            _place(quota),
            "spot" if quota.use_spot else "on demand",
            escape(f"{quota.name} ({quota.code})" if quota.name != quota.code else quota.name),
            escape(_machines(line)),
        )
    return table


def _machines(line: QuotaLine) -> str:
    if line.quota.limit is None:
        return "unknown"
    if not line.machines:
        return "no machine with an accelerator"
    shown = [_machine(machine) for machine in line.machines[:_MOST_MACHINES]]
    more = len(line.machines) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _machine(machine: AllowedMachine) -> str:
    name = f"{machine.accelerator_count:g} x {machine.accelerator}"
    instance = f" ({machine.instance_type})" if machine.instance_type else ""
    return f"{machine.machines} of {name}{instance}" if machine.machines > 1 else f"{name}{instance}"


def _print_requests(lines: list[QuotaLine], screen: Console) -> None:
    """How to ask for more where nothing is allowed: the command of the first, which serves the others as well."""
    refused = [line for line in lines if line.quota.limit == 0]
    for cloud in dict.fromkeys(line.quota.cloud for line in refused):
        first = next(line for line in refused if line.quota.cloud == cloud)
        said = first.request_command or first.request_url
        screen.print(f"to ask {cloud} for more, such as {_place(first.quota)} {escape(first.quota.name)}:")
        screen.print(f"  {said}", soft_wrap=True, markup=False)


def _place(quota: Quota) -> str:
    return f"{quota.cloud} {quota.region or 'all regions'}"


def _to_json(line: QuotaLine) -> dict[str, Any]:
    quota = line.quota
    return {
        "cloud": quota.cloud,
        "region": quota.region,
        "code": quota.code or None,
        "name": quota.name,
        "market": "spot" if quota.use_spot else "on-demand",
        "covers": list(quota.covers),
        "unit": quota.unit or None,
        "limit": quota.limit,
        "in_use": quota.in_use,
        "is_default": quota.is_default,
        "as_of_s": quota.as_of_s,
        "unknown_because": quota.reason,
        "machines": [
            {
                "instance_type": machine.instance_type,
                "accelerator": machine.accelerator,
                "accelerator_count": machine.accelerator_count,
                "machines": machine.machines,
            }
            for machine in line.machines
        ],
        "request_url": line.request_url,
        "request_command": line.request_command,
    }
