"""The user's side: HOME with catalogs and SkyPilot's configuration, credentials, address of the cloud."""

from pathlib import Path

import yaml

from tests.e2e.engine_lab.sky_client import sky_environment
from tests.support.audited.sitecustomize import HOOK_VARIABLE

from .catalogs import write_catalogs
from .hooks.network_probe import PROBE_VARIABLE
from .layout import CLIENT_KEY_ID, Layout

_HOOK = Path(__file__).parent / "hooks" / "network_probe.py"


def write_client_home(layout: Layout) -> None:
    """Write the files that SkyPilot reads before it does anything."""
    sky = layout.client_home / ".sky"
    write_catalogs(sky / "catalogs" / "v8")
    write_config(layout, manages_jobs=False)


def write_config(layout: Layout, *, manages_jobs: bool) -> None:
    """Write SkyPilot's configuration; an API server that runs does not read it again.

    Args:
        layout: of the lab.
        manages_jobs: the API server has the controllers of managed jobs in it; without them a managed job would rent a
            machine for its controller.
    """
    config: dict[str, object] = {"allowed_clouds": ["aws"]}
    if manages_jobs:
        config["jobs"] = {"controller": {"consolidation_mode": True}}
    (layout.client_home / ".sky" / "config.yaml").write_text(yaml.safe_dump(config))


def client_environment(layout: Layout, *, api_port: int, cloud_port: int) -> dict[str, str]:
    """Give the whole environment of a client process; see `sky_environment`."""
    return sky_environment(layout, home=layout.client_home, tmp=layout.client_tmp, api_port=api_port) | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{cloud_port}",
        "AWS_ACCESS_KEY_ID": CLIENT_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": "lab",
        "AWS_DEFAULT_REGION": "us-east-1",
        # The controllers of managed jobs ask public addresses whether there is a network.
        HOOK_VARIABLE: str(_HOOK),
        PROBE_VARIABLE: f"http://127.0.0.1:{cloud_port}/imds/",
    }
