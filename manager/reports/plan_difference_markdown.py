"""The difference of two plans as a comment on a pull request.

Names of models, data and columns are written by whoever opens the pull request: every character of theirs that
Markdown or HTML could take for a sign of its own becomes a character reference, which CommonMark (section 2.5) never
takes for structure, and it stands in `<code>`, in which GitHub notifies nobody for an @.
"""

from __future__ import annotations

from collections.abc import Sequence

from manager.planner.difference import PlanDifference
from manager.reports.plan_difference import Row, Table, bill, headline, memory, question, remarks, summary

_STRUCTURE = set("&<>\"'`|*_[]()\\~#!@$:")
_TEXT_STRUCTURE = set("&<>`|*_[]\\~")
"""In sentences of ours, whose brackets and dollars are meant."""
_LINKS = (("://", "&#58;//"), ("www.", "www&#46;"), ("@", "&#64;&#8203;"))
"""What becomes a link or a mention without any sign around it (GFM, section 6.9); the space has no width."""


def difference_markdown(found: PlanDifference, *, title: str | None = None, over: Sequence[str] = ()) -> str:
    """A section with a heading, one table of results, and the details folded away.

    Args:
        found: the difference.
        title: what was compared (a file's name); None: the job's name.
        over: sentences on limits that are not kept.
    """
    parts = [f"### tunefare: {_code(title or found.new.name)}", "", f"**{escaped(headline(found))}**", ""]
    parts += [f"> **Over a limit:** {escaped(sentence)}\n" for sentence in over]
    parts += [*_table(summary(found)), ""]
    asked = question(found)
    if asked.rows:
        parts += [f"**{asked.title}**", "", *_table(asked), ""]
    for table in (bill(found), memory(found)):
        if table.rows:
            parts += [f"<details><summary>{escaped(table.title)}</summary>", "", *_table(table), "", "</details>", ""]
    parts += [f"- {escaped(sentence)}" for sentence in remarks(found)]
    return "\n".join(parts).rstrip() + "\n"


def escaped(text: str) -> str:
    """Text of ours that may hold words of others, for a paragraph or a cell."""
    shown = "".join(_reference(sign) if sign in _TEXT_STRUCTURE else sign for sign in _one_line(text))
    for sign, reference in _LINKS:
        shown = shown.replace(sign, reference)
    return shown


def _code(text: str) -> str:
    """Words of others."""
    return f"<code>{''.join(_reference(sign) if sign in _STRUCTURE else sign for sign in _one_line(text))}</code>"


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _reference(sign: str) -> str:
    return f"&#{ord(sign)};"


def _table(table: Table) -> list[str]:
    with_change = any(row.change for row in table.rows)
    head = ["", "before", "now", *(["change"] if with_change else [])]
    rule = ["---", *["---:"] * (len(head) - 1)]
    is_question = not with_change
    return [_line(head), _line(rule), *(_line(_cells(row, with_change, is_question)) for row in table.rows)]


def _cells(row: Row, with_change: bool, is_question: bool) -> list[str]:
    name = "**total**" if row.name == "total" else escaped(row.name)
    shown = [_code(value) if is_question else escaped(value) for value in (row.old, row.new)]
    return [name, *shown, *([escaped(row.change)] if with_change else [])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
