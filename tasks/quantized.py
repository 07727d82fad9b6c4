"""A base in 4 bits (QLoRA; Dettmers et al. 2023, arXiv:2305.14314): how it is asked for, counted and read back.

Linear layers of the base are stored in nf4 by blocks of 64 with their scales quantized once more, and computed in the
precision's own type. Embeddings, norms, biases and the head stay as they are: in float32 under the mixed precisions and
fp32, as PEFT's prepare_model_for_kbit_training has them, in bfloat16 under pure bf16, where that function would double
them. bitsandbytes computes it, on CUDA and on CPUs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tasks.failures import TaskError
from tasks.precision import COMPUTE_TYPES
from tasks.protocol import FailureCode


def nf4_config(precision: str, kept: frozenset[str]) -> Any:
    """What transformers is told at loading time.

    Args:
        precision: of the training.
        kept: modules that are not quantized.

    Raises:
        TaskError: bad_job, when bitsandbytes cannot be imported here.
    """
    try:
        import bitsandbytes  # noqa: F401 - seconds to load; no other method needs it.
    except ImportError as error:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"method.kind is qlora, and bitsandbytes cannot be imported: {error}",
            hint="Install bitsandbytes, or set method.kind to lora.",
        ) from error
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=COMPUTE_TYPES[precision],
        llm_int8_skip_modules=sorted(kept),
    )


def use_training_kernels(model: nn.Module) -> None:
    """Have evaluation compute as training does.

    On processors with AVX512-BF16, bitsandbytes lays weights out anew for inference, rounds the scales to bfloat16
    and leaves the model unfit for training: numbers would depend on the processor and on past evaluations.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010 - unknown to nn.Module's types


def elements(parameter: nn.Parameter) -> int:
    """Weights that a parameter stands for; two of them share a byte in 4 bits."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else int(torch.Size(state.shape).numel())


def values_in_full(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Each parameter and buffer by its name, those in 4 bits as the matrix products see them; one at a time."""
    from bitsandbytes.functional import dequantize_4bit

    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        yield name, parameter.detach() if state is None else dequantize_4bit(parameter.data, state)
    yield from model.named_buffers()
