"""`python -m tests.e2e.aws_lab.hypervisor ROOT PORT EMULATOR_PORT`: a machine for each instance of the account.

Owns the machines' processes: boots what the account has as pending or running, kills what it has no longer, and tells
the account when a machine has shut itself down. Asks the emulator past the proxy, whose rules do not stop it.
"""

import base64
import binascii
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.engine_lab.sky_client import registry_environment
from tests.e2e.engine_lab.templating import write_template

from .addresses import to_loopback
from .image import KEPT, Image
from .layout import CACHE, TEMPLATES, Layout
from .machines import Instance, ec2, list_instances, shut_down
from .metadata import FACTS_FILE, PREFIX

_POLL_S = 0.5
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Hypervisor:
    """The machines that are up."""

    def __init__(self, layout: Layout, port: int, emulator_port: int) -> None:
        self._layout = layout
        self._port = port
        self._emulator_port = emulator_port
        self._machines: dict[str, subprocess.Popen[bytes]] = {}
        self._image = Image()

    def serve(self) -> None:
        """Follow the account until ended; each machine ends with this process."""
        while True:
            instances = {instance.instance_id: instance for instance in list_instances(self._emulator_port)}
            on = {name for name, instance in instances.items() if instance.state in ("pending", "running")}
            for name in set(self._machines) - on:
                self._kill(name)
            for name in sorted(on & set(self._machines)):
                if self._machines[name].poll() is not None:
                    shut_down(self._emulator_port, instances[name])
            for name in sorted(on - set(self._machines)):
                self._boot(instances[name])
            for process in self._machines.values():
                self._image.make_from(process.pid)
            time.sleep(_POLL_S)

    def end(self) -> None:
        """Kill all machines."""
        for name in list(self._machines):
            self._kill(name)
        self._image.abandon()

    def _boot(self, instance: Instance) -> None:
        folder = self._layout.machines / instance.instance_id
        (folder / "root").mkdir(parents=True, exist_ok=True)
        user, key = self._user_data(instance)
        (folder / "authorized_keys").write_text(f"{key}\n")
        facts = {
            "instance_id": instance.instance_id,
            "instance_type": instance.instance_type,
            "region": instance.region,
            "zone": instance.zone,
        }
        (folder / FACTS_FILE).write_text(json.dumps(facts))
        addresses = dict.fromkeys(to_loopback(address) for address in (instance.address, instance.private_address))
        write_template(
            TEMPLATES / "instance_sshd_config",
            folder / "sshd_config",
            listen="\n".join(f"ListenAddress {address}" for address in addresses),
            environment=" ".join(_assignments(self._environment(instance))),
        )
        script = folder / "boot.sh"
        write_template(
            TEMPLATES / "boot.sh",
            script,
            mode=0o755,
            folder=folder,
            cache=CACHE,
            image=self._image.folder,
            kept=" ".join(KEPT),
            user=shlex.quote(user),
            hidden=" ".join(shlex.quote(str(path)) for path in (Path.home(), Path(__file__).parents[3])),
        )
        with (self._layout.log / f"{instance.instance_id}.log").open("ab") as log:
            self._machines[instance.instance_id] = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": _PATH, "LC_ALL": "C.UTF-8", self._layout.marker: str(self._layout.root)},
                start_new_session=True,
            )
        _say(f"booted {instance.instance_id} {instance.instance_type} {instance.zone} {sorted(addresses)}")

    def _user_data(self, instance: Instance) -> tuple[str, str]:
        """User and public key that SkyPilot asks cloud-init to let in."""
        asked = ec2(self._emulator_port, instance.region).describe_instance_attribute(
            InstanceId=instance.instance_id, Attribute="userData"
        )
        text = _decoded(asked["UserData"].get("Value", ""))
        user, key = re.search(r"- name: (\S+)", text), re.search(r"ssh-\S+ \S+", text)
        return ("ubuntu" if user is None else user[1]), ("" if key is None else key[0])

    def _environment(self, instance: Instance) -> dict[str, str]:
        """What each process of the machine sees: the way to the cloud and to the package registries."""
        cloud = f"http://127.0.0.1:{self._port}"
        return registry_environment() | {
            "AWS_ENDPOINT_URL": cloud,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{cloud}{PREFIX}{instance.instance_id}",
            "AWS_DEFAULT_REGION": instance.region,
            # The machine's cores are this one's: what its Ray starts would get none beside other programs.
            "RAY_worker_niceness": "0",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_CACHE_DIR": "/var/cache/uv",
            "UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS") or ",".join(os.environ.get("PIP_FIND_LINKS", "").split()),
        }

    def _kill(self, name: str) -> None:
        process = self._machines.pop(name)
        # unshare's child is the machine's first process: with it ends the whole namespace.
        process.kill()
        process.wait()
        _say(f"killed {name}")


def _assignments(environment: dict[str, str]) -> list[str]:
    return [f'"{name}={value}"' for name, value in sorted(environment.items()) if value and '"' not in value]


def _decoded(text: str) -> str:
    """User data; the emulator hands it out encoded once or twice."""
    for _ in range(2):
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            break
    return text


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def main(root: str, port: str, emulator_port: str) -> None:
    """Serve until ended."""
    hypervisor = Hypervisor(Layout(Path(root)), int(port), int(emulator_port))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        hypervisor.serve()
    finally:
        hypervisor.end()


if __name__ == "__main__":
    main(*sys.argv[1:4])
