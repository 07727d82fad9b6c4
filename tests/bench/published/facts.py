"""Facts: what single frameworks do that their rows do not say, each with where it can be read.

Owns small overrides, tried in order; a fact is about code that anyone can look up, never a factor that makes a source
fit. A row of a framework that is not here is taken as plain transformers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.bench.published.rows import Row
from tests.bench.published.words import has


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What differs from a plain loop around a transformers model."""

    fused: bool = False
    """Whether kernels of the step are fused (compiled, Liger, Unsloth, TE): memory of the eager step is an upper bound
    and is not predicted; time uses the constants of fused software."""
    kernels: str = ""
    """Name of the fused kernels, for the reason."""
    software: str = ""
    """Constants of time by name, where neither eager nor fused."""
    upcast_logits: bool = True
    old_losses: bool = False
    """Whether transformers is older than 4.46, which made all language models upcast logits."""
    adapter_precision: str = "same"
    lora_dropout: float = 0.05
    attention: str | None = None
    """Instead of what the row says."""
    optimizer: str | None = None
    checkpointing: bool | None = None
    """Where the row does not say."""
    padded: bool | None = None
    untied: bool = False
    """Whether the head has weights of its own though the published model ties it."""
    deviations: tuple[str, ...] = ()
    """Names from DEVIATIONS of the trace request."""
    fused_qkv: bool = False
    """Whether query, key and value come from one layer, so that what is saved of one keeps all three."""
    unknown_4bit: bool = False
    """Whether its quantized layers keep more than bitsandbytes' own do, for reasons that are not known."""
    has_fsdp1: bool = False
    """Whether it shards with torch's first FSDP: one flat parameter per layer, so that a trainable part makes all of it
    need gradients, which stay whole while micro-batches accumulate, and buffers on streams of their own
    (torch.distributed.fsdp.FullyShardedDataParallel, notes on use_orig_params and no_sync)."""
    is_litgpt: bool = False
    """Whether the step is litgpt's own, see `litgpt_step`."""
    half_weights: bool = False
    """Whether layers run in half precision where the row says mixed: apex's O2 and `model.half()` cast the model once,
    autocast casts around each product; masters in float32 stay with the optimizer."""
    scores_masked_alone: bool = False
    """Whether a masked language model's head sees the masked words alone, some 15 % of all: it is then left out, with
    1.4 % of the products of a large BERT, where the whole head takes 9.4 %."""
    keeps_gradients: bool = False
    """Whether gradients are set to zero and not freed between steps, as torch did by default before 2.0
    (torch.nn.Module.zero_grad, set_to_none)."""
    counts_driver_memory: bool = False
    """Whether the figure is NVML's first kind of `used`, which counts what the driver keeps for itself."""
    prefetches: bool = False
    """Whether the next batch of images waits on the device, as bytes and as float32 (timm/data/loader.py)."""
    activation: str | None = None
    """Of the model's feed-forward layers, where the framework computes it by another kernel."""
    sources: tuple[str, ...] = ()


def facts_of(row: Row) -> Facts:
    """Overrides for one row; who published it counts only where the framework is not named, a compiler's name not where
    the row is the one without it."""
    named = row.text("framework") or row.text("source")
    if has(r"^eager\b", row.text("compile")):
        named = named.replace("thunder", "")
    framework = " ".join((named, row.text("compile"), row.text("attention")))
    if has(r"nvidia dle|deeplearningexamples", framework) and has(r"\bbert\b", row.text("model")):
        return _NVIDIA_BERT_PRETRAINING if has(r"pre-?train", row.text("task")) else _NVIDIA_BERT
    if has(r"milabench", framework) and has(r"^timm ", row.text("model")):
        return _MILABENCH_TIMM
    if has(r"fms.*foak", framework) and has(r"bigcode|santacoder|starcoder(?!2)", row.text("model")):
        return _FMS_BIGCODE_4BIT if has("peft-bnb", framework) else _FMS_BIGCODE
    for pattern, facts in _RULES:
        if has(pattern, framework):
            return facts
    if has(r"\btrl\b|sfttrainer", framework) and has("qlora", row.text("method")) and row.devices == 1:
        return _TRL_4BIT
    if row.text("compile") and not has(r"^(no|none|false|eager|off|0)", row.text("compile")):
        return Facts(fused=True, kernels="torch.compile")
    return Facts()


