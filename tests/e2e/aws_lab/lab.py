"""The lab: opens the account and its cloud on a bare machine, gives the tests their handles, closes it.

Owns the order of things and the rule that one lab is up at a time. A lab that was never taken down (a killed test run)
is ended by the next one that comes up.
"""

import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.e2e.engine_lab.errors import LabError
from tests.e2e.engine_lab.packages import install_packages
from tests.e2e.engine_lab.processes import end_processes, find_daemons, find_marked
from tests.e2e.engine_lab.sky_client import find_api_servers, kill_api_server, pick_free_port, stop_api_server

from . import machines
from .calls import ApiCall, read_calls
from .client import client_environment, write_client_home, write_config
from .daemons import PACKAGES_BY_PROGRAM, prepare_cache, start_daemons
from .inside import machine_home
from .layout import CLIENT_KEY_ID, LOCK_FILE, Layout
from .machines import Instance
from .metadata import SPOT_ACTION_FILE
from .rules import Rule, write_rules

_FRESH_PREFIX = "aws-lab-"


class AwsLab:
    """An emulated AWS on loopback with a SkyPilot client folder beside it; a context manager.

    Args:
        root: scratch folder; None makes a fresh one, which `down` removes again.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._keeps_root = root is not None
        self._layout = Layout(root or Path(tempfile.mkdtemp(prefix=_FRESH_PREFIX, dir="/tmp")))
        self._port, self._emulator_port, self._api_port = pick_free_port(), pick_free_port(), pick_free_port()
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._rules: list[Rule] = []
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        self.install()
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.down()

    @property
    def root(self) -> Path:
        """The lab's scratch folder; logs lie in `log/`."""
        return self._layout.root

    @property
    def client_home(self) -> Path:
        """HOME of the client processes."""
        return self._layout.client_home

    def install(self) -> bool:
        """Install the Debian packages that are missing; tells whether there were any.

        Raises:
            LabError: this Python lacks the emulator.
        """
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
            raise LabError("the AWS lab needs moto with its server: pip install 'moto[ec2,iam,s3,server,sts]'")
        return install_packages(PACKAGES_BY_PROGRAM, what="the AWS lab")

    def up(self) -> None:
        """Open the account, after ending what a crashed lab left behind.

        Raises:
            LabError: another lab is up, or a daemon did not start.
        """
        try:
            self._take_lock()
            for folder in self._layout.folders():
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
            prepare_cache()
            write_client_home(self._layout)
            self._daemons = start_daemons(self._layout, self._port, self._emulator_port)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End all that the lab started; harmless when nothing is up."""
        if self._lock is not None:
            self.api_stop()
            _end_lab(self._layout)
            for process in self._daemons:
                process.wait(timeout=10)
            self._daemons = []
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None
        if not self._keeps_root:
            _remove_fresh_root(self.root)

    def environment(self) -> dict[str, str]:
        """Give the environment under which `sky` or `tunefare` must run to stay in the lab."""
        return client_environment(self._layout, api_port=self._api_port, cloud_port=self._port)

    def api_stop(self) -> None:
        """End this lab's SkyPilot API server, if one runs."""
        stop_api_server(self.environment())

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

    def api_servers(self) -> set[int]:
        """Pids of SkyPilot's API server; none where it does not run."""
        return find_api_servers(self._layout)

    def kill_api_server(self) -> bool:
        """SIGKILL to SkyPilot's API server, as when memory runs out; False: there was none."""
        return kill_api_server(self._layout)

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

    def _take_lock(self) -> None:
        lock = LOCK_FILE.open("a+")
        lock.seek(0)
        previous_root = lock.read().strip()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            lock.close()
            raise LabError(f"another AWS lab is up on this machine, in {previous_root}") from e
        if previous_root:
            _end_lab(Layout(Path(previous_root)))
            _remove_fresh_root(Path(previous_root))
        lock.truncate(0)
        lock.write(f"{self.root}\n")
        lock.flush()
        self._lock = lock


def _end_lab(layout: Layout) -> None:
    # The machines end with the hypervisor; it comes first, as its first processes bear no marker of their own.
    end_processes(find_daemons(layout))
    end_processes(find_marked(layout))


def _remove_fresh_root(root: Path) -> None:
    """Remove a root that a lab made for itself; a root that a caller chose is the caller's."""
    if root.parent == Path("/tmp") and root.name.startswith(_FRESH_PREFIX):
        shutil.rmtree(root, ignore_errors=True)
