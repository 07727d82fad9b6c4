"""The lab: opens the account and its cloud on a bare machine, gives the tests their handles, closes it."""

import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.engine_lab.errors import LabError
from tests.e2e.engine_lab.lab import EngineLab, fresh_root
from tests.e2e.engine_lab.packages import install_packages
from tests.e2e.engine_lab.sky_client import pick_free_port

from . import machines
from .calls import ApiCall, read_calls
from .client import client_environment, write_client_home, write_config
from .daemons import PACKAGES_BY_PROGRAM, prepare_cache, start_daemons
from .inside import machine_home
from .layout import CLIENT_KEY_ID, Layout
from .machines import Instance
from .metadata import SPOT_ACTION_FILE
from .rules import Rule, write_rules


class AwsLab(EngineLab[Layout]):
    """An emulated AWS on loopback with a SkyPilot client folder beside it; a context manager.

    Args:
        root: scratch folder; None makes a fresh one, which `down` removes again.
    """

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(Layout(root or fresh_root(Layout.fresh_prefix)), keeps_root=root is not None)
        self._port, self._emulator_port = pick_free_port(), pick_free_port()
        self._rules: list[Rule] = []

    def install(self) -> bool:
        """Install the Debian packages that are missing; tells whether there were any.

        Raises:
            LabError: this Python lacks the emulator.
        """
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
            raise LabError("the AWS lab needs moto with its server: pip install 'moto[ec2,iam,s3,server,sts]'")
        return install_packages(PACKAGES_BY_PROGRAM, what="the AWS lab")

    def _start(self) -> list[subprocess.Popen[bytes]]:
        for folder in self._layout.folders():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        prepare_cache()
        write_client_home(self._layout)
        return start_daemons(self._layout, self._port, self._emulator_port)

    def environment(self) -> dict[str, str]:
        """Give the environment under which `sky` or `tunefare` must run to stay in the lab."""
        return client_environment(self._layout, api_port=self._api_port, cloud_port=self._port)

    @contextmanager
    def managing_jobs(self) -> Iterator[None]:
        """Inside, SkyPilot's API server has the controllers of managed jobs in it."""
        self.api_stop()
        write_config(self._layout, manages_jobs=True)
        try:
            yield
        finally:
            self.api_stop()
            write_config(self._layout, manages_jobs=False)

    def api_log(self) -> list[ApiCall]:
        """All calls that the client and the instances made, oldest first."""
        return read_calls(self._layout.api_log)

    def calls(self, action: str) -> list[ApiCall]:
        """The calls of one action."""
        return [call for call in self.api_log() if call.action == action]

    def instances(self, *, terminated: bool = False) -> list[Instance]:
        """The account's instances that cost something, or all of them."""
        found = machines.list_instances(self._emulator_port)
        return [instance for instance in found if terminated or instance.costs]

    def home_of(self, instance_id: str) -> Path | None:
        """The home of a machine's user, as seen from here; None: the machine is not up."""
        return machine_home(self._layout.machines / instance_id)

    def terminate(self, instance_id: str) -> None:
        """End an instance behind everybody's back, as the provider or an administrator would."""
        (instance,) = (found for found in self.instances() if found.instance_id == instance_id)
        machines.terminate(self._emulator_port, instance)

    def announce_interruption(self, instance_id: str, *, in_s: float = 120) -> None:
        """Let an instance's metadata service say that spot takes it back; `terminate` then does it."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + in_s))
        notice = self._layout.machines / instance_id / SPOT_ACTION_FILE
        notice.write_text(json.dumps({"action": "terminate", "time": at}))

    def fail(
        self,
        action: str,
        code: str,
        *,
        region: str | None = None,
        zone: str | None = None,
        instance_type: str | None = None,
        spot: bool | None = None,
        times: int | None = None,
        status: int = 400,
    ) -> Rule:
        """Let a call of EC2 be answered with an error; what is not given matches all."""
        return self._add(
            Rule(
                code=code,
                service="ec2",
                action=action,
                region=region,
                zone=zone,
                instance_type=instance_type,
                spot=spot,
                times=times,
                status=status,
            )
        )

    def throttle(self, duration_s: float) -> Rule:
        """Refuse each call of EC2 for a time, as for an account that asks too often: by turns with 429 and 503."""
        until_s = time.time() + duration_s
        self._add(Rule(code="TooManyRequestsException", status=429, service="ec2", until_s=until_s, every=2))
        return self._add(Rule(code="RequestLimitExceeded", status=503, service="ec2", until_s=until_s))

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing is answered inside, by any service: connections are taken and hang, as behind a cut line."""
        proxy = int((self._layout.run / "proxy.pid").read_text())
        os.kill(proxy, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(proxy, signal.SIGCONT)

    def expire_credentials(self) -> None:
        """Let the user's credentials be out of date, for all services; those of the instances' role stay good."""
        for service, code, status in (("ec2", "RequestExpired", 400), (None, "ExpiredToken", 403)):
            self._add(Rule(code=code, status=status, service=service, key_id=CLIENT_KEY_ID))

    def heal(self) -> None:
        """Take all faults away: calls are answered and credentials are good again."""
        self._rules = []
        write_rules(self._layout.rules, [])

    def _add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        write_rules(self._layout.rules, self._rules)
        return rule
