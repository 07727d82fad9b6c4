"""A file as it was in a revision of its git repository; `git` is asked, nothing is checked out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from manager.errors import UsageError

_TIMEOUT_S = 60
_HEAD = "HEAD"
_SET_FOR_HOOKS = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"})
"""What git tells its hooks, from the folder in which they start: wrong in the folder of a run file (githooks(5))."""


def version_of(file: Path, revision: str) -> str | None:
    """The text of the file in a revision; None when the revision does not have it, or nothing was committed yet.

    Raises:
        UsageError: no git, no repository, no such revision, or a file that is no text.
    """
    folder = file.absolute().parent
    # A revision that looks like an option must not become one.
    known = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if known.returncode != 0:
        if revision == _HEAD and _has_no_commit(folder):
            return None
        said = known.stderr.decode(errors="replace").strip()
        raise UsageError(
            f"git knows no revision {revision} in {folder}{f': {said}' if said else ''}",
            hint="fetch it; a GitHub Action needs `fetch-depth: 0` at actions/checkout",
        )
    commit = known.stdout.decode().strip()
    listed = _git(folder, "ls-tree", "--name-only", commit, "--", f"./{file.name}")
    if listed.returncode == 0 and not listed.stdout:
        return None
    shown = _git(folder, "show", f"{commit}:./{file.name}")
    if shown.returncode != 0:
        said = shown.stderr.decode(errors="replace").strip()
        raise UsageError(f"git cannot show {file} in {revision}: {said}", hint="give two files")
    try:
        return shown.stdout.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} in {revision} is no text in UTF-8", hint="a run file is YAML in UTF-8") from error


def _has_no_commit(folder: Path) -> bool:
    commits = _git(folder, "rev-list", "--all", "--max-count=1")
    return commits.returncode == 0 and not commits.stdout.strip()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _SET_FOR_HOOKS}
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, env=environment, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"git cannot be asked: {error}", hint="install git, or give two files") from error
