"""The memory answer as tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from manager.reports.why import MEMORY_COLUMNS, MemoryRow, memory_rows
from manager.service.memory import MemoryReport
from manager.service.memory_cards import CardMemory
from manager.units import format_bytes, format_hours, format_usd, usd
from manager.workload.fixes import Fix
from manager.workload.host_memory import HostNeed
from manager.workload.memory_answer import MemoryAnswer
from tasks.kinds import TASK_KINDS
from tasks.sample_units import WAVEFORM_RATE_HZ

_NARROW = 90


def print_memory(report: MemoryReport, console: Console) -> None:
    """Print the whole answer: the lines of one card, all cards, what would make it fit."""
    profile, answer = report.profile, report.answer
    console.print(
        f"[bold]{escape(report.spec.name)}[/bold]: {escape(profile.model)}, {profile.method}, {profile.precision}, "
        f"{profile.optimizer}, {profile.parameters / 1e6:,.1f} M parameters, "
        f"{profile.trainable_parameters / 1e6:,.2f} M trained"
    )
    console.print(_verdict(report))
    for note in report.notes:
        console.print(f"note: {escape(note.removesuffix('.'))}")
    console.print(f"basis: {escape(profile.basis)}; constants: {escape(answer.basis)}", style="dim")
    console.print()
    console.print(memory_lines(memory_rows(answer, report.memory_bytes)))
    console.print(
        f"peaks: training {format_bytes(answer.training_bytes)}, evaluation {format_bytes(answer.evaluation_bytes)}, "
        f"saving {format_bytes(answer.save_bytes)}; allocated {format_bytes(answer.allocated_bytes)}, "
        f"reserved {format_bytes(answer.reserved_bytes)}"
    )
    console.print(_host_text(report.host))
    console.print(f"  constants: {escape(report.host.basis)}", style="dim")
    console.print()
    if report.fixes:
        console.print(_fixes(report.fixes, wide=console.width >= _NARROW))
        console.print()
    console.print(_cards(report))
    console.print("micro-batch: the smallest with as few passes a step as the largest that fits", style="dim")


def _verdict(report: MemoryReport) -> str:
    """What is needed; where not even one sample fits, what that would need comes first."""
    answer = report.answer
    card = f"[bold]{escape(report.card)}[/bold] ({format_bytes(report.memory_bytes)})"
    step = f"{pass_text(report)}{_layout(report)}, highest in {answer.phase}"
    needed = f"[bold]{format_bytes(answer.needed_bytes)}[/bold]"
    least = next((c.answer for c in report.cards if c.name == report.card and c.micro_batch is None), None)
    if report.fits or least is None or least.needed_bytes >= answer.needed_bytes:
        return f"{needed} needed on {card}: {'fits' if report.fits else 'does not fit'}; {step}"
    return (
        f"[bold]{format_bytes(least.needed_bytes)}[/bold] needed on {card} at micro-batch 1, the least: does not fit; "
        f"the table below is of {needed}: {step}"
    )


def pass_text(report: MemoryReport) -> str:
    """One forward pass in the unit of the task: `4 samples of 363 tokens a pass, 4 passes a step`."""
    count, kind = report.micro_batch, TASK_KINDS[report.spec.task]
    if kind.length == "images":
        text = _counted(count, "image")
    elif kind.length == "waveform":
        text = f"{_counted(count, 'recording')} of {report.length / WAVEFORM_RATE_HZ:.1f} s"
    elif kind.samples == "audio":
        text = f"{_counted(count, 'recording')} with transcripts of {report.length:,} tokens"
    elif kind.samples == "images":
        text = f"{_counted(count, 'image')} with texts of {report.length:,} tokens"
    else:
        text = f"{_counted(count, 'sample')} of {report.length:,} tokens"
    passes = -(-report.share // count)
    return f"{text} a pass" if passes == 1 else f"{text} a pass, {passes} passes a step"


def _host_text(need: HostNeed) -> str:
    """`host's memory: 9.8 GiB (8.1 GiB to 10.2 GiB), highest while the model is read; 2 processes of 2.1 GiB each`."""
    host = need.expected
    each = host.process_bytes + host.data_bytes + host.shards_bytes
    processes = "one process" if host.processes == 1 else f"{host.processes} processes"
    return (
        f"host's memory: {format_bytes(host.peak_bytes)} ({format_bytes(need.low.peak_bytes)} to "
        f"{format_bytes(need.high.peak_bytes)}), highest while {host.peak}; "
        f"{processes} of {format_bytes(each)}{'' if host.processes == 1 else ' each'}"
    )


def _counted(count: int, unit: str) -> str:
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def report_to_json(report: MemoryReport) -> dict[str, Any]:
    """The answer as JSON values."""
    return {
        "schema": 1,
        "name": report.spec.name,
        "model": report.profile.model,
        "method": report.profile.method,
        "precision": report.profile.precision,
        "optimizer": report.profile.optimizer,
        "parameters": report.profile.parameters,
        "trainable_parameters": report.profile.trainable_parameters,
        "card": report.card,
        "memory_bytes": report.memory_bytes,
        "micro_batch": report.micro_batch,
        "share": report.share,
        "length": report.length,
        "placement": asdict(report.placement),
        "fits": report.fits,
        "answer": _answer_to_json(report.answer),
        "host": {
            **asdict(report.host.expected),
            "peak_bytes": report.host.expected.peak_bytes,
            "low_bytes": report.host.low.peak_bytes,
            "high_bytes": report.host.high.peak_bytes,
            "basis": report.host.basis,
        },
        "cards": [
            {
                "name": card.name,
                "memory_bytes": card.memory_bytes,
                "largest_micro_batch": card.micro_batch,
                "needed_bytes": card.answer.needed_bytes,
                "refusal": card.refusal,
            }
            for card in report.cards
        ],
        "fixes": [
            {
                "name": fix.name,
                "text": fix.text,
                "fits": fix.fits,
                "card": fix.card,
                "devices": fix.placement.devices,
                "length": fix.length,
                "micro_batch": fix.micro_batch,
                "saved_bytes": fix.saved_bytes,
                "more_hours": None if fix.effect is None else fix.effect.hours,
                "more_usd": None if fix.effect is None else fix.effect.usd,
                "reason": fix.reason,
            }
            for fix in report.fixes
        ],
        "notes": list(report.notes),
        "basis": report.profile.basis,
    }


def _answer_to_json(answer: MemoryAnswer) -> dict[str, Any]:
    return {
        **asdict(answer),
        "allocated_bytes": answer.allocated_bytes,
        "reserved_bytes": answer.reserved_bytes,
        "needed_bytes": answer.needed_bytes,
        "total_bytes": answer.total_bytes,
    }


def _layout(report: MemoryReport) -> str:
    placement = report.placement
    parts = []
    if placement.replicas > 1 or placement.is_sharded:
        parts.append(f"{placement.sharding} over {placement.replicas}")
    if placement.cpu_offload:
        parts.append("shards in the host's memory")
    if placement.tensor_parallel > 1:
        parts.append(f"tensor parallel over {placement.tensor_parallel}")
    return "".join(f", {part}" for part in parts)


def memory_lines(rows: Sequence[MemoryRow]) -> Table:
    """The lines of a memory answer and their sums."""
    table = Table(box=None, pad_edge=False)
    table.add_column(MEMORY_COLUMNS[0])
    for title in MEMORY_COLUMNS[1:]:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(row.name, row.size, row.share, style="bold" if row.is_sum else None)
    return table


def _cards(report: MemoryReport) -> Table:
    table = Table(box=None, pad_edge=False, title="cards on offer", title_justify="left")
    table.add_column("card")
    for title in ("memory", "micro-batch", "needs"):
        table.add_column(title, justify="right", no_wrap=True)
    if any(card.refusal for card in report.cards):
        table.add_column("", overflow="fold")
    for card in report.cards:
        table.add_row(*_card_cells(card), style="bold" if card.name == report.card else None)
    return table


def _card_cells(card: CardMemory) -> list[str]:
    largest = "does not fit" if card.micro_batch is None else str(card.micro_batch)
    cells = [card.name, format_bytes(card.memory_bytes), largest, format_bytes(card.answer.needed_bytes)]
    return cells if card.refusal is None else [*cells, card.refusal.partition(": ")[2]]


def _fixes(fixes: tuple[Fix, ...], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, title="what would make it fit", title_justify="left")
    table.add_column("fits")
    table.add_column("saves", justify="right", no_wrap=True)
    if wide:
        table.add_column("batch", justify="right")
    table.add_column("training time", justify="right", no_wrap=True)
    table.add_column("dollars", justify="right", no_wrap=True)
    table.add_column("change", overflow="fold")
    for fix in fixes:
        fitting = {True: "yes", False: "no", None: "?"}[fix.fits]
        saved = "?" if fix.saved_bytes is None else format_bytes(fix.saved_bytes)
        hours = None if fix.effect is None else fix.effect.hours
        dollars = None if fix.effect is None else fix.effect.usd
        cells = [fitting, saved]
        if wide:
            cells.append(str(fix.micro_batch or "?"))
        cells += [_signed_hours(hours), _signed_usd(dollars)]
        table.add_row(*cells, escape(_change(fix)))
    return table


def _change(fix: Fix) -> str:
    """What to change; of the reason why it is not estimated the first clause, the whole is in the JSON."""
    if fix.reason is None:
        return fix.text
    return f"{fix.text} ({': '.join(fix.reason.split(': ')[:2])})"


def _signed_hours(hours: float | None) -> str:
    if hours is None:
        return "?"
    return f"{'-' if hours < 0 else '+'}{format_hours(abs(hours))}"


def _signed_usd(dollars: float | None) -> str:
    if dollars is None:
        return "?"
    return f"{'-' if dollars < 0 else '+'}{format_usd(usd(abs(dollars)))}"
