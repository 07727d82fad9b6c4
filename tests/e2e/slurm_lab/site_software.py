"""What an administrator would have installed on the site: packages, the job user, uv.

Owns the machine-wide part of the lab: Debian packages and one Unix user stay after the lab is down,
and so does the job user's uv cache, which makes a second set-up take seconds.
"""

import contextlib
import os
import pwd
import shutil
from pathlib import Path

from tests.e2e.engine_lab.own_uv import copy_uv, write_uv_wrapper
from tests.e2e.engine_lab.processes import run_command
from tests.e2e.engine_lab.templating import write_template

from .layout import CA_BUNDLE, JOB_USER, TEMPLATES, Layout

SITE_PYTHON = Path("/usr/bin/python3.11")
"""Debian 12's interpreter: outside anybody's home, so the job user can run it."""

PACKAGES_BY_PROGRAM = {
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "munged": "munge",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "socat": "socat",
    "nc": "netcat-openbsd",
    "unshare": "util-linux",
    "mknod": "coreutils",
    str(SITE_PYTHON): "python3.11",
}
"""What the site's commands need, and the Debian package that has it."""


def prepare_job_user(layout: Layout) -> None:
    """Make the job user and their home with the client's key in it."""
    try:
        pwd.getpwnam(JOB_USER)
    except KeyError:
        run_command(["useradd", "--no-create-home", "--shell", "/bin/bash", JOB_USER])
    # "*" is no password, but not "locked", which an sshd without PAM refuses.
    run_command(["usermod", "--password", "*", "--home", str(layout.job_home), JOB_USER])
    write_template(
        TEMPLATES / "profile.sh",
        layout.job_home / ".profile",
        site=layout.site,
        ca_bundle=CA_BUNDLE,
        uv_cache=uv_cache_folder(),
        find_links=_find_links(),
    )
    (layout.job_home / ".bashrc").touch()
    ssh = layout.job_home / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    public_key = layout.ssh_key.with_suffix(".pub").read_text()
    keys = ssh / "authorized_keys"
    keys.write_text(public_key)
    keys.chmod(0o600)
    for path in (layout.job_home, *layout.job_home.rglob("*")):
        shutil.chown(path, JOB_USER, JOB_USER)


def prepare_uv(layout: Layout) -> None:
    """Copy uv to where every user of the site can run it.

    Raises:
        LabError: there is no uv.
    """
    binary = layout.site / "libexec" / "uv"
    copy_uv(binary)
    write_uv_wrapper(layout.site / "bin" / "uv", uv=binary)


def remove_temporary_files() -> None:
    """Remove what SkyPilot left in the machine's /tmp as the job user; the uv cache stays."""
    try:
        uid = pwd.getpwnam(JOB_USER).pw_uid
    except KeyError:
        return
    for path in Path("/tmp").iterdir():
        with contextlib.suppress(OSError):
            if path.lstat().st_uid != uid or path == uv_cache_folder():
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def uv_cache_folder() -> Path:
    """Give the job user's uv cache: the folder that SkyPilot picks for its own runtime on Slurm."""
    return Path("/tmp") / f"uv_cache_{pwd.getpwnam(JOB_USER).pw_uid}"


def _find_links() -> str:
    """Hand on this machine's folders of wheels; pip separates them by blanks, uv by commas."""
    if links := os.environ.get("UV_FIND_LINKS"):
        return links
    return ",".join(os.environ.get("PIP_FIND_LINKS", "").split())
