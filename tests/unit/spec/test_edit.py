"""One key of a run file changes and nothing else does."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from manager.errors import SpecError
from manager.spec.edit import key_text, with_key
from manager.spec.reader import parse_spec, spec_problems
from manager.spec.starter import starter_text

SHORT = "schema: 1\nmodel: ./m  # mine\ndata: ./d.csv\nmethod: lora\n"


def changed_lines(before: str, after: str) -> list[str]:
    """Lines that a change takes out and puts in."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and not line.startswith(("---", "+++"))]


def test_a_value_is_replaced_and_its_comment_keeps_its_column() -> None:
    text = starter_text({})
    assert changed_lines(text, with_key(text, "training.batch_size", "64")) == [
        "-  batch_size: 32              # samples per optimizer step, over all devices",
        "+  batch_size: 64              # samples per optimizer step, over all devices",
    ]


def test_numbers_stay_as_they_are_spelt() -> None:
    text = with_key(starter_text({}), "training.learning_rate", "2e-4")
    assert key_text(text, "training.learning_rate") == "2e-4"
    assert parse_spec(text, name="f", folder=Path("/")).training.learning_rate == 2e-4


def test_a_key_that_is_shown_in_a_comment_is_set_there() -> None:
    text = starter_text({"method.kind": "lora"})
    edited = with_key(text, "method.rank", "64")
    assert changed_lines(text, edited) == [
        "-  # rank: 16                  # lora, qlora",
        "+  rank: 64                    # lora, qlora",
    ]
    assert with_key(edited, "method.rank", "") != edited
    assert key_text(with_key(edited, "method.rank", ""), "method.rank") == ""


def test_a_key_that_is_shown_nowhere_stands_under_the_last_of_its_part() -> None:
    text = starter_text({})
    assert changed_lines(text, with_key(text, "training.sharding", "fsdp")) == ["+  sharding: fsdp"]
    assert parse_spec(with_key(text, "training.sharding", "fsdp"), name="f", folder=Path("/")).training.sharding


def test_lists_are_typed_with_commas() -> None:
    text = with_key(starter_text({}), "where.clouds", "aws, gcp")
    assert "  clouds: [aws, gcp]" in text
    assert key_text(text, "where.clouds") == "aws, gcp"
    assert "  clouds: [aws]" in with_key(text, "where.clouds", "aws")
    assert "  accelerators: [L4:1, A100-80GB]" in with_key(text, "where.accelerators", "L4:1,A100-80GB")


def test_a_list_of_several_lines_is_replaced_as_a_whole() -> None:
    text = f"{SHORT}where:\n  # near us\n  clouds:\n    - aws\n    - gcp\n  spot: true\n"
    edited = with_key(text, "where.clouds", "lambda")
    assert key_text(edited, "where.clouds") == "lambda"
    assert "# near us" in edited
    assert "  # near us" in edited
    assert key_text(edited, "where.spot") == "true"


@pytest.mark.parametrize(
    ("key", "typed"),
    [
        ("model.source", "org/other"),
        ("model.revision", "main"),
        ("method.kind", "full"),
        ("method.rank", "8"),
        ("budget.max_usd", "2.50"),
        ("name", "new-name"),
        ("where.spot", "true"),
        ("data.validation", "0.2"),
        ("data.validation", "dev"),
        ("training.gradient_checkpointing", "auto"),
    ],
)
def test_short_forms_and_missing_parts_take_any_key(key: str, typed: str) -> None:
    edited = with_key(SHORT, key, typed)
    assert key_text(edited, key) == typed
    assert "# mine" in edited
    parse_spec(edited, name="f", folder=Path("/"))


def test_the_source_of_a_short_form_is_kept_when_another_key_joins_it() -> None:
    edited = with_key(SHORT, "model.revision", "v2")
    assert key_text(edited, "model.source") == "./m"


def test_the_last_key_of_a_part_can_be_taken_out_and_put_back() -> None:
    text = starter_text({})
    without = with_key(text, "budget.max_usd", "")
    assert parse_spec(without, name="f", folder=Path("/")).budget.max_usd is None
    again = with_key(without, "budget.max_usd", "7")
    assert str(parse_spec(again, name="f", folder=Path("/")).budget.max_usd) == "7"
    assert changed_lines(text, again)[0].startswith("-  max_usd: 10")
    assert len(changed_lines(text, again)) == 2


def test_a_required_key_stays_and_is_told() -> None:
    text = with_key(starter_text({}), "model.source", "")
    (problem,) = spec_problems(text, name="f", folder=Path("/"))
    assert problem.key == "model.source"


def test_values_of_braces_go_through_the_round_trip() -> None:
    text = "schema: 1\nmodel: {source: m}  # it\ndata: {source: d, label: kind}\n"
    edited = with_key(text, "data.label", "topic")
    assert key_text(edited, "data.label") == "topic"
    assert "# it" in edited


def test_texts_that_yaml_would_read_as_something_else_are_quoted() -> None:
    for typed in ("1234", "true", "a: b", "# no comment", "null", 'with "quotes"'):
        assert key_text(with_key(starter_text({}), "model.source", typed), "model.source") == typed


def test_what_is_no_number_is_kept_and_told_at_its_key() -> None:
    text = with_key(starter_text({}), "training.epochs", "many")
    assert key_text(text, "training.epochs") == "many"
    (problem,) = spec_problems(text, name="f", folder=Path("/"))
    assert (problem.key, problem.line) == ("training.epochs", text[: text.index("epochs: ")].count("\n") + 1)
    assert "'many'" in problem.message


def test_problems_are_told_all_at_once_and_at_the_key_that_they_name() -> None:
    text = with_key(with_key(starter_text({}), "training.micro_batch", "64"), "budget.max_usd", "-1")
    keys = {problem.key for problem in spec_problems(text, name="f", folder=Path("/"))}
    assert keys == {"training.micro_batch", "budget.max_usd"}
    text = with_key(starter_text({}), "task", "causal-lm")
    assert [problem.key for problem in spec_problems(text, name="f", folder=Path("/"))] == ["data.label"]


def test_no_yaml_is_one_problem_of_the_whole_file() -> None:
    (problem,) = spec_problems("a: [", name="f", folder=Path("/"))
    assert (problem.key, problem.line) == ("", None)
    with pytest.raises(SpecError, match="not valid YAML"):
        with_key("a: [", "name", "x")


def test_setting_what_is_set_changes_nothing() -> None:
    text = starter_text({})
    for key in ("name", "task", "model.source", "training.learning_rate", "where.clouds", "budget.max_usd"):
        assert with_key(text, key, key_text(text, key)) == text, key
