"""Notices that the provider is about to take the machine back, as a flag that the loop reads.

AWS says so two minutes ahead under `spot/instance-action` of its metadata service (IMDSv2: a token first), Google
thirty seconds ahead under `instance/preempted`. The services are asked where SkyPilot says that the machine is one of
theirs, or an environment variable of the provider's own names another address: elsewhere nobody answers there.
"""

from __future__ import annotations

import calendar
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

AWS_ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
GCP_HOST_VARIABLE = "GCE_METADATA_HOST"
CLUSTER_VARIABLE = "SKYPILOT_CLUSTER_INFO"
PERIOD_S = 5.0
"""Between two questions; AWS asks for no more than one in five seconds."""
_TIMEOUT_S = 2.0
_TOKEN_LIFE_S = 21600


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """The machine will be taken back."""

    source: str
    seconds_left: float | None
    """Until then; None: the provider does not say."""


class PreemptionWatch:
    """Asks in a thread until there is a notice."""

    def __init__(self, ask: Callable[[], Notice | None], *, period_s: float = PERIOD_S) -> None:
        self.notice: Notice | None = None
        """None while nothing is known."""
        self.heeded = False
        """Set by whoever has saved because of it."""
        self._ask = ask
        self._period_s = period_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preemption", daemon=True)
        self._thread.start()

    @property
    def is_due(self) -> bool:
        """Whether there is a notice that nobody heeded yet."""
        return self.notice is not None and not self.heeded

    def close(self) -> None:
        """Ask no more."""
        self._over.set()

    def _run(self) -> None:
        while self.notice is None and not self._over.is_set():
            self.notice = self._ask()
            self._over.wait(self._period_s)


def watch_for_preemption(environment: Mapping[str, str], *, period_s: float = PERIOD_S) -> PreemptionWatch | None:
    """The watch of this machine; None where nobody gives notice."""
    cloud = _cloud(environment)
    if cloud == "aws" and environment.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
        return PreemptionWatch(_Aws(environment).ask, period_s=period_s)
    if cloud == "gcp":
        return PreemptionWatch(_Google(environment).ask, period_s=period_s)
    return None


def _cloud(environment: Mapping[str, str]) -> str | None:
    try:
        named = json.loads(environment.get(CLUSTER_VARIABLE, ""))["cloud"]
    except (ValueError, KeyError, TypeError):
        named = None
    if isinstance(named, str):
        return named.lower()
    if environment.get(AWS_ENDPOINT_VARIABLE):
        return "aws"
    return "gcp" if environment.get(GCP_HOST_VARIABLE) else None


class _Aws:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._base = environment.get(AWS_ENDPOINT_VARIABLE, "http://169.254.169.254").rstrip("/")
        self._token: str | None = None

    def ask(self) -> Notice | None:
        """The action that is planned for the instance, if there is one."""
        if self._token is None:
            life = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_LIFE_S)}
            self._token = _answer(f"{self._base}/latest/api/token", life, method="PUT")
        if self._token is None:
            return None
        try:
            said = _answer(
                f"{self._base}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": self._token}
            )
            action = None if said is None else json.loads(said)
        except PermissionError:
            self._token = None
            return None
        except ValueError:
            return None
        if not isinstance(action, dict) or "action" not in action:
            return None
        return Notice(source=f"aws spot/instance-action: {action['action']}", seconds_left=_left_s(action.get("time")))


class _Google:
    def __init__(self, environment: Mapping[str, str]) -> None:
        host = environment.get(GCP_HOST_VARIABLE, "metadata.google.internal")
        self._url = f"http://{host}/computeMetadata/v1/instance/preempted"

    def ask(self) -> Notice | None:
        """Whether the instance is being preempted."""
        try:
            said = _answer(self._url, {"Metadata-Flavor": "Google"})
        except PermissionError:
            return None
        if said is None or said.strip().upper() != "TRUE":
            return None
        return Notice(source="gcp instance/preempted", seconds_left=30.0)


def _answer(url: str, headers: dict[str, str], *, method: str = "GET") -> str | None:
    """Text of the answer; None: there is none, or the service does not answer.

    Raises:
        PermissionError: the token is no longer good.
    """
    request = urllib.request.Request(url, headers=headers, method=method)
    # No proxy stands between a machine and its own metadata.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            content: bytes = answer.read()
            return content.decode("utf-8", errors="replace")
    except urllib.error.HTTPError as error:
        if error.code == 401:
            raise PermissionError(url) from error
        return None
    except (OSError, ValueError):
        return None


def _left_s(said: object) -> float | None:
    try:
        return max(0.0, calendar.timegm(time.strptime(str(said), "%Y-%m-%dT%H:%M:%SZ")) - time.time())
    except ValueError:
        return None


def this_machine() -> PreemptionWatch | None:
    """The watch over this machine, of the first of its processes."""
    return watch_for_preemption(os.environ) if int(os.environ.get("LOCAL_RANK", "0")) == 0 else None
