"""`prices`: what machines cost, where the prices come from, how they have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from manager.cli.limit_options import CloudsOption, GpusOption, RegionsOption, names
from manager.cli.output import console, emit_json, narrate
from manager.cli.plan_command import CatalogsOption, parse_usd
from manager.errors import EngineError, ExitCode, UsageError
from manager.service.context import Context, open_context

_DEFAULT_TOP = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prices")(prices)


def prices(
    clouds: CloudsOption = None,
    regions: RegionsOption = None,
    gpus: GpusOption = None,
    spot: Annotated[
        bool | None, typer.Option("--spot/--no-spot", help="Machines with a spot price, by it; or on demand alone.")
    ] = None,
    max_usd_per_hour: Annotated[
        str | None, typer.Option("--max-usd-per-hour", help="Dearest machine, in dollars per hour.")
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", help="gpu-price ($/h of one accelerator), price, memory (most first) or spot.")
    ] = "gpu-price",
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="How many rows; 20, and all of them with --json.")
    ] = None,
    catalogs: CatalogsOption = None,
    live: Annotated[bool, typer.Option("--live", help="Ask AWS for the spot prices of this minute.")] = False,
    audit: Annotated[
        bool, typer.Option("--audit", help="What the rules of prices found in the catalogs, counted.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Download the catalogs anew, through SkyPilot; with --clouds, those.")
    ] = False,
    history: Annotated[
        str | None, typer.Option("--history", metavar="KEY", help="How a price has changed: an offer's key or a part.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, schema 1.")] = False,
) -> int:
    """What machines cost per hour, on demand and spot. Free and offline, but for --live and --refresh."""
    if audit + refresh + (history is not None) > 1:
        raise UsageError("--audit, --refresh and --history are three questions", hint="ask one of them")
    context = open_context()
    wanted = names(clouds) or ()
    if refresh:
        return _refresh(context, wanted, as_json=as_json)
    if history is not None:
        return _history(context, history, as_json=as_json)
    if audit:
        return _audit(context, catalogs, wanted, as_json=as_json)
    # Catalogs and planner are not needed by `--help`.
    from manager.cli.prices_view import print_prices, row_to_json
    from manager.service.pricing import PriceQuery, price_table

    query = PriceQuery(
        clouds=wanted,
        regions=names(regions) or (),
        accelerators=names(gpus) or (),
        spot=spot,
        max_usd_per_hour=parse_usd(max_usd_per_hour),
        sort=sort,
        live=live,
    )
    table = price_table(context, query, catalogs=catalogs, top=top if as_json else top or _DEFAULT_TOP)
    if as_json:
        rows = [row_to_json(row) for row in table.rows]
        emit_json({"schema": 1, "rows_total": table.rows_total, "rows": rows, "notes": list(table.notes)})
    else:
        print_prices(table, console(), by_spot=bool(spot), with_spot=spot is not False)
    return ExitCode.DONE


def _refresh(context: Context, clouds: tuple[str, ...], *, as_json: bool) -> int:
    from manager.cli.prices_view import print_refreshed
    from manager.service.price_refresh import FAILED, refresh_prices

    lines = refresh_prices(context, clouds, tell=None if as_json else narrate)
    if as_json:
        values = [
            {
                "cloud": line.cloud,
                "state": line.state,
                "rows": line.rows,
                "changed_prices": line.changed_prices,
                "detail": line.detail,
            }
            for line in lines
        ]
        emit_json({"schema": 1, "clouds": values})
    else:
        print_refreshed(lines, console())
    if context.config.catalogs is not None:
        narrate(f"note: setting catalogs names {context.config.catalogs}, which plans read and no refresh touches")
    if all(line.state == FAILED for line in lines):
        raise EngineError("no catalog was refreshed", hint="check the network; the prices of before stay in use")
    return ExitCode.DONE


def _history(context: Context, text: str, *, as_json: bool) -> int:
    from manager.cli.prices_view import point_to_json, print_history
    from manager.service.price_history import price_history

    found = price_history(context, text)
    if as_json:
        values = [{"key": key, "prices": [point_to_json(point) for point in points]} for key, points in found.items()]
        emit_json({"schema": 1, "offers": values})
    else:
        print_history(found, console())
    return ExitCode.DONE


def _audit(context: Context, catalogs: Path | None, clouds: tuple[str, ...], *, as_json: bool) -> int:
    from manager.cli.prices_view import print_audit
    from manager.prices.price_rules import RULES
    from manager.service.pricing import price_audit

    counts, notes = price_audit(context, clouds, catalogs=catalogs)
    if as_json:
        values = [
            {"cloud": one.cloud, "rule": one.rule, "meaning": RULES[one.rule], "count": one.count} for one in counts
        ]
        emit_json({"schema": 1, "audit": values, "notes": list(notes)})
    else:
        print_audit(counts, notes, console())
    return ExitCode.DONE
