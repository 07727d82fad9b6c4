"""A model's chat template, read from its folder and rendered without transformers, so that planner and trainer agree.

Templates are Jinja programs of whoever made the model: they run in Jinja's sandbox and see the messages and the special
tokens, no clock. A template that asks for today's date falls back on its own fixed one: tokens that change overnight
would break a resume.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.failures import TaskError
from tasks.protocol import FailureCode

TEMPLATE_FILE = "chat_template.jinja"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTemplate:
    """How a model wants a conversation written."""

    template: Any
    """A compiled Jinja template."""
    special_tokens: dict[str, str]

    def render(self, messages: list[Message]) -> str:
        """The conversation as one text, special tokens and all.

        Raises:
            ValueError: the template refuses these messages.
        """
        from jinja2 import TemplateError  # Deferred: only conversations need it.

        try:
            return str(self.template.render(messages=messages, add_generation_prompt=False, **self.special_tokens))
        except (TemplateError, TypeError, KeyError) as error:
            raise ValueError(f"the chat template refuses it: {str(error)[:200]}") from error


def chat_template(folder: Path) -> ChatTemplate | None:
    """The template in chat_template.jinja or tokenizer_config.json; None when the model has none.

    Raises:
        TaskError: model_not_found, when it cannot be read.
    """
    config = _config(folder)
    file = folder / TEMPLATE_FILE
    source = file.read_text(encoding="utf-8") if file.is_file() else _default(config.get("chat_template"))
    if source is None:
        return None
    from jinja2 import TemplateError

    try:
        template = _environment().from_string(source)
    except TemplateError as error:
        raise TaskError(FailureCode.MODEL_NOT_FOUND, f"The model's chat template cannot be read: {error}") from error
    return ChatTemplate(template=template, special_tokens=special_tokens(folder))


def special_tokens(folder: Path) -> dict[str, str]:
    """Begin, end, unknown and padding token, as far as the folder's tokenizer_config.json names them."""
    config = _config(folder)
    found = {name: config.get(name) for name in _SPECIAL}
    texts = {name: value.get("content") if isinstance(value, dict) else value for name, value in found.items()}
    return {name: value for name, value in texts.items() if isinstance(value, str)}


def plain_text(messages: list[Message]) -> str:
    """A conversation for a model without a template: `role: content`, one message a paragraph."""
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def as_messages(value: Any) -> list[Message]:
    """A cell as messages; text is read as JSON.

    Raises:
        ValueError: it is no list of objects with the texts `role` and `content`.
    """
    if isinstance(value, str):
        value = json.loads(value)
    try:
        messages = [dict(message) for message in value]
    except (TypeError, ValueError) as error:
        raise ValueError("it is no list of objects") from error
    for message in messages:
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise ValueError("each message must have the texts `role` and `content`")
    if not messages:
        raise ValueError("it has no messages")
    return messages


def _config(folder: Path) -> dict[str, Any]:
    file = folder / _TOKENIZER_CONFIG
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TaskError(FailureCode.MODEL_NOT_FOUND, f"{file.name} is no valid JSON: {error}") from error
    return config if isinstance(config, dict) else {}


def _default(given: Any) -> str | None:
    """A template, or the one called `default` among several."""
    if isinstance(given, list):
        named = {entry.get("name"): entry.get("template") for entry in given if isinstance(entry, dict)}
        given = named.get("default")
    return given if isinstance(given, str) else None


def _environment() -> Any:
    """Jinja as templates expect it: https://huggingface.co/docs/transformers/chat_templating_writing."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks the model's own words; the text is the same with and without."""

        tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

        def parse(self, parser: Any) -> nodes.Node | list[nodes.Node]:
            next(parser.stream)
            body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return body

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
    )
    # Not Jinja's own filter, which escapes for HTML.
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals["raise_exception"] = refuse
    return environment
