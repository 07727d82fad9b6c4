"""GCP asked directly: quotas of accelerators of the user's project, over Compute Engine's REST interface.

Optional (extra `gcp`) and never a reason to fail: whatever goes wrong is an unknown with its reason. Credentials are
google-auth's application default credentials, which are neither read nor kept here.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from manager.errors import how_to_install
from manager.prices.ask_in_time import Answer, ask_in_time
from manager.prices.quota import Quota, gcp_quota_subject

COMPUTE_URL = "https://compute.googleapis.com/compute/v1"
_SCOPE = "https://www.googleapis.com/auth/compute.readonly"
_ATTEMPT_S = 10.0
Fetch = Callable[[str], tuple[int, bytes]]
"""A URL in, HTTP status and body out; with credentials."""


class GcpError(Exception):
    """GCP did not tell; the message says why in few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpAccess:
    """How one project is asked."""

    project: str
    fetch: Fetch


class GcpAsker:
    """Asks GCP about one project."""

    def __init__(
        self, *, access: Callable[[], GcpAccess] | None = None, url: str = COMPUTE_URL, limit_s: float = 20.0
    ) -> None:
        """Args:
        access: makes the way to the project; None: google-auth's default credentials.
        url: of Compute Engine's REST interface.
        limit_s: time for everything together.
        """
        self._access = access or default_access
        self._url = url
        self._limit_s = limit_s

    def quotas(self) -> Answer[list[Quota]]:
        """All quotas of accelerators: per region, and of all regions together."""
        return ask_in_time({"gcp": self._quotas}, limit_s=self._limit_s, explain=explain_error)["gcp"]

    def _quotas(self) -> list[Quota]:
        access = self._access()
        project = f"{self._url}/projects/{quote(access.project, safe=':')}"
        found = [_quota(record, None) for record in _get(access, project).get("quotas", ())]
        page: str | None = None
        while True:
            query = {"maxResults": "500", **({"pageToken": page} if page else {})}
            answer = _get(access, f"{project}/regions?{urlencode(query)}")
            for region in answer.get("items", ()):
                found += [_quota(record, region["name"]) for record in region.get("quotas", ())]
            page = answer.get("nextPageToken")
            if not page:
                return [one for one in found if one is not None]


def is_installed() -> bool:
    """Whether google-auth is there."""
    try:
        return importlib.util.find_spec("google.auth") is not None
    except ModuleNotFoundError:
        return False


def not_installed() -> str:
    """What to say when it is not."""
    return f"google-auth is not installed: {how_to_install('gcp')}"


def default_access() -> GcpAccess:
    """The project and the credentials that google-auth finds.

    Raises:
        GcpError: there is no project.
    """
    import google.auth  # an extra
    from google.auth.transport.requests import AuthorizedSession

    credentials, project = google.auth.default(scopes=[_SCOPE])
    if not project:
        raise GcpError("no GCP project is chosen: run `gcloud config set project PROJECT`")
    session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    def fetch(url: str) -> tuple[int, bytes]:
        answer = session.get(url, timeout=_ATTEMPT_S)
        return int(answer.status_code), bytes(answer.content)

    return GcpAccess(project=str(project), fetch=fetch)


def explain_error(error: Exception) -> str:
    """Why GCP did not answer, in few words."""
    name = type(error).__name__
    if isinstance(error, GcpError):
        return str(error)
    if name == "DefaultCredentialsError":
        return "no GCP credentials: run `gcloud auth application-default login`"
    if name == "RefreshError":
        return "the GCP login has expired: run `gcloud auth application-default login`"
    if "Timeout" in name:
        return "GCP did not answer in time"
    if name in ("ConnectionError", "TransportError"):
        return "GCP cannot be reached from here"
    return f"{name}: {str(error)[:200]}"


def _get(access: GcpAccess, url: str) -> dict[str, Any]:
    status, body = access.fetch(url)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if status == 200 and isinstance(answer, dict):
        return answer
    if status == 401:
        raise GcpError("GCP does not accept these credentials: run `gcloud auth application-default login`")
    if status == 403:
        raise GcpError(f"these GCP credentials may not read quotas of project {access.project} (compute.regions.list)")
    if status == 404:
        raise GcpError(f"GCP knows no project {access.project} with Compute Engine")
    if status == 429:
        raise GcpError("GCP answers too many requests (429); try again later")
    raise GcpError(f"GCP answers {status}" if status != 200 else "GCP answers with something else than JSON")


def _quota(record: dict[str, Any], region: str | None) -> Quota | None:
    metric = str(record.get("metric", ""))
    subject = gcp_quota_subject(metric)
    if subject is None:
        return None
    use_spot, covers, unit = subject
    limit, usage = record.get("limit"), record.get("usage")
    return Quota(
        cloud="gcp",
        region=region,
        code=metric,
        name=metric,
        use_spot=use_spot,
        covers=covers,
        unit=unit,
        limit=None if limit is None else float(limit),
        in_use=None if usage is None else float(usage),
        reason="GCP names no limit" if limit is None else None,
    )
