"""GCP asked directly: a server on loopback in Compute Engine's place, google-auth with credentials that are none."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from manager.prices.gcp_live import GcpAccess, GcpAsker, GcpError, explain_error
from manager.prices.quota import Quota
from tests.support.price_stage import Served, serving


def entry(metric: str, limit: float | None, usage: float = 0.0) -> dict[str, Any]:
    return {"metric": metric, "usage": usage, **({} if limit is None else {"limit": limit})}


PROJECT = {"name": "demo", "quotas": [entry("GPUS_ALL_REGIONS", 4.0, 1.0), entry("NETWORKS", 15.0)]}
REGIONS = {
    "items": [
        {
            "name": "us-central1",
            "quotas": [
                entry("CPUS", 72.0),
                entry("NVIDIA_A100_80GB_GPUS", 8.0, 2.0),
                entry("PREEMPTIBLE_NVIDIA_L4_GPUS", 0.0),
                entry("NVIDIA_T4_VWS_GPUS", 1.0),
                entry("COMMITTED_NVIDIA_L4_GPUS", 1.0),
                entry("NVIDIA_H200_GPUS", None),
                entry("TPU_LITE_PODSLICE_V5", 16.0),
            ],
        }
    ]
}


def access(served: Served) -> GcpAccess:
    """Plain HTTP without credentials, to loopback."""
    import requests

    def fetch(url: str) -> tuple[int, bytes]:
        answer = requests.get(url, timeout=30)
        return answer.status_code, answer.content

    return GcpAccess(project="demo", fetch=fetch)


def asker(served: Served, limit_s: float = 20.0) -> GcpAsker:
    return GcpAsker(access=lambda: access(served), url=served.url, limit_s=limit_s)


def quotas(served: Served) -> list[Quota]:
    answer = asker(served).quotas()
    assert answer.reason is None
    return answer.value or []


def test_accelerators_of_project_and_regions_and_nothing_else() -> None:
    with serving() as served:
        served.answers = {"/projects/demo": json.dumps(PROJECT), "/projects/demo/regions": json.dumps(REGIONS)}
        found = quotas(served)
    assert [(one.region, one.code, one.use_spot, one.covers, one.unit, one.limit, one.in_use) for one in found] == [
        (None, "GPUS_ALL_REGIONS", False, ("any GPU",), "GPUs", 4.0, 1.0),
        ("us-central1", "NVIDIA_A100_80GB_GPUS", False, ("A100-80GB",), "GPUs", 8.0, 2.0),
        ("us-central1", "PREEMPTIBLE_NVIDIA_L4_GPUS", True, ("L4",), "GPUs", 0.0, 0.0),
        ("us-central1", "NVIDIA_H200_GPUS", False, ("H200",), "GPUs", None, 0.0),
        ("us-central1", "TPU_LITE_PODSLICE_V5", False, ("TPU_LITE_PODSLICE_V5",), "TPU chips", 16.0, 0.0),
    ]
    assert [one.reason for one in found if one.limit is None] == ["GCP names no limit"]


def test_all_pages_are_read() -> None:
    pages = [
        {"items": [{"name": "a", "quotas": [entry("NVIDIA_L4_GPUS", 1.0)]}], "nextPageToken": "p2"},
        {"items": [{"name": "b", "quotas": [entry("NVIDIA_L4_GPUS", 2.0)]}]},
    ]

    def fetch(url: str) -> tuple[int, bytes]:
        if "/regions" not in url:
            return 200, json.dumps({"quotas": []}).encode()
        return 200, json.dumps(pages["pageToken=p2" in url]).encode()

    found = GcpAsker(access=lambda: GcpAccess(project="demo", fetch=fetch)).quotas().value or []
    assert [(one.region, one.limit) for one in found] == [("a", 1.0), ("b", 2.0)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (401, "application-default login"),
        (403, "may not read quotas of project demo"),
        (404, "knows no project demo"),
        (429, "too many requests"),
        (503, "GCP answers 503"),
        ("<html>", "something else than JSON"),
        ("[]", "something else than JSON"),
    ],
)
def test_refusals_are_reasons(answer: int | str, words: str) -> None:
    with serving() as served:
        served.answers = {"/projects/demo": answer}
        said = asker(served).quotas()
    assert said.value is None
    assert words in str(said.reason)


def test_a_server_that_never_answers_costs_the_time_limit() -> None:
    with serving() as served:
        served.answers = {"/projects/demo": 5.0}
        began_s = time.monotonic()
        said = asker(served, limit_s=0.7).quotas()
        took_s = time.monotonic() - began_s
    assert said.reason == "no answer within 0.7 s"
    assert 0.5 < took_s < 3.0


def test_google_auth_is_asked_for_credentials_and_project(monkeypatch: pytest.MonkeyPatch) -> None:
    google_auth = pytest.importorskip("google.auth")
    from google.auth.credentials import AnonymousCredentials

    nobody: Any = AnonymousCredentials()  # type: ignore[no-untyped-call]
    with serving() as served:
        served.answers = {"/projects/demo": json.dumps(PROJECT), "/projects/demo/regions": json.dumps(REGIONS)}
        monkeypatch.setattr(google_auth, "default", lambda scopes: (nobody, "demo"))
        assert len(GcpAsker(url=served.url).quotas().value or []) == 5
        monkeypatch.setattr(google_auth, "default", lambda scopes: (nobody, None))
        assert "gcloud config set project" in str(GcpAsker(url=served.url).quotas().reason)


def test_without_credentials_the_login_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    pytest.importorskip("google.auth")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    assert "gcloud auth application-default login" in str(GcpAsker().quotas().reason)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GcpError("as it is"), "as it is"),
        (type("RefreshError", (Exception,), {})("x"), "expired"),
        (type("ConnectTimeout", (Exception,), {})("x"), "in time"),
        (type("ConnectionError", (Exception,), {})("x"), "cannot be reached"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_errors_in_few_words(error: Exception, words: str) -> None:
    assert words in explain_error(error)
