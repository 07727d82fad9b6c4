"""The SkyPilot client's side: its HOME, its prices, its environment, its API server.

Owns what a client process must be given so that all that SkyPilot writes stays in the lab's folder.
SkyPilot is never imported here: the tests run it in processes of their own.
"""

from tests.e2e.engine_lab.sky_client import sky_environment
from tests.e2e.engine_lab.templating import write_template

from .layout import CLUSTER_NAME, JOB_USER, SSH_PORT, TEMPLATES, Layout
from .partitions import PARTITIONS


def write_client_home(layout: Layout, *, provision_timeout_s: int) -> None:
    """Write the files that SkyPilot reads before it does anything."""
    home = layout.client_home
    layout.client_tmp.mkdir(exist_ok=True)
    (home / ".ssh").mkdir(mode=0o700, parents=True, exist_ok=True)
    write_template(
        TEMPLATES / "ssh_client_config",
        home / ".slurm" / "config",
        cluster_name=CLUSTER_NAME,
        ssh_port=SSH_PORT,
        job_user=JOB_USER,
        ssh_key=layout.ssh_key,
    )
    write_template(
        TEMPLATES / "sky_config.yaml",
        home / ".sky" / "config.yaml",
        provision_timeout_s=provision_timeout_s,
        cluster_name=CLUSTER_NAME,
        node_tmp=layout.node_tmp,
        prices="\n".join(_price_lines()),
    )
    # SkyPilot fetches its list of accelerator names only where it has none.
    names = home / ".sky" / "catalogs" / "v8" / "common" / "accelerators.csv"
    names.parent.mkdir(parents=True, exist_ok=True)
    names.write_text("AcceleratorName,Clouds\n" + "".join(f"{n},\"['Slurm']\"\n" for n in _gpus()))


def client_environment(layout: Layout, *, api_port: int) -> dict[str, str]:
    """Give the whole environment of a client process.

    The first client starts the API server, which keeps this environment, and the client's working
    directory as the head of its module path: run clients in a folder without Python files.
    """
    return sky_environment(layout, home=layout.client_home, tmp=layout.client_tmp, api_port=api_port) | {
        "SLURM_CONF": str(layout.slurm_conf)
    }


def _gpus() -> list[str]:
    return sorted({partition.gpu for partition in PARTITIONS if partition.gpu})


def _price_lines() -> list[str]:
    return [
        f"        {p.name}: {{pricing: {{accelerators: {{{p.gpu}: {p.price_usd_per_gpu_hour}}}}}}}"
        for p in PARTITIONS
        if p.gpu
    ]
