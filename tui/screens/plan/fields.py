"""Which keys of the run file the form shows, in which order, with which words; for which task and method each is.

What a key may hold is asked of the schema, not told here.
"""

from __future__ import annotations

from dataclasses import dataclass

_ADAPTERS = ("lora", "qlora")
_TOKENS = ("text-classification", "causal-lm", "seq2seq-lm", "speech-seq2seq", "image-text-to-text")
_IMAGES = ("image-classification", "image-text-to-text")
_LABELS = ("text-classification", "image-classification", "audio-classification")
_AUDIO = ("audio-classification", "speech-ctc", "speech-seq2seq")

MODEL, DATA, TASK, METHOD = "model.source", "data.source", "task", "method.kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldKind:
    """One line of the form."""

    key: str
    """Dotted key of the run file."""
    label: str
    hint: str = ""
    """Shown in the empty field, after what holds by default."""
    words: tuple[tuple[str, str], ...] = ()
    """What to call the choices, value to words; those of the schema that are not here are called as they are."""
    choices: tuple[str, ...] | None = None
    """The values to choose among, where the schema does not list them."""
    is_choice: bool = False
    """Chosen from a list, not typed."""
    tasks: tuple[str, ...] = ()
    """Only for these tasks; empty: for all."""
    methods: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Id of its widget."""
        return "field-" + self.key.replace(".", "-").replace("_", "-")

    def is_for(self, task: str, method: str) -> bool:
        """Whether the choice of task and method leaves a use for it."""
        return (not self.tasks or task in self.tasks) and (not self.methods or method in self.methods)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Fields under one heading."""

    title: str
    fields: tuple[FieldKind, ...]


SECTIONS = (
    Section(
        title="Job",
        fields=(
            FieldKind(key=MODEL, label="model", hint="hub id or folder; Enter searches"),
            FieldKind(key=DATA, label="data", hint="file, folder, hub id, URI; Enter shows it"),
            FieldKind(key=TASK, label="task", is_choice=True),
            FieldKind(key="data.text", label="text column", tasks=("text-classification", "causal-lm")),
            FieldKind(key="data.label", label="label column", tasks=_LABELS),
            FieldKind(key="data.source_text", label="source column", hint="source", tasks=("seq2seq-lm",)),
            FieldKind(key="data.target_text", label="target column", hint="target", tasks=("seq2seq-lm",)),
            FieldKind(key="data.image", label="image column", hint="image", tasks=_IMAGES),
            FieldKind(key="data.audio", label="audio column", hint="audio, path or file_name", tasks=_AUDIO),
            FieldKind(key="name", label="name"),
            FieldKind(key="project", label="project", hint="whose budget pays"),
        ),
    ),
    Section(
        title="Method",
        fields=(
            FieldKind(key=METHOD, label="method", is_choice=True),
            FieldKind(key="method.rank", label="rank", methods=_ADAPTERS),
            FieldKind(key="method.alpha", label="alpha", methods=_ADAPTERS),
            FieldKind(key="method.dropout", label="dropout", methods=_ADAPTERS),
            FieldKind(key="method.targets", label="targets", methods=_ADAPTERS),
            FieldKind(key="method.unfreeze_layers", label="layers a time", methods=("gradual",)),
        ),
    ),
    Section(
        title="Training",
        fields=(
            FieldKind(key="training.epochs", label="epochs"),
            FieldKind(key="training.batch_size", label="batch size", hint="samples per optimizer step"),
            FieldKind(key="training.micro_batch", label="micro-batch", hint="the largest that fits"),
            FieldKind(key="training.max_length", label="max length", hint="tokens", tasks=_TOKENS),
            FieldKind(key="training.image_size", label="image size", hint="pixels; the model's own", tasks=_IMAGES),
            FieldKind(
                key="training.packing",
                label="packing",
                is_choice=True,
                choices=("false", "true"),
                words=(("false", "no"), ("true", "yes")),
                tasks=("causal-lm",),
            ),
            FieldKind(key="training.learning_rate", label="learning rate"),
            FieldKind(key="training.optimizer", label="optimizer", is_choice=True),
            FieldKind(
                key="training.precision",
                label="precision",
                is_choice=True,
                words=(
                    ("auto", "auto: the planner's choice"),
                    ("fp32", "fp32"),
                    ("bf16-mixed", "bf16-mixed: fp32 weights"),
                    ("fp16-mixed", "fp16-mixed: fp32 weights"),
                    ("bf16", "bf16: all in 16 bits"),
                ),
            ),
            FieldKind(
                key="training.gradient_checkpointing",
                label="checkpointing",
                is_choice=True,
                choices=("auto", "true", "false"),
                words=(("auto", "auto: where it is needed"), ("true", "yes"), ("false", "no")),
            ),
            FieldKind(key="training.sharding", label="sharding", is_choice=True),
        ),
    ),
    Section(
        title="Limits",
        fields=(
            FieldKind(key="budget.max_usd", label="budget $", hint="cap on the whole run; none"),
            FieldKind(key="budget.deadline_hours", label="deadline h", hint="from launch to the end; none"),
            FieldKind(
                key="budget.confidence",
                label="confidence",
                is_choice=True,
                choices=("0.5", "0.9"),
                words=(("0.5", "0.5: expected figures"), ("0.9", "0.9: high ends of intervals")),
            ),
            FieldKind(key="where.clouds", label="clouds", hint="all; or aws, gcp ..."),
            FieldKind(key="where.regions", label="regions", hint="all"),
            FieldKind(key="where.accelerators", label="accelerators", hint="all; or L4, A100:8 ..."),
            FieldKind(
                key="where.spot",
                label="spot",
                is_choice=True,
                choices=("false", "true"),
                words=(("false", "no: on demand"), ("true", "yes: may be preempted")),
            ),
            FieldKind(key="where.max_nodes", label="nodes", hint="most that share the job"),
        ),
    ),
)
FIELDS = {field.key: field for section in SECTIONS for field in section.fields}
