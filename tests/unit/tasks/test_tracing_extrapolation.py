"""Polynomials of small recordings against steps recorded in full: real architectures, narrow and deep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tasks.job import MethodChoice
from tasks.step_trace import StepTrace, TraceRequest, evaluate
from tasks.tracing.fit import trace_step
from tests.support.trace_sums import all_flops, all_moved_bytes, op_count

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")]

_NARROW = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "vocab_size": 1000}
_LLAMA = {**_NARROW, "model_type": "llama", "num_hidden_layers": 16, "num_key_value_heads": 2, "head_dim": 16}
_BERT = {**_NARROW, "model_type": "bert", "num_hidden_layers": 12}
_MODERNBERT = {
    **_NARROW,
    "model_type": "modernbert",
    "num_hidden_layers": 22,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
_GEMMA = {
    **_LLAMA,
    "model_type": "gemma3_text",
    "num_hidden_layers": 18,
    "sliding_window": 512,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 6,
}
_MIXTRAL = {**_LLAMA, "model_type": "mixtral", "num_hidden_layers": 10, "num_local_experts": 4}
_GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 12, "n_head": 4, "vocab_size": 1000, "n_positions": 1024}
_T5 = {"model_type": "t5", "d_model": 64, "d_ff": 128, "num_layers": 4, "num_heads": 4, "d_kv": 16, "vocab_size": 1000}
_DEBERTA = {
    **_NARROW,
    "model_type": "deberta-v2",
    "num_hidden_layers": 8,
    "relative_attention": True,
    "position_buckets": 64,
    "pos_att_type": ["p2c", "c2p"],
}
_VIT = {"model_type": "vit", "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "image_size": 64}
_RESNET = {"model_type": "resnet", "embedding_size": 16, "hidden_sizes": [32, 64], "depths": [2, 2]}
_WAV2VEC2 = {**_NARROW, "model_type": "wav2vec2", "num_hidden_layers": 8, "vocab_size": 32, "conv_dim": [128] * 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One configuration and where it is compared."""

    config: dict[str, Any]
    task: str = "text-classification"
    method: str = "full"
    precision: str = "bf16"
    options: tuple[tuple[str, Any], ...] = ()
    batch: int = 6
    length: int = 512
    is_whole: bool = False
    """Whether the model has to be recorded at its own depth."""

    @property
    def request(self) -> TraceRequest:
        return TraceRequest(
            config=self.config,
            task=self.task,
            method=MethodChoice(kind=self.method, lora_rank=8),
            precision=self.precision,
            **dict(self.options),
        )


_CHECKPOINTING = (("gradient_checkpointing", True),)
_CHUNKED = (("loss", "chunked"),)
_CASES = {
    "bert": _Case(config=_BERT),
    "bert-mixed": _Case(config=_BERT, precision="bf16-mixed", length=384),
    "bert-masked-lm-fp32": _Case(config=_BERT, task="masked-lm", precision="fp32"),
    "bert-frozen": _Case(config=_BERT, method="frozen", precision="fp32"),
    "bert-eager": _Case(config=_BERT, options=(("attention", "eager"),)),
    "llama": _Case(config=_LLAMA, task="causal-lm", batch=3, length=1024),
    "llama-checkpointing": _Case(config=_LLAMA, task="causal-lm", options=_CHECKPOINTING, length=1024),
    "llama-packed": _Case(config=_LLAMA, task="causal-lm", options=(("padded", False),), batch=16),
    "llama-lora": _Case(config=_LLAMA, task="causal-lm", method="lora", batch=9),
    "llama-lora-mixed": _Case(config=_LLAMA, method="lora", precision="bf16-mixed", options=_CHECKPOINTING),
    "llama-sgd": _Case(config=_LLAMA, options=(("optimizer", "sgd-momentum"),)),
    "modernbert": _Case(config=_MODERNBERT, precision="bf16-mixed", options=_CHECKPOINTING),
    "gemma3": _Case(config=_GEMMA, task="causal-lm", options=_CHECKPOINTING, length=480),
    "mixtral": _Case(config=_MIXTRAL, task="causal-lm", batch=4),
    "llama-chunked": _Case(config=_LLAMA, task="causal-lm", options=_CHUNKED, batch=5, length=1024),
    "llama-chunked-one-slice": _Case(config=_LLAMA, task="causal-lm", options=_CHUNKED, batch=1, length=256),
    "llama-chunked-rest": _Case(config=_LLAMA, task="causal-lm", options=_CHUNKED, batch=7, length=448),
    "llama-chunked-qlora": _Case(
        config=_LLAMA, task="causal-lm", method="qlora", options=_CHUNKED + _CHECKPOINTING, batch=3, length=1024
    ),
    "llama-chunked-mixed": _Case(
        config=_LLAMA, task="causal-lm", precision="bf16-mixed", options=_CHUNKED + _CHECKPOINTING, batch=16
    ),
    "gpt2-chunked": _Case(config=_GPT2, task="causal-lm", precision="fp32", options=_CHUNKED, batch=6),
    "gpt2-chunked-mixed-lora": _Case(
        config=_GPT2, task="causal-lm", method="lora", precision="bf16-mixed", options=_CHUNKED, batch=6
    ),
    "gpt2": _Case(config=_GPT2, task="causal-lm", precision="bf16-mixed"),
    "deberta": _Case(config=_DEBERTA, precision="fp32", length=320),
    "t5": _Case(config=_T5, task="seq2seq-lm", batch=16, length=1024, is_whole=True),
    "vit": _Case(config=_VIT, task="image-classification", batch=33, length=1),
    "resnet": _Case(config=_RESNET, task="image-classification", precision="fp32", batch=48, length=1, is_whole=True),
    "wav2vec2": _Case(config=_WAV2VEC2, task="speech-ctc", precision="fp32", batch=4, length=240_000),
}


