"""How the worker process asks a provider past SkyPilot's tables; a part of `manager.launch.sky_backend`.

SkyPilot is imported inside the functions, and does the asking.
"""

from __future__ import annotations

import json
from typing import Any


def provider_facts(handle: Any) -> dict[str, Any] | None:
    """How to ask the provider itself about a cluster; None: SkyPilot does not know."""
    from sky import global_user_state

    if handle is None or handle.cluster_yaml is None:
        return None
    config = global_user_state.get_cluster_yaml_dict(handle.cluster_yaml)
    facts: dict[str, Any] = {
        "name": repr(handle.launched_resources.cloud).lower(),
        "name_on_cloud": handle.cluster_name_on_cloud,
        "config": config["provider"],
    }
    return dict(json.loads(json.dumps(facts, default=str)))


def slurm_facts(cluster: str, slurm_cluster: str) -> dict[str, Any]:
    """How to ask a Slurm cluster about a job that SkyPilot knows no more."""
    from sky import clouds
    from sky.provision.slurm import utils as slurm_utils
    from sky.utils import common_utils

    ssh = slurm_utils.get_slurm_ssh_config().lookup(slurm_cluster)
    config = {
        "cluster": slurm_cluster,
        "slurm_user": slurm_utils.get_submit_user(slurm_cluster),
        "ssh": {
            "hostname": ssh["hostname"],
            "port": ssh.get("port", 22),
            "user": ssh["user"],
            "private_key": slurm_utils.get_identity_file(ssh),
            "proxycommand": ssh.get("proxycommand"),
            "proxyjump": ssh.get("proxyjump"),
            "identities_only": slurm_utils.get_identities_only(ssh),
        },
    }
    name = common_utils.make_cluster_name_on_cloud(cluster, clouds.Slurm.max_cluster_name_length())
    return {"name": "slurm", "name_on_cloud": name, "config": config}


def instances_of(cluster: str, known: dict[str, Any]) -> dict[str, str]:
    """Machines that the provider says are there, with their states."""
    from sky import provision

    found = provision.query_instances(
        known["name"], cluster, known["name_on_cloud"], known["config"], non_terminated_only=True
    )
    return {str(name): str(getattr(state[0], "value", state[0])) for name, state in found.items()}
