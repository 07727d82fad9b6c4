"""TensorSums of real parameters, and the bytes of real optimizers: what formulas of optimizers are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch.profiler import ProfilerActivity, profile

from tasks.step_trace import TensorSums

_LARGE_ELEMENTS = 4096
_BLOCK_ELEMENTS = 256


def tensor_sums(tensors: Iterable[torch.Tensor]) -> TensorSums:
    """Sums over these tensors, as the trace carries them."""
    found = list(tensors)
    large = [one.numel() for one in found if one.numel() >= _LARGE_ELEMENTS]
    matrices = [one for one in found if one.ndim >= 2]
    return TensorSums(
        tensors=len(found),
        elements=sum(one.numel() for one in found),
        bytes=sum(one.numel() * one.element_size() for one in found),
        largest_elements=max((one.numel() for one in found), default=0),
        elements_large=sum(large),
        blocks_large=sum(-(-size // _BLOCK_ELEMENTS) for size in large),
        factored_elements=sum(one.numel() for one in matrices),
        factor_elements=sum(one.numel() // one.shape[-1] + one.numel() // one.shape[-2] for one in matrices),
        matrix_elements=sum(one.numel() for one in matrices),
    )


def peak_growth_bytes(work: Callable[[], object]) -> int:
    """How far the CPU allocator rises above where it starts while `work` runs."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    assert profiler.profiler is not None
    results = profiler.profiler.kineto_results
    assert results is not None
    changes = [event for event in results.events() if event.name() == "[memory]"]
    level = highest = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        level += event.nbytes()
        highest = max(highest, level)
    return highest