@pytest.fixture(scope="module", params=_CASES)
def case(request: pytest.FixtureRequest) -> _Case:
    return _CASES[request.param]


@pytest.fixture(scope="module")
def trace(case: _Case) -> StepTrace:
    return _traced(case.request)


def _traced(request: TraceRequest, *, with_rank: bool = False) -> StepTrace:
    from tasks.tracing.models import read_config
    from tasks.tracing.traced_step import record_step

    config = read_config(request).to_dict()
    return trace_step(request, config=config, record=record_step, with_rank=with_rank)


def _recorded(request: TraceRequest, batch: int, length: int) -> Any:
    from tasks.tracing.traced_step import record_step

    return record_step(request, batch=batch, length=length)


def _peak_bytes(trace: StepTrace, *, batch: int, length: int, rank: int = 0, evaluation: bool = False) -> float:
    return max(
        sum(evaluate(line, batch=batch, length=length, rank=rank) for line in point.lines.values())
        for point in trace.memory
        if (point.phase == "evaluation") == evaluation
    )


def test_the_deep_model_at_another_batch_and_length(case: _Case, trace: StepTrace) -> None:
    full = _recorded(case.request, case.batch, case.length)
    at: Any = {"batch": case.batch, "length": case.length}
    assert trace.exact is case.is_whole
    assert _peak_bytes(trace, **at) == pytest.approx(full.peak_bytes(), rel=1e-3)
    assert _peak_bytes(trace, **at, evaluation=True) == pytest.approx(full.peak_bytes("evaluation"), rel=1e-3)
    assert all_flops(trace, **at) == pytest.approx(full.flops.sum(), rel=1e-3)
    assert all_moved_bytes(trace, **at) == pytest.approx(full.moved_bytes.sum(), rel=2e-3)
    launched = [name for name in full.names if not name.startswith(("empty", "new_empty"))]
    assert op_count(trace, **at) == pytest.approx(len(launched), rel=1e-2)
    assert evaluate(trace.weights_bytes, **at) == full.weights_bytes
    assert evaluate(trace.optimizer_state_bytes, **at) == full.optimizer_state_bytes
    assert (trace.parameters, trace.trainable_parameters) == (full.parameters, full.trainable_parameters)
    assert trace.trainable == full.trainable
    assert trace.layers == full.layers
    assert trace.layer_weight_bytes == full.layer_weight_bytes
    assert trace.root_weight_bytes == full.root_weight_bytes
    assert evaluate(trace.layer_activation_bytes, **at) == pytest.approx(full.layer_input_bytes, rel=1e-3)


def test_few_moments_are_kept(trace: StepTrace) -> None:
    assert 3 <= len(trace.memory) <= 30


@pytest.mark.parametrize("name", ["bert", "llama-checkpointing", "resnet"])
def test_the_largest_batch_is_that_of_recorded_steps(name: str) -> None:
    """Under a limit half-way between two batches, bisection over recordings finds what the polynomials say."""
    case = _CASES[name]
    trace = _traced(case.request)
    low_bytes, high_bytes = (_peak_bytes(trace, batch=batch, length=case.length) for batch in (37, 38))
    limit_bytes = (low_bytes + high_bytes) / 2
    by_polynomials = max(
        batch for batch in range(1, 129) if _peak_bytes(trace, batch=batch, length=case.length) < limit_bytes
    )
    fits, too_large = 1, 129
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        if _recorded(case.request, middle, case.length).peak_bytes() < limit_bytes:
            fits = middle
        else:
            too_large = middle
    assert by_polynomials == fits == 37


@pytest.mark.parametrize("rank", [8, 64])
def test_one_trace_of_lora_for_every_rank(rank: int) -> None:
    from dataclasses import replace

    case = _CASES["llama-lora"]
    trace = _traced(case.request, with_rank=True)
    asked = replace(case.request, method=MethodChoice(kind="lora", lora_rank=rank))
    full = _recorded(asked, 8, 512)
    assert trace.rank is None
    assert _peak_bytes(trace, batch=8, length=512, rank=rank) == pytest.approx(full.peak_bytes(), rel=1e-3)
    flops = sum(op.count * evaluate(op.flops, batch=8, length=512, rank=rank) for op in trace.ops)
    assert flops == pytest.approx(full.flops.sum(), rel=1e-3)
    assert evaluate(trace.weights_bytes, batch=8, length=512, rank=rank) == full.weights_bytes


@pytest.mark.parametrize("name", ["llama-lora-mixed", "bert-mixed", "resnet"])
def test_a_kept_model_records_what_a_new_one_does(name: str) -> None:
    from tasks.tracing import remembered, reuse

    case = _CASES[name]
    again = [_recorded(case.request, 4, case.length) for _ in range(2)][-1]
    reuse._kept.clear()
    remembered.forget()
    new = _recorded(case.request, 4, case.length)
    assert again.names == new.names
    assert (again.live_bytes == new.live_bytes).all()
    assert (again.flops == new.flops).all()
    assert (again.moved_bytes == new.moved_bytes).all()
    assert again.optimizer_state_bytes == new.optimizer_state_bytes
