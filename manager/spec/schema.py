"""The published form of the run file: which keys exist, what they may hold, and how they become a RunSpec."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from manager.spec.model import (
    CONFIDENCES,
    SPEC_VERSION,
    Budget,
    RunSpec,
    Storage,
    Where,
    accelerator_wish,
    is_plain_name,
    is_secret_name,
)
from tasks.job import DataChoice, MethodChoice, ModelChoice, TargetChoice, TrainingChoice
from tasks.kinds import DATA_COLUMNS, TASK_KINDS, UNBOUNDED
from tasks.stores.errors import StoreError
from tasks.stores.opening import check_uri

Task = Literal[
    "text-classification",
    "causal-lm",
    "seq2seq-lm",
    "image-classification",
    "audio-classification",
    "speech-ctc",
    "speech-seq2seq",
    "image-text-to-text",
]
Method = Literal["full", "lora", "qlora", "frozen", "gradual"]
Precision = Literal["auto", "fp32", "bf16-mixed", "fp16-mixed", "bf16"]
Sharding = Literal["auto", "ddp", "fsdp"]
Optimizer = Literal["adamw", "adamw-foreach", "adamw-loop", "adamw-8bit", "adafactor", "sgd", "sgd-momentum"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
Loss = Literal["plain", "chunked"]
Schedule = Literal["linear", "cosine", "constant"]
Metric = Literal[
    "accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "f1_weighted",
    "roc_auc",
    "perplexity",
    "token_accuracy",
]
Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]

IMAGE = r"^[A-Za-z0-9][A-Za-z0-9_./:@+-]*$"
DOCKER = "docker:"
"""Images that every cloud can run; other ids are of one cloud."""
_REMOTE = ("s3://", "gs://")
_DATA_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".npz")


class _Part(BaseModel):
    # Strict: `true` is no number and 3.5 no count.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelPart(_Part):
    source: Text
    revision: Text | None = None


class DataPart(_Part):
    source: Text
    text: Text = "text"
    text_pair: Text | None = None
    label: Text = "label"
    prompt: Text | None = None
    completion: Text | None = None
    messages: Text | None = None
    source_text: Text | None = None
    target_text: Text | None = None
    image: Text | None = None
    audio: Text | None = None
    transcript: Text | None = None
    train_split: Text | None = None
    validation: Share | Text = 0.1
    test: Share | Text = 0.1
    revision: Text | None = None

    @model_validator(mode="after")
    def _leaves_training_data(self) -> Self:
        held_out = sum(part for part in (self.validation, self.test) if isinstance(part, float))
        if held_out >= 1:
            raise ValueError("validation and test together leave nothing to train on; their sum must stay under 1")
        return self

    @model_validator(mode="after")
    def _prompts_have_completions(self) -> Self:
        if (self.prompt is None) != (self.completion is None):
            raise ValueError("prompt and completion are columns that go together; name both or neither")
        if self.messages is not None and self.prompt is not None:
            raise ValueError("messages hold prompt and answer; name either messages, or prompt and completion")
        return self

    @model_validator(mode="after")
    def _no_split_serves_twice(self) -> Self:
        names = [part for part in (self.train_split, self.validation, self.test) if isinstance(part, str)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"train_split, validation and test must be different splits; {twice[0]!r} is named more than once"
            )
        return self


class MethodPart(_Part):
    kind: Method = "full"
    rank: Annotated[int, Field(ge=1, le=4096)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: Text | list[Text] = "all-linear"
    unfreeze_layers: Annotated[int, Field(ge=1)] = 1
    unfreeze_every_steps: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _unfreezing_is_gradual(self) -> Self:
        unused = sorted({"unfreeze_layers", "unfreeze_every_steps"} & self.model_fields_set)
        if unused and self.kind != "gradual":
            raise ValueError(f"{unused[0]} is for the method gradual; {self.kind} unfreezes nothing on the way")
        return self


class TrainingPart(_Part):
    epochs: Annotated[float, Field(gt=0, le=10_000)] = 3.0
    max_steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 32
    micro_batch: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    learning_rate: Annotated[float, Field(gt=0, lt=10)] = 5e-5
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.06
    schedule: Schedule = "linear"
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    max_length: Annotated[int, Field(ge=4)] = 256
    packing: bool = False
    image_size: Annotated[int, Field(ge=16, le=4096)] | None = None
    precision: Precision = "fp32"
    optimizer: Optimizer = "adamw"
    attention: Attention = "auto"
    loss: Loss = "plain"
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    sharding: Sharding = "auto"
    eval_every_steps: Annotated[int, Field(ge=1)] | None = None
    log_every_steps: Annotated[int, Field(ge=1)] = 10
    checkpoint_every_steps: Annotated[int, Field(ge=1)] | None = None
    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    early_stopping_patience: Annotated[int, Field(ge=1)] | None = None
    early_stopping_min_delta: Annotated[float, Field(ge=0)] = 0.0
    metric: Metric | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _micro_batch_within_batch(self) -> Self:
        if isinstance(self.micro_batch, int) and self.micro_batch > self.batch_size:
            raise ValueError(f"micro_batch {self.micro_batch} is larger than batch_size {self.batch_size}")
        return self

    @field_validator("precision", mode="before")
    @classmethod
    def _weights_in_fp16_lose_updates(cls, value: object) -> object:
        if value == "fp16":
            raise ValueError(
                "fp16 is not trained: weights in float16 lose small updates; fp16-mixed keeps them in float32"
            )
        return value

    @model_validator(mode="after")
    def _flash_attention_in_16_bits(self) -> Self:
        if self.attention == "flash_attention_2" and self.precision == "fp32":
            raise ValueError(
                "attention flash_attention_2 computes in 16 bits; set precision to bf16-mixed or attention to auto"
            )
        return self


class BudgetPart(_Part):
    max_usd: Annotated[Decimal, Field(gt=0, strict=False)] | None = None
    deadline_hours: Annotated[float, Field(gt=0)] | None = None
    confidence: float = 0.5
    requote: Literal["ask", "abort", "continue"] = "ask"
    requote_above: Annotated[float, Field(ge=0, le=100)] = 0.25

    @field_validator("confidence")
    @classmethod
    def _an_end_of_the_interval(cls, confidence: float) -> float:
        if confidence not in CONFIDENCES:
            raise ValueError("0.5 compares expected figures with the limits, 0.9 the high ends of their intervals")
        return confidence


class WherePart(_Part):
    clouds: list[Text] = []
    regions: list[Text] = []
    accelerators: list[Text] = []
    spot: bool = False
    max_nodes: Annotated[int, Field(ge=1, le=64)] = 1
    on_paper: bool = False
    image: Annotated[str, Field(pattern=IMAGE)] | None = None

    @field_validator("accelerators")
    @classmethod
    def _names_with_numbers(cls, accelerators: list[str]) -> list[str]:
        for text in accelerators:
            accelerator_wish(text)
        return accelerators

    @model_validator(mode="after")
    def _image_of_one_cloud(self) -> Self:
        if self.image is not None and not self.image.startswith(DOCKER) and len(self.clouds) != 1:
            raise ValueError(f"the image {self.image!r} belongs to one cloud: name it in where.clouds, or use {DOCKER}")
        return self


class StoragePart(_Part):
    bucket: Text | None = None
    keep: Literal["both", "home", "bucket"] = "both"

    @field_validator("bucket")
    @classmethod
    def _is_a_store(cls, bucket: str | None) -> str | None:
        try:
            if bucket is not None:
                check_uri(bucket)
        except StoreError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        return bucket


class TargetPart(_Part):
    metric: Metric
    value: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _within_the_metric(self) -> Self:
        if self.metric not in UNBOUNDED and self.value > 1:
            raise ValueError(f"{self.metric} is a share: its target lies between 0 and 1, not at {self.value:g}")
        return self


class RunFile(_Part):
    """The whole file."""

    schema_: Annotated[int, Field(alias="schema", ge=1, le=SPEC_VERSION)]
    name: Text = "run"
    task: Task = "text-classification"
    model: ModelPart
    data: DataPart
    method: MethodPart = MethodPart()
    training: TrainingPart = TrainingPart()
    budget: BudgetPart = BudgetPart()
    where: WherePart = WherePart()
    target: TargetPart | None = None
    project: Text | None = None
    secrets: list[Text] = []
    storage: StoragePart = StoragePart()

    @field_validator("model", "data", mode="before")
    @classmethod
    def _source_alone(cls, value: object) -> object:
        return {"source": value} if isinstance(value, str) else value

    @field_validator("method", mode="before")
    @classmethod
    def _kind_alone(cls, value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not is_plain_name(value):
            raise ValueError(f"{value!r} is no name: use 1 to 40 of a-z, 0-9 and - (it becomes part of machine names)")
        return value

    @field_validator("project")
    @classmethod
    def _plain_project(cls, value: str | None) -> str | None:
        if value is not None and not is_plain_name(value):
            raise ValueError(f"{value!r} is no project: use 1 to 40 of a-z, 0-9 and -")
        return value

    @field_validator("secrets")
    @classmethod
    def _names_of_variables(cls, secrets: list[str]) -> list[str]:
        # The text is not repeated: who puts a value here instead of a name must not find it in a log.
        if not all(map(is_secret_name, secrets)):
            raise ValueError("write names of environment variables, such as HF_TOKEN: A-Z, 0-9 and _, never a value")
        return list(dict.fromkeys(secrets))

    @field_validator("data")
    @classmethod
    def _columns_of_the_task(cls, data: DataPart, info: ValidationInfo) -> DataPart:
        kind = TASK_KINDS.get(info.data.get("task", ""))
        unused = [name for name in DATA_COLUMNS if name in data.model_fields_set and kind and name not in kind.columns]
        if kind and unused:
            columns = ", ".join(kind.columns)
            raise ValueError(f"{unused[0]} is no column of {kind.name}, whose columns are {columns}")
        return data

    @field_validator("training")
    @classmethod
    def _training_of_the_task(cls, training: TrainingPart, info: ValidationInfo) -> TrainingPart:
        kind = TASK_KINDS.get(info.data.get("task", ""))
        if kind is None:
            return training
        if training.packing and kind.name != "causal-lm":
            raise ValueError(f"packing is for causal-lm; samples of {kind.name} stay apart")
        if training.loss == "chunked" and kind.name != "causal-lm":
            raise ValueError(f"loss chunked is for causal-lm; {kind.name} has the plain one")
        if training.image_size is not None and kind.samples != "images":
            raise ValueError(f"image_size is for images; {kind.name} has none")
        if training.metric is not None and training.metric not in kind.metrics:
            raise ValueError(f"{training.metric} is no metric of {kind.name}, which has {', '.join(kind.metrics)}")
        return training

    @field_validator("target")
    @classmethod
    def _target_of_the_task(cls, target: TargetPart | None, info: ValidationInfo) -> TargetPart | None:
        kind = TASK_KINDS.get(info.data.get("task", ""))
        if kind is not None and target is not None and target.metric not in kind.metrics:
            raise ValueError(f"{target.metric} is no metric of {kind.name}, which has {', '.join(kind.metrics)}")
        return target

    def to_spec(self, folder: Path) -> RunSpec:
        """The RunSpec; local sources become absolute paths, starting from `folder`."""
        training = self.training.model_dump()
        training["metric"] = self.training.metric or TASK_KINDS[self.task].default_metric
        training["micro_batch"] = None if self.training.micro_batch == "auto" else self.training.micro_batch
        checkpointing = self.training.gradient_checkpointing
        training["gradient_checkpointing"] = None if checkpointing == "auto" else checkpointing
        method = self.method
        return RunSpec(
            name=self.name,
            task=self.task,
            model=ModelChoice(source=_absolute(self.model.source, folder), revision=self.model.revision),
            data=DataChoice(**{**self.data.model_dump(), "source": _absolute(self.data.source, folder)}),
            method=MethodChoice(
                kind=method.kind,
                lora_rank=method.rank,
                lora_alpha=method.alpha,
                lora_dropout=method.dropout,
                lora_targets=method.targets,
                unfreeze_layers=method.unfreeze_layers,
                unfreeze_every_steps=method.unfreeze_every_steps,
            ),
            training=TrainingChoice(**training),
            budget=Budget(**self.budget.model_dump()),
            where=Where(
                **{
                    **self.where.model_dump(),
                    "clouds": tuple(cloud.lower() for cloud in self.where.clouds),
                    "regions": tuple(self.where.regions),
                    "accelerators": tuple(self.where.accelerators),
                }
            ),
            target=None if self.target is None else TargetChoice(**self.target.model_dump()),
            project=self.project,
            secrets=tuple(self.secrets),
            storage=Storage(**self.storage.model_dump()),
        )


_PARTS: dict[str, type[BaseModel]] = {
    "model": ModelPart,
    "data": DataPart,
    "method": MethodPart,
    "training": TrainingPart,
    "budget": BudgetPart,
    "where": WherePart,
    "target": TargetPart,
    "storage": StoragePart,
}


def allowed_keys(path: tuple[int | str, ...]) -> list[str]:
    """Keys that may stand in the part of the file at `path`."""
    part: type[BaseModel] = _PARTS.get(str(path[-1]), RunFile) if path else RunFile
    return [field.alias or name for name, field in part.model_fields.items()]


def _absolute(source: str, folder: Path) -> str:
    """A local file or folder as an absolute path; hub ids and URIs as they are."""
    if source.startswith(_REMOTE):
        return source
    path = Path(source).expanduser()
    looks_local = source.startswith(("./", "../", "/", "~")) or path.suffix.lower() in _DATA_SUFFIXES
    return str((folder / path).resolve()) if looks_local or (folder / path).exists() else source
