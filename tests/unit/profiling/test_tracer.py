"""Choice among shipped traces, the cache and the worker; the worker is replaced where tracing is not the subject."""

from __future__ import annotations

import json
import lzma
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manager.errors import DataError
from manager.profiling import archive, tracer
from manager.profiling.adapt import OTHER_BLOCKS, at_rank, in_float16
from manager.profiling.archive import is_shippable, member_name, pack_member, shipped_key, shipped_trace, unpack_header
from manager.profiling.trace_key import config_key, trace_key
from manager.profiling.trace_worker import TraceWorker
from manager.profiling.tracer import find_trace, trace_for
from tasks.job import MethodChoice
from tasks.protocol import ProtocolError
from tasks.step_trace import MemoryPoint, OpGroup, StepTrace, TensorSums, TraceRequest, evaluate
from tasks.step_trace_codec import trace_to_json

_CONFIG: dict[str, Any] = {"model_type": "bert", "hidden_size": 768}
_REQUEST = TraceRequest(
    config=_CONFIG,
    task="text-classification",
    method=MethodChoice(kind="lora", lora_rank=8),
    precision="bf16-mixed",
)
_WIDTH = 768
_RANK_PARAMETERS = 1000
"""Parameters of the adapters for each rank."""


def _trace(**changes: Any) -> StepTrace:
    """A trace as the archive has it: rank in the polynomials, sums at rank 16, two labels, float32 weights."""
    learned = 16 * _RANK_PARAMETERS + 2 * (_WIDTH + 1)
    trace = StepTrace(
        model_type="bert",
        task="text-classification",
        method="lora",
        precision="bf16-mixed",
        optimizer="adamw",
        gradient_checkpointing=False,
        attention="efficient 12",
        loss="plain",
        padded=True,
        rank=None,
        layers=12,
        parameters=1_000_000 + learned,
        trainable_parameters=learned,
        weights_bytes={"1": 4e6 + 4 * 2 * (_WIDTH + 1), "R": 4.0 * _RANK_PARAMETERS},
        optimizer_state_bytes={"1": 8.0 * 2 * (_WIDTH + 1), "R": 8.0 * _RANK_PARAMETERS},
        trainable=TensorSums(
            tensors=50,
            elements=learned,
            bytes=4 * learned,
            largest_elements=12_288,
            elements_large=16_000,
            blocks_large=63,
            factored_elements=learned - 2,
            factor_elements=3000,
            matrix_elements=learned - 2,
        ),
        memory=(
            MemoryPoint(phase="forward", lines={"activations": {"BS": 100.0, "BSR": 2.0}}),
            MemoryPoint(phase="backward", lines={"gradients": {"1": 6152.0, "R": 4000.0}, "activations": {"BS": 90.0}}),
        ),
        ops=(
            OpGroup(
                phase="forward",
                kind="matmul",
                dtype="bfloat16",
                count=12,
                flops={"BS": 1e6, "BSR": 3000.0},
                bytes={"1": 2e6, "BS": 4.0, "R": 8.0},
            ),
        ),
    )
    return replace(trace, **changes)


_PER_LABEL = {"text-classification": {"elements": _WIDTH + 1, "width": _WIDTH}}


