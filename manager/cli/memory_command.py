"""`memory`: what the training step needs of a card, line by line, and what would make it fit."""

from __future__ import annotations

from typing import Annotated

import typer

from manager.cli.output import console, emit_json, narrate
from manager.cli.plan_command import FileArgument
from manager.cli.setup_command import DEFAULT_FILE
from manager.errors import ExitCode, NothingFitsError, UsageError
from manager.service.context import open_context

_SHARDINGS = ("ddp", "fsdp")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("memory")(memory)


def memory(
    file: FileArgument = DEFAULT_FILE,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help="Accelerator, such as L4 or A100-80GB; default: the smallest that fits.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option("--devices", min=1, help="Data-parallel devices; default: 1, or the chips of a TPU slice."),
    ] = None,
    sharding: Annotated[
        str, typer.Option("--sharding", help="What devices share: ddp (nothing) or fsdp (weights and state).")
    ] = "ddp",
    offload: Annotated[bool, typer.Option("--offload", help="With fsdp: keep shards in the host's memory.")] = False,
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", min=1, help="Devices that share each layer's matrices.")
    ] = 1,
    micro_batch: Annotated[
        int | None,
        typer.Option("--micro-batch", min=1, help="Samples per forward pass; default: as the run file says."),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            "--length", min=1, help="Longest sample in tokens, raw audio in 16 kHz samples; default: the data's."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> int:
    """Peak memory by line on one card, the micro-batch for every card, fixes for what does not fit."""
    from manager.cli.memory_view import pass_text, print_memory, report_to_json
    from manager.service.memory import Layout, memory_report
    from manager.service.starting import load_spec
    from manager.workload.placement import Placement

    if sharding not in _SHARDINGS:
        raise UsageError(f"there is no sharding {sharding!r}", hint=f"choose one of {', '.join(_SHARDINGS)}")
    if offload and sharding != "fsdp":
        raise UsageError("--offload keeps the shards of fsdp in the host's memory", hint="add --sharding fsdp")
    replicas = devices or 1
    placement = Placement(
        replicas=replicas,
        sharding=sharding if replicas > 1 or sharding == "fsdp" else "none",
        cpu_offload=offload,
        tensor_parallel=tensor_parallel,
    )
    is_given = devices is not None or placement != Placement()
    layout = Layout(card=gpu, micro_batch=micro_batch, length=length, placement=placement if is_given else None)
    report = memory_report(open_context(), load_spec(file), layout, tell=None if as_json else narrate)
    if as_json:
        emit_json(report_to_json(report))
    else:
        print_memory(report, console())
    if not report.fits:
        raise NothingFitsError(
            f"{pass_text(report)} does not fit on {report.card}",
            hint="try one of the changes above, or another --gpu",
        )
    return ExitCode.DONE