_LITGPT = Facts(
    activation="gelu_pytorch_tanh",
    deviations=("head-in-4bit",),
    # Fabric converts the outputs of the module to float32 (lightning/fabric/plugins/precision/half.py, convert_output).
    upcast_logits=True,
    untied=True,
    padded=False,
    has_fsdp1=True,
    fused_qkv=True,
    unknown_4bit=True,
    is_litgpt=True,
    sources=(
        "litgpt/finetune/lora.py: logits in chunks of 128 tokens, kept until the loss",
        "litgpt/model.py: lm_head has weights of its own; GptNeoxMLP calls functional.gelu",
        "lightning/fabric/plugins/precision/bitsandbytes.py: every linear layer is quantized, the head too",
    ),
)
_OLD_LITGPT = replace(_LITGPT, unknown_4bit=False, deviations=("head-in-4bit", "inputs-of-4bit-kept"))
"""With bitsandbytes 0.41, whose MatMul4Bit saves its input (bitsandbytes/autograd/_functions.py)."""
_FMS = Facts(
    has_fsdp1=True,
    old_losses=True,
    adapter_precision="fp32",
    deviations=("logits-copied", "cache-kept"),
    sources=(
        "fms-acceleration scripts/benchmarks/refs/requirements.txt: transformers 4.45.2, peft 0.13.2, trl 0.11.4",
        "peft/tuners/tuners_utils.py: adapters in float32 over weights in 2 bytes (autocast_adapter_dtype)",
        "transformers 4.45 modeling_gpt_bigcode.py: the loss of logits as they are; a cache under checkpointing",
    ),
)
_FMS_4BIT = replace(
    _FMS,
    deviations=(*_FMS.deviations, "half-weights-in-autocast"),
    sources=(
        *_FMS.sources,
        "scripts/benchmarks/scenarios.yaml: bf16: True and torch_dtype: bfloat16 for layers in 4 bits",
        "fms_acceleration_peft/framework_plugin_bnb.py: tensors around layers in 4 bits keep their type",
    ),
)
_FMS_TRL_4BIT = replace(
    _FMS_4BIT,
    deviations=(*_FMS_4BIT.deviations, "norms-in-float32"),
    sources=(
        *_FMS_4BIT.sources[:-1],
        "trl/trainer/sft_trainer.py: prepare_model_for_kbit_training, then peft_module_casting_to_bf16",
    ),
)
_ONLY_LOSS_IS_FUSED = "fms_acceleration_foak/models/gpt_bigcode.py: cross-entropy is replaced and nothing else"
_FMS_BIGCODE = replace(
    _FMS,
    fused=True,
    kernels="a fused cross-entropy",
    software="eager",
    sources=(*_FMS.sources, _ONLY_LOSS_IS_FUSED),
)
_FMS_BIGCODE_4BIT = replace(
    _FMS_4BIT,
    fused=True,
    kernels="a fused cross-entropy",
    software="eager",
    sources=(*_FMS_4BIT.sources, _ONLY_LOSS_IS_FUSED),
)
_TRL_4BIT = Facts(
    adapter_precision="fp32",
    deviations=("half-weights-in-autocast", "norms-in-float32"),
    sources=(
        "trl/trainer/sft_trainer.py 0.12: prepare_model_for_kbit_training, then peft_module_casting_to_bf16 unless "
        "weights are sharded",
        "peft/tuners/tuners_utils.py: adapters in float32 over weights in 2 bytes (autocast_adapter_dtype)",
    ),
)
_MILABENCH = Facts(
    # Models compute their loss under autocast, and what they return stays in float16.
    upcast_logits=False,
    deviations=("outputs-kept", "weights-not-decayed"),
    counts_driver_memory=True,
    sources=(
        "milabench benchmarks/huggingface/bench/__main__.py: out = self.model(**data); loss = out.loss",
        "milabench benchmarks/torchvision/main.py: torch.optim.SGD(model.parameters(), args.lr)",
        "voir/instruments/gpus/nvidia.py: nvmlDeviceGetMemoryInfo without a version",
    ),
)
_MILABENCH_TIMM = replace(
    _MILABENCH,
    optimizer="sgd-momentum",
    prefetches=True,
    deviations=("outputs-kept",),
    sources=(
        "milabench benchmarks/timm/benchfile.py: pytorch-image-models/train.py, whose --momentum is 0.9",
        _MILABENCH.sources[-1],
    ),
)
_NVIDIA_BERT = Facts(
    half_weights=True,
    attention="eager",
    sources=(
        "NVIDIA/DeepLearningExamples PyTorch/LanguageModeling/BERT/modeling.py: BertSelfAttention multiplies, masks, "
        "takes the softmax and drops out by itself",
        "run_squad.py: amp.initialize(opt_level='O2'); run_pretraining.py: the same, later model.half()",
    ),
)
_NVIDIA_BERT_PRETRAINING = replace(
    _NVIDIA_BERT,
    fused=True,
    kernels="TorchScript",
    scores_masked_alone=True,
    sources=(
        *_NVIDIA_BERT.sources,
        "run_pretraining.py: torch.jit.script(model); --no_dense_sequence_output is off by default",
    ),
)
_RULES: tuple[tuple[str, Facts], ...] = (
    (r"thunder", Facts(fused=True, kernels="Thunder")),
    (r"unsloth", Facts(fused=True, kernels="Unsloth")),
    (r"lit-?gpt.*(bnb|bitsandbytes) 0\.(3|40|41|42)", _OLD_LITGPT),
    (r"lit-?gpt", _LITGPT),
    (r"milabench", _MILABENCH),
    (r"composer|llm-foundry", Facts(fused=True, kernels="llm-foundry's Triton attention", software="fused-2023")),
    (r"liger", Facts(fused=True, kernels="Liger")),
    (r"foak|fast[- ]kernels", Facts(fused=True, kernels="fused ops and kernels")),
    (r"scattermoe|megablocks", Facts(fused=True, kernels="ScatterMoE")),
    (r"\bte\b|transformer engine|nemo|megatron", Facts(fused=True, kernels="Transformer Engine")),
    (r"maxtext|maxdiffusion|torch[_-]xla|tpu|jax|flax", Facts(fused=True, kernels="XLA")),
    (r"optimum-habana|gaudi", Facts(fused=True, kernels="the graph compiler of Gaudi")),
    (r"fms.*baseline-peft-bnb", _FMS_TRL_4BIT),
    (r"fms.*accelerated-peft-bnb", _FMS_4BIT),
    (r"fms", _FMS),
    (r"apex", Facts(optimizer="adamw")),
    (r"torch ~?1\.(\d|10|1x)\b", Facts(deviations=("softmax-inputs-kept",), keeps_gradients=True)),
    (r"torch ~?1\.1[1-3]\b", Facts(keeps_gradients=True)),
    (r"nvml", Facts(counts_driver_memory=True)),
)