class _Worker(TraceWorker):
    """Stands in for the process; counts its calls."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.asked: list[TraceRequest] = []
        self._answer = answer or trace_to_json(_trace(rank=8))

    def ask(self, request: TraceRequest, *, with_rank: bool = False, timeout_s: float) -> dict[str, Any]:
        self.asked.append(request)
        return self._answer


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive with one member."""
    folder = tmp_path / "traces"
    folder.mkdir()
    header = {"models": ["org/bert"], "longest": None, "per_label": _PER_LABEL}
    keys = {shipped_key(_REQUEST): trace_to_json(_trace())}
    (folder / member_name(_CONFIG)).write_bytes(pack_member(header, keys))
    monkeypatch.setattr(archive, "traces_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for installed."""
    monkeypatch.setattr(tracer, "worker_can_run", lambda: True)


def test_a_shipped_trace_is_brought_to_the_rank(shipped: Path, tmp_path: Path) -> None:
    worker = _Worker()
    trace = trace_for(_REQUEST, cache_dir=tmp_path / "cache", timeout_s=5, worker=worker)
    assert not worker.asked
    assert trace.rank == 8
    assert trace.trainable_parameters == 8 * _RANK_PARAMETERS + 2 * (_WIDTH + 1)
    assert trace.parameters - trace.trainable_parameters == 1_000_000
    assert trace.memory[0].lines["activations"] == {"BS": 116.0}
    assert trace.ops[0].flops == {"BS": 1e6 + 24_000}
    assert evaluate(trace.weights_bytes, batch=1, length=1) == 4e6 + 4 * trace.trainable_parameters
    assert evaluate(trace.optimizer_state_bytes, batch=1, length=1) == 8 * trace.trainable_parameters


def test_the_same_question_has_the_same_trace_and_another_member_another(shipped: Path) -> None:
    trace = shipped_trace(_REQUEST)
    assert trace is not None
    assert shipped_trace(replace(_REQUEST)) is trace
    assert shipped_trace(replace(_REQUEST, num_labels=_REQUEST.num_labels + 3)) is not trace
    (shipped / member_name(_CONFIG)).write_bytes(pack_member({"models": [], "longest": None, "per_label": {}}, {}))
    assert shipped_trace(_REQUEST) is None


def test_the_heads_tensors_are_no_adapters() -> None:
    """Of 50 tensors 2 are a head of two labels; each of the others has one dimension that is the rank."""
    at_8 = at_rank(_trace(), 8)
    assert at_8.trainable.factor_elements == 3000 - 48 * 8
    without_head = _trace(trainable=replace(_trace().trainable, elements=16_000, matrix_elements=16_000, bytes=64_000))
    assert at_rank(without_head, 8).trainable.factor_elements == 3000 - 50 * 8
    # A dense layer before the scores: its vectors are more than two.
    elements = 16_000 + 768 * 769 + 2 * 769
    sums = replace(_trace().trainable, elements=elements, matrix_elements=elements - 770, bytes=4 * elements)
    assert at_rank(_trace(trainable=sums), 8).trainable.factor_elements == 3000 - 46 * 8
    # Its size does not make small adapters large: their mean is 1.4 KB at rank 16.
    assert OTHER_BLOCKS not in at_rank(_trace(trainable=sums), 10_000).notes
    assert OTHER_BLOCKS in at_rank(_trace(trainable=sums), 13_000).notes


def test_later_slices_of_a_loss_are_brought_to_rank_and_precision() -> None:
    trace = _trace(later_slices=_trace().ops)
    assert at_rank(trace, 8).later_slices == at_rank(trace, 8).ops != trace.later_slices
    assert {op.dtype for op in in_float16(trace, "fp16-mixed").later_slices} == {"float16"}


def test_adapters_in_other_blocks_are_traced_where_that_can_be(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(_Worker):
        def ask(self, request: TraceRequest, *, with_rank: bool = False, timeout_s: float) -> dict[str, Any]:
            raise DataError("took longer than 5 s")

    # The mean adapter takes 1.4 KB at rank 16, and 1.1 MB at this one.
    request = replace(_REQUEST, method=MethodChoice(kind="lora", lora_rank=13_000))
    worker = _Worker(trace_to_json(_trace(rank=13_000)))
    found = find_trace(request, cache_dir=tmp_path / "cache", timeout_s=5, worker=worker)
    assert (found.is_shipped, worker.asked) == (False, [request])
    for stands_in in (
        find_trace(request, cache_dir=tmp_path / "new", timeout_s=5, worker=Failing()),
        find_trace(request, cache_dir=tmp_path / "new", timeout_s=5, may_trace=False),
    ):
        assert stands_in.is_shipped
        assert OTHER_BLOCKS in stands_in.trace.notes
    monkeypatch.setattr(tracer, "worker_can_run", lambda: False)
    assert find_trace(request, cache_dir=tmp_path / "new", timeout_s=5).is_shipped


def test_why_the_shipped_step_stands_in_is_said_and_remembered(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(_Worker):
        def ask(self, request: TraceRequest, *, with_rank: bool = False, timeout_s: float) -> dict[str, Any]:
            super().ask(request, timeout_s=timeout_s)
            raise DataError(f"took longer than {timeout_s:g} s", hint="raise it")

    worker, now = Failing(), [1000.0]
    monkeypatch.setattr("manager.profiling.tracer.time.time", lambda: now[0])
    request = replace(_REQUEST, method=MethodChoice(kind="lora", lora_rank=13_000))

    def last_note(timeout_s: float) -> str:
        return find_trace(request, cache_dir=tmp_path, timeout_s=timeout_s, worker=worker).trace.notes[-1]

    assert last_note(5) == "the tracer failed at rank 13000: took longer than 5 s"
    assert last_note(5) == "the tracer failed at rank 13000: took longer than 5 s (not tried again for a day)"
    assert len(worker.asked) == 1
    # With more time, and after a day, it is tried again.
    assert last_note(6) == "the tracer failed at rank 13000: took longer than 6 s"
    now[0] += 25 * 3600
    assert last_note(5) == "the tracer failed at rank 13000: took longer than 5 s"
    assert len(worker.asked) == 3


def test_the_failure_of_a_step_without_which_there_is_no_plan_is_tried_again(tmp_path: Path) -> None:
    class Failing(_Worker):
        def ask(self, request: TraceRequest, *, with_rank: bool = False, timeout_s: float) -> dict[str, Any]:
            super().ask(request, timeout_s=timeout_s)
            raise DataError("too slow")

    worker, request = Failing(), replace(_REQUEST, padded=False)
    for is_optional, asked in ((False, 1), (False, 2), (True, 2)):
        with pytest.raises(DataError, match="too slow"):
            find_trace(request, cache_dir=tmp_path, timeout_s=5, worker=worker, is_optional=is_optional)
        assert len(worker.asked) == asked


def test_without_time_what_is_there_is_taken_and_nothing_traced(shipped: Path, tmp_path: Path) -> None:
    worker, unshipped = _Worker(), replace(_REQUEST, padded=False)
    assert find_trace(_REQUEST, cache_dir=tmp_path, timeout_s=0, worker=worker).is_shipped
    with pytest.raises(DataError, match="not tried, as no time was left; raise measure_timeout_s") as caught:
        find_trace(unshipped, cache_dir=tmp_path, timeout_s=0, worker=worker)
    assert caught.value.hint == "raise measure_timeout_s in the settings"
    assert not worker.asked
    # It is no failure of the tracer.
    assert not find_trace(unshipped, cache_dir=tmp_path, timeout_s=1, worker=worker, is_optional=True).is_shipped
    assert find_trace(unshipped, cache_dir=tmp_path, timeout_s=0, worker=worker).trace.rank == 8


def test_the_worker_is_announced_only_where_it_is_asked(shipped: Path, tmp_path: Path) -> None:
    told: list[str] = []
    for request in (_REQUEST, replace(_REQUEST, padded=False), replace(_REQUEST, padded=False)):
        find_trace(request, cache_dir=tmp_path, timeout_s=5, worker=_Worker(), tell=lambda: told.append("now"))
    assert told == ["now"]


def test_more_labels_widen_the_head(shipped: Path) -> None:
    two, ten = shipped_trace(_REQUEST), shipped_trace(replace(_REQUEST, num_labels=10))
    assert two is not None
    assert ten is not None
    added = 8 * (_WIDTH + 1)
    assert ten.trainable_parameters - two.trainable_parameters == added
    # The head that PEFT keeps untrained grows too.
    assert ten.parameters - two.parameters == 2 * added
    assert ten.weights_bytes["1"] - two.weights_bytes["1"] == pytest.approx(8 * added)
    assert ten.memory[1].lines["gradients"]["1"] - two.memory[1].lines["gradients"]["1"] == pytest.approx(4 * added)
    assert ten.memory[0] == two.memory[0]
    assert ten.trainable.elements_large - two.trainable.elements_large == 10 * _WIDTH


def test_float16_is_bfloat16_by_another_name(shipped: Path) -> None:
    trace = shipped_trace(replace(_REQUEST, precision="fp16-mixed"))
    assert trace is not None
    assert trace.precision == "fp16-mixed"
    assert {op.dtype for op in trace.ops} == {"float16"}


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "eager"},
        {"loss": "chunked"},
        {"padded": False},
        {"layers": 3},
        {"adapter_precision": "fp32"},
        {"method": MethodChoice(kind="lora", lora_dropout=0.0)},
        {"method": MethodChoice(kind="lora", lora_targets=["query"])},
    ],
)
def test_what_the_archive_was_not_made_for_it_does_not_answer(shipped: Path, changes: dict[str, Any]) -> None:
    request = replace(_REQUEST, **changes)
    assert not is_shippable(request)
    assert shipped_trace(request) is None


