"""The run file: what is read, and how each mistake is named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from manager.errors import ExitCode, SpecError
from manager.spec.model import Budget, RunSpec, Where, accelerator_wish, spec_content
from manager.spec.reader import parse_spec, read_spec

GOOD = """\
schema: 1
name: news
model: bert-base-uncased
data: ./news.csv
"""


def parse(text: str, folder: Path = Path("/somewhere")) -> RunSpec:
    return parse_spec(text, name="tunefare.yaml", folder=folder)


def test_short_forms_and_defaults() -> None:
    spec = parse_spec(GOOD + "method: lora\nbudget: {max_usd: 2.5}\n", name="f", folder=Path("/somewhere"))
    assert spec.model.source == "bert-base-uncased"
    assert spec.data.source == "/somewhere/news.csv"
    assert spec.method.kind == "lora"
    assert spec.method.lora_rank == 16
    assert spec.budget.max_usd == Decimal("2.5")
    assert spec.training.micro_batch is None
    assert spec.where.clouds == ()


def test_a_float_in_exponent_form_is_a_number() -> None:
    spec = parse_spec(GOOD + "training: {learning_rate: 5e-5}\n", name="f", folder=Path("/somewhere"))
    assert spec.training.learning_rate == 5e-5


def test_limits_and_wishes_arrive() -> None:
    text = (
        "budget: {max_usd: 5, deadline_hours: 6.5, confidence: 0.9}\n"
        "where: {clouds: [AWS], accelerators: [L4:1, A100-80GB], spot: true, max_nodes: 4, on_paper: true}\n"
    )
    spec = parse_spec(GOOD + text, name="f", folder=Path("/somewhere"))
    assert spec.budget == Budget(max_usd=Decimal(5), deadline_hours=6.5, confidence=0.9)
    assert spec.where == Where(
        clouds=("aws",), accelerators=("L4:1", "A100-80GB"), spot=True, max_nodes=4, on_paper=True
    )
    left_out = parse_spec(GOOD, name="f", folder=Path("/somewhere"))
    assert (left_out.budget, left_out.where) == (Budget(), Where())
    assert (left_out.budget.confidence, left_out.where.max_nodes, left_out.where.on_paper) == (0.5, 1, False)


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [("L4", "L4", None), ("L4:1", "L4", 1.0), ("A100-80GB:8", "A100-80GB", 8.0), ("A100:0.5", "A100", 0.5)],
)
def test_an_accelerator_may_carry_its_number(text: str, name: str, count: float | None) -> None:
    assert accelerator_wish(text) == (name, count)


@pytest.mark.parametrize("text", ["L4:", ":1", "L4:0", "L4:-1", "L4:many", "L4:nan", "L4:inf", "L4:1:2"])
def test_a_number_of_accelerators_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no accelerator: write a name, or name:number"):
        accelerator_wish(text)
    with pytest.raises(SpecError) as caught:
        parse(GOOD + f"where: {{accelerators: ['{text}']}}\n")
    assert "tunefare.yaml:5: `where.accelerators`" in caught.value.message


def test_an_existing_folder_is_local_even_when_it_looks_like_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    spec = parse_spec(GOOD.replace("bert-base-uncased", "models/mine"), name="f", folder=tmp_path)
    assert spec.model.source == str(tmp_path / "models" / "mine")


def test_remote_data_stays_as_written() -> None:
    spec = parse_spec(GOOD.replace("./news.csv", "s3://bucket/a.csv"), name="f", folder=Path("/somewhere"))
    assert spec.data.source == "s3://bucket/a.csv"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (GOOD + "trainning: {}\n", "tunefare.yaml:5: unknown key `trainning`", "did you mean `training`?"),
        (
            GOOD + "training:\n  learnin_rate: 1\n",
            "tunefare.yaml:6: unknown key `training.learnin_rate`",
            "did you mean `learning_rate`?",
        ),
        (GOOD + "training:\n  epochs: -1\n", "tunefare.yaml:6: `training.epochs` is -1", None),
        (GOOD + "training:\n  epochs: abc\n", "tunefare.yaml:6: `training.epochs` is 'abc'", None),
        (GOOD + "method: loar\n", "tunefare.yaml:5: `method.kind` is 'loar'", "did you mean `lora`?"),
        (GOOD + "task: token\n", "tunefare.yaml:5: `task` is 'token'", "allowed values: text-classification"),
        (GOOD.replace("schema: 1", "schema: 2"), "tunefare.yaml:1: run file is of schema 2", "update tunefare"),
        (GOOD.replace("data: ./news.csv\n", ""), "key `data` is missing", "tunefare init"),
        (GOOD.replace("schema: 1\n", ""), "key `schema` is missing", "tunefare init"),
        (GOOD.replace("news\n", "My Run\n", 1), "tunefare.yaml:2: `name`: 'My Run' is no name", None),
        (GOOD + "name: twice\n", 'found duplicate key "name"', "indentation"),
        ("a: [", "not valid YAML", "indentation"),
        ("- a\n", "a run file is a mapping", "tunefare init"),
        ("", "a run file is a mapping", "tunefare init"),
        (
            GOOD.replace("data: ./news.csv", "data: {source: a.csv, validation: 0.5, test: 0.5}"),
            "validation and test together leave nothing to train on",
            None,
        ),
        (
            GOOD.replace("data: ./news.csv", "data: {source: a, validation: dev, test: dev}"),
            "'dev' is named more than once",
            None,
        ),
        (
            GOOD.replace("data: ./news.csv", "data: {source: a, train_split: dev, test: dev}"),
            "'dev' is named more than once",
            None,
        ),
        (
            GOOD + "training: {batch_size: 4, micro_batch: 8}\n",
            "micro_batch 8 is larger than batch_size 4",
            None,
        ),
        (GOOD + "budget: {confidence: 0.8}\n", "`budget.confidence`: 0.5 compares expected figures", None),
        (GOOD + "where: {max_nodes: 0}\n", "`where.max_nodes` is 0", None),
        (GOOD + "budget: {max_usd: 0}\n", "`budget.max_usd` is 0", None),
        (GOOD.replace("./news.csv", "{source: a.csv, test: 1.5}"), "`data.test` is 1.5", None),
        (GOOD + "budget: {max_usd: true}\n", "`budget.max_usd` is True", None),
        (GOOD + "budget: {deadline_hours: .inf}\n", "`budget.deadline_hours` is inf", None),
        (GOOD + "training: {weight_decay: .nan}\n", "`training.weight_decay` is nan", None),
        (GOOD + "training: {batch_size: true}\n", "`training.batch_size` is True", None),
        (GOOD + "training: {batch_size: 3.5}\n", "`training.batch_size` is 3.5", None),
        (GOOD.replace("./news.csv", "~nosuchuser/x.csv"), "a source cannot be looked up", "check model and data"),
        (GOOD.replace("./news.csv", "x" * 5000), "a source cannot be looked up", "check model and data"),
    ],
)
def test_mistakes_are_named_with_line_and_hint(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert message in caught.value.message
    if hint:
        assert caught.value.hint is not None
        assert hint in caught.value.hint
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_missing_file_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="does not exist") as caught:
        read_spec(tmp_path / "tunefare.yaml")
    assert caught.value.hint == "write one with `tunefare init`"


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tunefare.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        read_spec(file)


def test_a_folder_as_run_file_names_the_file_in_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is a folder") as caught:
        read_spec(tmp_path)
    assert caught.value.hint is not None
    assert "tunefare.yaml" in caught.value.hint


@pytest.mark.parametrize(
    ("part", "hint"),
    [
        ("where:\n  clouds: aws\n", "write it as [aws]"),
        ("budget:\n  max_usd: $5\n", "write the number alone, such as 5 or 2.50"),
    ],
)
def test_a_near_miss_says_how_to_write_it(part: str, hint: str, tmp_path: Path) -> None:
    text = f"schema: 1\nmodel: gpt2\ndata: a.csv\n{part}"
    with pytest.raises(SpecError) as caught:
        parse_spec(text, name="tunefare.yaml", folder=tmp_path)
    assert caught.value.hint == hint


def test_a_project_is_read_and_ids_without_one_stay_what_they_were() -> None:
    text = "schema: 1\nmodel: m\ndata: d\n"
    without = parse_spec(text, name="f", folder=Path("/"))
    research = parse_spec(text + "project: research\n", name="f", folder=Path("/"))
    assert (without.project, research.project) == (None, "research")
    assert "project" not in spec_content(without)
    assert spec_content(research)["project"] == "research"
    with pytest.raises(SpecError, match="no project"):
        parse_spec(text + "project: My Project\n", name="f", folder=Path("/"))


def test_an_image_is_read_and_ids_without_one_stay_what_they_were() -> None:
    docker = parse(GOOD + "where: {image: 'docker:nvcr.io/nvidia/pytorch:25.01-py3'}\n")
    assert docker.where.image == "docker:nvcr.io/nvidia/pytorch:25.01-py3"
    assert parse(GOOD + "where: {image: ami-0123, clouds: [aws]}\n").where.image == "ami-0123"
    assert "image" not in spec_content(parse(GOOD))["where"]
    assert spec_content(docker)["where"]["image"] == docker.where.image


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("{image: ami-0123}", "belongs to one cloud"),
        ("{image: ami-0123, clouds: [aws, gcp]}", "belongs to one cloud"),
        ("{image: 'docker:x; curl evil'}", "where.image"),
        ("{image: ''}", "where.image"),
    ],
)
def test_an_image_that_cannot_be_booted_is_refused(where: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse(GOOD + f"where: {where}\n")
