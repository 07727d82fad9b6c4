"""What the worker asks a SkyPilot that is played for, where a managed job is still being submitted."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from manager.launch import sky_managed
from manager.launch.sky_wire import Reply

NAME = "tf-demo-1"
ME = "0a1b2c3d"


def request(request_id: str, body: str, *, name: str = "sky.jobs.launch", user_id: str = ME) -> Any:
    """As SkyPilot lists it: all jobs have the cluster of their controller."""
    return SimpleNamespace(
        request_id=request_id,
        name=name,
        request_body=body,
        user_id=user_id,
        cluster_name="sky-jobs-controller-0a1b2c3d",
    )


def sent(name: str | None) -> str:
    return json.dumps({"task": "name: x", "name": name})


@dataclass
class PlayedSky:
    """An API server with unfinished requests; a launch that is cancelled may have made its job before."""

    unfinished: list[Any] = field(default_factory=list)
    jobs: list[Any] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)
    """Jobs that are there once a launch was cancelled."""
    cancelled_jobs: list[int] = field(default_factory=list)

    def api_status(self) -> list[Any]:
        return list(self.unfinished)

    def api_cancel(self, request_ids: list[str], *, silent: bool) -> None:
        self.unfinished = [one for one in self.unfinished if one.request_id not in request_ids]
        self.jobs += self.made

    def queue_v2(self, **_: Any) -> tuple[list[Any]]:
        return (self.jobs,)

    def cancel(self, *, job_ids: list[int]) -> None:
        self.cancelled_jobs += job_ids


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedSky:
    told = PlayedSky()
    sky, utils, state = ModuleType("sky"), ModuleType("sky.utils"), ModuleType("sky.global_user_state")
    vars(utils)["common_utils"] = SimpleNamespace(get_user_hash=lambda: ME)
    vars(sky).update(
        api_status=told.api_status,
        api_cancel=told.api_cancel,
        get=lambda answer: answer,
        jobs=told,
        utils=utils,
        global_user_state=state,
    )
    monkeypatch.setitem(sys.modules, "sky", sky)
    monkeypatch.setitem(sys.modules, "sky.utils", utils)
    monkeypatch.setitem(sys.modules, "sky.global_user_state", state)
    return told


def ask(operation: str) -> dict[str, Any]:
    return sky_managed.OPERATIONS[operation]({"name": NAME}, Reply(io.StringIO(), 1))


def queued(job_id: int) -> Any:
    status = SimpleNamespace(value="PENDING", is_terminal=lambda: False)
    return SimpleNamespace(
        job_id=job_id,
        job_name=NAME,
        status=status,
        recovery_count=0,
        failure_reason=None,
        submitted_at=1.0,
        end_at=None,
    )


def test_unfinished_launches_of_the_job_are_cancelled_and_of_no_other(played: PlayedSky) -> None:
    played.unfinished = [
        request("mine", sent(NAME)),
        request("other", sent("tf-demo-10")),
        request("nameless", sent(None)),
        request("plain", sent(NAME), name="sky.launch"),
        request("unread", "null"),
    ]
    assert ask("managed_cancel") == {"existed": False, "cancelled_requests": ["mine"]}
    assert [one.request_id for one in played.unfinished] == ["other", "nameless", "plain", "unread"]


def test_a_job_that_was_made_before_its_launch_was_cancelled_is_ended_too(played: PlayedSky) -> None:
    played.unfinished, played.made = [request("mine", sent(NAME))], [queued(7)]
    assert ask("managed_cancel") == {"existed": True, "cancelled_requests": ["mine"]}
    assert played.cancelled_jobs == [7]


def test_what_is_left_names_launches_that_may_be_the_jobs(played: PlayedSky) -> None:
    played.unfinished = [
        request("mine", sent(NAME)),
        request("other", sent("tf-demo-10")),
        request("unread", "null"),
        request("theirs", "null", user_id="99999999"),
    ]
    left = ask("managed_left")
    assert (left["launches"], left["job"], left["instances"]) == (["mine", "unread"], None, None)