def test_any_optimizer_is_answered_with_the_shipped_one(shipped: Path) -> None:
    trace = shipped_trace(replace(_REQUEST, optimizer="sgd"))
    assert trace is not None
    assert trace.optimizer == "adamw"


_DAMAGED = (
    b"torn",
    lzma.compress(b'{"archive":1,"schema":1}\n' + shipped_key(_REQUEST).encode() + b"\t{torn"),
    pack_member({}, {shipped_key(_REQUEST): trace_to_json(_trace())}),
)
"""No archive; a line that is no JSON; a header that does not say what a label adds."""


@pytest.mark.parametrize("content", _DAMAGED)
def test_a_damaged_member_is_traced_here(shipped: Path, tmp_path: Path, content: bytes) -> None:
    (shipped / member_name(_CONFIG)).write_bytes(content)
    worker = _Worker()
    trace_for(replace(_REQUEST, num_labels=3), cache_dir=tmp_path, timeout_s=5, worker=worker)
    assert len(worker.asked) == 1


@pytest.mark.parametrize("content", _DAMAGED)
def test_a_damaged_member_without_the_libraries_is_an_error_with_a_hint(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(tracer, "worker_can_run", lambda: False)
    (shipped / member_name(_CONFIG)).write_bytes(content)
    with pytest.raises(DataError, match="shipped traces cannot be read") as caught:
        trace_for(replace(_REQUEST, num_labels=3), cache_dir=tmp_path, timeout_s=5)
    assert caught.value.hint == "install tunefare again"


def test_a_member_of_another_version_is_refused() -> None:
    with pytest.raises(ProtocolError, match="version"):
        unpack_header(pack_member({"schema": 0}, {}))


def test_a_second_call_is_answered_from_the_cache(tmp_path: Path) -> None:
    worker, request = _Worker(), replace(_REQUEST, padded=False)
    first = trace_for(request, cache_dir=tmp_path, timeout_s=5, worker=worker)
    assert trace_for(request, cache_dir=tmp_path, timeout_s=5, worker=worker) == first
    assert len(worker.asked) == 1
    trace_for(replace(request, precision="fp32"), cache_dir=tmp_path, timeout_s=5, worker=worker)
    assert len(worker.asked) == 2


def test_a_torn_cache_file_is_traced_again(tmp_path: Path) -> None:
    worker, request = _Worker(), replace(_REQUEST, padded=False)
    trace_for(request, cache_dir=tmp_path, timeout_s=5, worker=worker)
    file = next(tmp_path.glob("trace-*.json"))
    for content in ('{"schema": 1', json.dumps({"schema": 0})):
        file.write_text(content, encoding="utf-8")
        trace_for(request, cache_dir=tmp_path, timeout_s=5, worker=worker)
    assert len(worker.asked) == 3


def test_without_the_libraries_the_hint_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "worker_can_run", lambda: False)
    with pytest.raises(DataError, match="cannot be traced without torch") as caught:
        trace_for(replace(_REQUEST, padded=False), cache_dir=tmp_path, timeout_s=5, worker=_Worker())
    assert caught.value.hint is not None
    assert "tunefare[local]" in caught.value.hint
    assert "shipped" not in caught.value.hint


