"""A push over the hub's real protocol, on loopback: what arrives, what never goes, and what each refusal says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.failures import TaskError
from tasks.push import files_to_push
from tests.support.hub_stage import TOKEN, HubStage

WEIGHTS = os.urandom(300_000)


@pytest.fixture
def hub() -> Iterator[HubStage]:
    with HubStage() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    (model / "adapter").mkdir(parents=True)
    (model / "config.json").write_text('{"model_type": "bert"}')
    (model / "README.md").write_text("# tuned\n")
    (model / "model.safetensors").write_bytes(WEIGHTS)
    (model / "adapter" / "adapter_model.safetensors").write_bytes(WEIGHTS[:1000])
    (model / "optimizer.pt").write_bytes(b"pickled")
    (model / ".cache").mkdir()
    (model / ".cache" / "x.json").write_text("{}")
    return model


def push(hub: HubStage, folder: Path, *, token: str = TOKEN, **changes: Any) -> list[dict[str, Any]]:
    """The answers of a push in a process of its own."""
    request = {"folder": str(folder), "repo": "team/tuned", "private": True, "update": False, **changes}
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": token, "HF_HUB_OFFLINE": "0"}
    environment["HF_HOME"] = str(folder.parent / "hf-home")
    code = "import sys; from tasks import push; push.PAUSE_S = 0.01; sys.exit(push.main())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(request),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode == 0) == (answers[-1]["type"] == "pushed"), done.stderr
    assert TOKEN not in done.stdout
    return answers


def test_model_and_card_arrive_whole(hub: HubStage, folder: Path) -> None:
    answer = push(hub, folder)[-1]
    held = hub.repositories["team/tuned"]
    assert held["private"] is True
    assert sorted(held["files"]) == [
        "README.md",
        "adapter/adapter_model.safetensors",
        "config.json",
        "model.safetensors",
    ]
    assert held["files"]["model.safetensors"] == WEIGHTS
    assert held["files"]["README.md"] == b"# tuned\n"
    assert answer["url"] == f"{hub.url}/team/tuned"
    assert (answer["files"], len(answer["commit"])) == (4, 40)
    assert hub.count("/objects/batch") >= 1


@pytest.mark.parametrize(
    ("token", "may_write", "said"),
    [("hf_" + "w" * 34, True, "does not take the token"), (TOKEN, False, "may not write to team/tuned")],
)
def test_a_refused_token_is_told_and_not_tried_again(
    hub: HubStage, folder: Path, token: str, may_write: bool, said: str
) -> None:
    hub.may_write = may_write
    answer = push(hub, folder, token=token)[-1]
    assert said in answer["message"]
    assert answer["hint"]
    assert hub.count("/api/repos/create") == 1
    assert hub.repositories == {}


def test_without_a_login_nothing_is_asked(hub: HubStage, folder: Path) -> None:
    (answer,) = push(hub, folder, token="")
    assert "Nobody is logged in" in answer["message"]
    assert "HF_TOKEN" in answer["hint"]
    assert hub.requests == []


@pytest.mark.parametrize("part", ["/api/repos/create", "/preupload/", "/objects/batch", "/commit/"])
def test_a_hub_that_fails_for_a_while_is_asked_again(hub: HubStage, folder: Path, part: str) -> None:
    hub.faults = [(part, 503), (part, 500)]
    assert push(hub, folder)[-1]["type"] == "pushed"
    assert hub.repositories["team/tuned"]["files"]["model.safetensors"] == WEIGHTS


def test_a_hub_that_stays_down_is_told(hub: HubStage, folder: Path) -> None:
    hub.faults = [("/commit/", 503)] * 40
    answer = push(hub, folder)[-1]
    assert answer["message"] == "The hub answered 503."
    assert hub.repositories["team/tuned"]["files"] == {}


def test_a_public_repository_is_not_written_to_by_a_private_push(hub: HubStage, folder: Path) -> None:
    hub.repositories["team/tuned"] = {"private": False, "files": {}}
    assert "is public" in push(hub, folder)[-1]["message"]
    assert hub.repositories["team/tuned"]["files"] == {}
    assert push(hub, folder, private=False)[-1]["type"] == "pushed"


def test_files_that_are_there_are_written_over_on_request_alone(hub: HubStage, folder: Path) -> None:
    hub.repositories["team/tuned"] = {"private": True, "files": {"config.json": b"theirs"}}
    assert "holds 1 files already" in push(hub, folder)[-1]["message"]
    assert hub.repositories["team/tuned"]["files"] == {"config.json": b"theirs"}
    push(hub, folder, update=True)
    assert hub.repositories["team/tuned"]["files"]["config.json"] != b"theirs"


@pytest.mark.parametrize("repo", ["tuned", "../x/y", "a/b/c", "x; curl evil/y", "team/..", "team/a--b", ""])
def test_what_is_no_name_is_refused_before_anything_is_asked(hub: HubStage, folder: Path, repo: str) -> None:
    assert "no repository" in push(hub, folder, repo=repo)[-1]["message"]
    assert hub.requests == []


def test_a_text_with_a_secret_is_not_sent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "correct-horse-battery")
    (folder / "config.json").write_text('{"x": "correct-horse-battery"}')
    with pytest.raises(TaskError, match=r"config\.json holds a secret"):
        files_to_push(folder)


def test_a_link_out_of_the_folder_is_not_followed(folder: Path) -> None:
    (folder / "passwd.txt").symlink_to("/etc/passwd")
    assert "passwd.txt" not in files_to_push(folder)


def test_pickled_weights_alone_are_no_model(folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(TaskError, match="no tuned model"):
        files_to_push(folder)
