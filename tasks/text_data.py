"""From a DataChoice to texts in three sets, for language models: text, prompt and completion, conversations, pairs.

Knows no tokenizer but for the chat template. NumPy only: the planner measures data with this code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.chat import ChatTemplate, as_messages, plain_text
from tasks.failures import TaskError
from tasks.formats import Table
from tasks.job import DataChoice
from tasks.kinds import TEXT_COLUMN
from tasks.protocol import FailureCode
from tasks.reading import Notify
from tasks.tables import check_columns, divide, is_missing, read_tables, whole_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """One set of samples."""

    prompts: list[str] | None
    """What is read and not learnt: the prompt, for seq2seq-lm the source; None: all of the text is learnt."""
    texts: list[str]
    """What is learnt."""
    is_rendered: bool = False
    """Whether a chat template has put in the special tokens."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: NDArray[np.int64]) -> Passages:
        """The samples at these indices, in this order."""
        prompts = None if self.prompts is None else [self.prompts[at] for at in indices]
        return Passages(prompts=prompts, texts=[self.texts[at] for at in indices], is_rendered=self.is_rendered)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextData:
    """The data set, ready to be tokenized."""

    train: Passages
    validation: Passages
    test: Passages
    source: str
    bytes: int
    sha256: str


def load_texts(choice: DataChoice, *, chat: ChatTemplate | None, seed: int, notify: Notify) -> TextData:
    """Fetch, read, check and split the data of a causal language model.

    Args:
        choice: names `messages`, or `prompt` and `completion`; where it names neither, the first of these that the
            data has is taken: the column `text` (or what data.text says), `prompt` and `completion`, `messages`.
        chat: writes conversations; None: plain paragraphs, said so.
        seed: of the held-out shares.
        notify: takes warnings.

    Raises:
        TaskError: data_not_found, data_invalid or bad_job, with a hint that names what is there.
    """

    def read(table: Table, split: str) -> Passages:
        layout = _layout(choice, table)
        if layout == ["messages"]:
            return _conversations(table, choice.messages or "messages", split, chat, notify)
        rows = whole_rows(table, layout, split, notify, what=" or ".join(layout))
        prompts = [row[0] for row in rows] if len(layout) == 2 else None
        return Passages(prompts=prompts, texts=[row[-1] for row in rows])

    return _load(choice, read, seed=seed, notify=notify)


def load_pairs(choice: DataChoice, *, seed: int, notify: Notify) -> TextData:
    """The same for an encoder-decoder: source texts stand as prompts, target texts are learnt.

    Raises:
        TaskError: data_not_found, data_invalid or bad_job.
    """

    def read(table: Table, split: str) -> Passages:
        wanted = [choice.source_text or "source", choice.target_text or "target"]
        rows = whole_rows(table, wanted, split, notify, what=" or ".join(wanted))
        return Passages(prompts=[row[0] for row in rows], texts=[row[1] for row in rows])

    return _load(choice, read, seed=seed, notify=notify)


def _load(choice: DataChoice, read: Callable[[Table, str], Passages], *, seed: int, notify: Notify) -> TextData:
    tables = read_tables(choice, notify)
    train = read(tables.train, "training")
    if not len(train):
        raise TaskError(
            FailureCode.DATA_INVALID, "The training set is empty.", hint="See the warnings on missing values."
        )
    named = {name: read(table, name) for name, table in tables.named.items()}
    empty = [name for name, passages in named.items() if not len(passages)]
    if empty:
        raise TaskError(FailureCode.DATA_INVALID, f"The split {empty[0]!r} is empty.")
    no_labels = np.zeros(len(train), dtype=np.int64)
    division = divide(choice, no_labels, _groups(train), seed=seed)

    def held(share: str | float, indices: NDArray[np.int64] | None) -> Passages:
        if isinstance(share, str):
            return named[share]
        assert indices is not None, "divide gives indices for each share"
        return train.take(indices)

    data = TextData(
        train=train.take(division.train),
        validation=held(choice.validation, division.validation),
        test=held(choice.test, division.test),
        source=choice.source,
        bytes=tables.bytes,
        sha256=tables.sha256,
    )
    _warn_of_duplicates(data, notify)
    return data


def _layout(choice: DataChoice, table: Table) -> list[str]:
    """Columns to be read; `messages` stands for a conversation whatever its column is called."""
    if choice.messages is not None:
        return ["messages"]
    if choice.prompt is not None or choice.completion is not None:
        return [choice.prompt or "prompt", choice.completion or "completion"]
    if choice.text != TEXT_COLUMN or choice.text in table.columns or not len(table):
        return [choice.text]
    if {"prompt", "completion"} <= set(table.columns):
        return ["prompt", "completion"]
    return ["messages"] if "messages" in table.columns else [choice.text]


def _conversations(table: Table, column: str, split: str, chat: ChatTemplate | None, notify: Notify) -> Passages:
    check_columns(table, [column], split)
    texts: list[str] = []
    for number, value in enumerate(table[column], start=1):
        if is_missing(value):
            continue
        try:
            messages = as_messages(value)
            texts.append(plain_text(messages) if chat is None else chat.render(messages))
        except ValueError as error:
            raise TaskError(
                FailureCode.DATA_INVALID,
                f"Row {number} of the {split} split cannot be read as a conversation: {error}.",
                hint='Expected is a list such as [{"role": "user", "content": "..."}, {"role": "assistant", ...}].',
            ) from error
    if len(texts) < len(table):
        notify("missing_values", f"{len(table) - len(texts)} of {len(table)} {split} rows lack {column}; left out.")
    if chat is None:
        notify("no_chat_template", "The model has no chat template; messages are written as `role: content`.")
    return Passages(prompts=None, texts=texts, is_rendered=chat is not None)


def _warn_of_duplicates(data: TextData, notify: Notify) -> None:
    known = set(_keys(data.train))
    for name, passages in (("validation", data.validation), ("test", data.test)):
        count = sum(key in known for key in _keys(passages))
        if count:
            notify(
                "duplicates", f"{count} of {len(passages)} {name} texts are also in training; {name} metrics flatter."
            )


def _groups(passages: Passages) -> NDArray[np.int64]:
    """Equal samples are one group, numbered as they first occur."""
    numbers: dict[tuple[Any, ...], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in _keys(passages)], dtype=np.int64)


def _keys(passages: Passages) -> Iterator[tuple[str, str]]:
    return zip(passages.prompts or passages.texts, passages.texts, strict=True)