def test_without_the_libraries_the_hint_names_what_is_shipped(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer, "worker_can_run", lambda: False)
    with pytest.raises(DataError, match="cannot be traced without torch") as caught:
        trace_for(replace(_REQUEST, precision="fp32"), cache_dir=tmp_path, timeout_s=5, worker=_Worker())
    assert caught.value.hint is not None
    assert "precision bf16-mixed is shipped for this model: set training.precision" in caught.value.hint
    assert "tunefare[local]" in caught.value.hint


def test_keys_know_what_a_step_depends_on() -> None:
    renamed = {**_CONFIG, "_name_or_path": "x", "transformers_version": "4.1", "id2label": {"0": "a"}}
    assert config_key(renamed) == config_key(_CONFIG)
    assert config_key({**_CONFIG, "hidden_size": 769}) != config_key(_CONFIG)
    alpha = replace(_REQUEST, method=replace(_REQUEST.method, lora_alpha=99))
    rank = replace(_REQUEST, method=replace(_REQUEST.method, lora_rank=99))
    assert trace_key(alpha) == trace_key(_REQUEST)
    assert trace_key(rank) != trace_key(_REQUEST)


def test_a_tracer_that_changed_has_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = trace_key(_REQUEST)
    monkeypatch.setattr("manager.profiling.trace_key.tracer_digest", lambda: "another")
    assert trace_key(_REQUEST) != before


def test_a_plan_from_the_archive_loads_no_training_library() -> None:
    import subprocess

    code = (
        "import sys, manager.profiling.tracer\n"
        "print([n for n in ('torch', 'numpy', 'transformers', 'importlib.metadata') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


_LLAMA: dict[str, Any] = {"model_type": "llama", "hidden_size": 4096, "max_position_embeddings": 131072}


def test_a_shipped_trace_serves_no_longer_samples_than_it_was_made_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "traces_folder", lambda: tmp_path)
    request = replace(_REQUEST, config={**_LLAMA, "max_position_embeddings": 8192})
    header = {"models": ["org/llama"], "longest": 8192, "per_label": _PER_LABEL}
    content = pack_member(header, {shipped_key(request): trace_to_json(_trace())})
    (tmp_path / member_name(request.config)).write_bytes(content)
    assert shipped_trace(request) is not None
    assert shipped_trace(replace(request, config={**_LLAMA, "max_position_embeddings": 4096})) is not None
    assert shipped_trace(replace(request, config=_LLAMA)) is None
