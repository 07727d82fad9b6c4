"""Which keys of the run file the form shows, in which order, with which words.

What a key may hold, and for which task and method it is, is asked of `manager.spec.keys`.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def id(self) -> str:
        """Id of its widget."""
        return "field-" + self.key.replace(".", "-").replace("_", "-")


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
            FieldKind(key="data.text", label="text column"),
            FieldKind(key="data.label", label="label column"),
            FieldKind(key="data.source_text", label="source column", hint="source"),
            FieldKind(key="data.target_text", label="target column", hint="target"),
            FieldKind(key="data.image", label="image column", hint="image"),
            FieldKind(key="data.audio", label="audio column", hint="audio, path or file_name"),
            FieldKind(key="name", label="name"),
            FieldKind(key="project", label="project", hint="whose budget pays"),
        ),
    ),
    Section(
        title="Method",
        fields=(
            FieldKind(key=METHOD, label="method", is_choice=True),
            FieldKind(key="method.rank", label="rank"),
            FieldKind(key="method.alpha", label="alpha"),
            FieldKind(key="method.dropout", label="dropout"),
            FieldKind(key="method.targets", label="targets"),
            FieldKind(key="method.unfreeze_layers", label="layers a time"),
        ),
    ),
    Section(
        title="Training",
        fields=(
            FieldKind(key="training.epochs", label="epochs"),
            FieldKind(key="training.batch_size", label="batch size", hint="samples per optimizer step"),
            FieldKind(key="training.micro_batch", label="micro-batch", hint="the largest that fits"),
            FieldKind(key="training.max_length", label="max length", hint="tokens"),
            FieldKind(key="training.image_size", label="image size", hint="pixels; the model's own"),
            FieldKind(
                key="training.packing",
                label="packing",
                is_choice=True,
                choices=("false", "true"),
                words=(("false", "no"), ("true", "yes")),
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
