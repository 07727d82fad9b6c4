"""The recipes of docs/ci.md, run as they stand: every shell step of the Action, and the hooks of pre-commit, in a
repository with two commits. Only `gh` and `pip` are stand-ins, since both would need the network."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.cli import Done, write_news, write_run_file
from tests.support.diff_stage import committed, git

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(encoding="utf-8"), re.DOTALL)
ON_A_BRANCH = (
    "steps.compare.outputs.comment == 'yes' && github.event.pull_request.head.repo.full_name == github.repository"
)
EXPRESSIONS = {"github.token": "secret", "github.event.pull_request.number": "17"}


def loaded(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


WORKFLOW, PRE_COMMIT = map(loaded, BLOCKS)
HOOKS = {hook["id"]: hook for hook in loaded((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}


@dataclass(kw_only=True)
class Runner:
    """Runs the steps of the job as GitHub's runner does: `bash -e`, outputs and summary in files."""

    folder: Path
    repository: Path
    comments: str = ""
    """Ids of earlier comments, as `gh api` would list them."""
    outputs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        programs = self.folder / "bin"
        programs.mkdir()
        said = self.folder / "said"
        executable(programs / "tunefare", f'exec {shlex.quote(sys.executable)} -P -m manager.cli "$@"')
        executable(programs / "python", f'echo "python $*" >> {said}')
        executable(programs / "gh", f'echo "gh $*" >> {said}; case "$*" in *--paginate*) printf "$COMMENTS";; esac')

    def run_job(self) -> int:
        """All steps until one fails; gives its exit code."""
        for step in WORKFLOW["jobs"]["diff"]["steps"]:
            if "run" in step and self._is_wanted(step):
                done = self._run(step)
                if done.code != 0:
                    return done.code
        return 0

    @property
    def said(self) -> str:
        """Command lines of the stand-ins."""
        file = self.folder / "said"
        return file.read_text() if file.exists() else ""

    @property
    def summary(self) -> str:
        """Of the job."""
        return (self.folder / "summary").read_text()

    def _is_wanted(self, step: Mapping[str, Any]) -> bool:
        condition = step.get("if")
        assert condition in (None, ON_A_BRANCH), "another condition needs another test"
        return condition is None or self.outputs.get("comment") == "yes"

    def _run(self, step: Mapping[str, Any]) -> Done:
        output, script = self.folder / "output", self.folder / "step.sh"
        script.write_text(step["run"])
        output.write_text("")
        environment = {
            **command_environment(self.folder),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "GITHUB_REPOSITORY": "owner/project",
            "RUNNER_TEMP": str(self.folder),
            "COMMENTS": self.comments,
            **WORKFLOW["env"],
            **{name: self._filled(str(value)) for name, value in step.get("env", {}).items()},
        }
        done = shell(["bash", "-e", str(script)], self.repository, environment)
        if "id" in step:
            lines = output.read_text().splitlines()
            self.outputs |= {key: value for key, _, value in (line.partition("=") for line in lines)}
        return done

    def _filled(self, text: str) -> str:
        known = {**EXPRESSIONS, **{f"steps.compare.outputs.{key}": value for key, value in self.outputs.items()}}
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found.group(1)], text)


def executable(file: Path, body: str) -> None:
    file.write_text(f"#!/bin/bash\n{body}\n")
    file.chmod(0o755)


def command_environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "TUNEFARE_HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
    }


def shell(command: list[str], folder: Path, environment: Mapping[str, str]) -> Done:
    done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=240)
    return Done(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """With a repository whose first commit has a run file in a folder of its own, and its data."""
    runs = tmp_path / "repository" / "runs"
    runs.mkdir(parents=True)
    write_news(runs)
    write_run(runs, epochs=2)
    committed(runs.parent, "before")
    return Runner(folder=tmp_path, repository=runs.parent)


def write_run(folder: Path, *, epochs: int, **changes: Any) -> Path:
    return write_run_file(
        folder,
        model="bert-base-uncased",
        data="news.csv",
        where={"clouds": ["aws"]},
        training={"epochs": epochs},
        **changes,
    )


def test_a_dearer_run_is_commented_and_fails(runner: Runner) -> None:
    write_run(runner.repository / "runs", epochs=400)
    committed(runner.repository, "dearer")
    assert runner.run_job() == 6
    text = (runner.repository / "fare.md").read_text()
    assert text.startswith("<!-- tunefare diff -->\n### tunefare: <code>runs/tunefare.yaml</code>\n")
    assert "| training.epochs | <code>2</code> | <code>400</code> |" in text
    assert "**Over a limit:** expected dollars rise by" in text
    assert str(runner.folder) not in text
    assert runner.summary == text
    assert runner.said.splitlines()[-1] == "gh pr comment 17 --repo owner/project --body-file fare.md"
    assert "python -m pip install --quiet tunefare @ git+https://" in runner.said


def test_a_later_push_replaces_the_comment(runner: Runner) -> None:
    runner.comments = "41\\n42\\n"
    write_run(runner.repository / "runs", epochs=2, name="renamed")
    committed(runner.repository, "renamed")
    assert runner.run_job() == 0
    last = runner.said.splitlines()[-1]
    assert last == "gh api --silent --method PATCH repos/owner/project/issues/comments/41 --field body=@fare.md"


def test_a_new_run_and_a_name_with_spaces(runner: Runner) -> None:
    write_run(runner.repository / "runs", epochs=1).rename(runner.repository / "runs" / "my new.tunefare.yaml")
    git(runner.repository, "checkout", "--", "runs/tunefare.yaml")
    committed(runner.repository, "added")
    assert runner.run_job() == 0
    assert "### tunefare: <code>runs/my new.tunefare.yaml</code>" in runner.summary
    assert "no plan before" in runner.summary


def test_without_a_changed_run_nothing_is_said(runner: Runner) -> None:
    (runner.repository / "README").write_text("words\n")
    git(runner.repository, "rm", "--quiet", "runs/tunefare.yaml")
    committed(runner.repository, "no run any more")
    assert runner.run_job() == 0
    assert "gh " not in runner.said


def test_a_broken_run_file_fails_without_a_comment(runner: Runner) -> None:
    (runner.repository / "runs" / "tunefare.yaml").write_text("schema: 1\nmodle: x\n")
    committed(runner.repository, "broken")
    assert runner.run_job() == 2
    assert "gh " not in runner.said


def test_a_base_that_was_not_fetched_fails(runner: Runner) -> None:
    """With one commit there is no `HEAD^1`: what cannot be compared must not pass."""
    assert runner.run_job() != 0


def test_actions_are_githubs_own_and_pinned() -> None:
    uses = [step["uses"] for step in WORKFLOW["jobs"]["diff"]["steps"] if "uses" in step]
    assert len(uses) == 2
    for name in uses:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", name)
    assert WORKFLOW["permissions"] == {"contents": "read", "pull-requests": "write"}


def test_nothing_of_the_pull_request_is_pasted_into_a_script() -> None:
    """Expressions stand in `env` alone: one in a script would run what a title or a branch is called."""
    assert all("${{" not in step.get("run", "") for step in WORKFLOW["jobs"]["diff"]["steps"])


def hook(runner: Runner, name: str, files: list[str]) -> Done:
    """The hook as pre-commit runs it: entry, arguments of the user's file, staged files."""
    used = {entry["id"]: entry for repo in PRE_COMMIT["repos"] for entry in repo["hooks"]}
    known = HOOKS[name]
    assert known["language"] == "python"
    for file in files:
        assert re.search(known["files"], file)
    command = [*shlex.split(known["entry"]), *used[name].get("args", known.get("args", [])), *files]
    return shell(command, runner.repository, command_environment(runner.folder))


def test_the_hooks_of_the_recipe_exist() -> None:
    assert {entry["id"] for repo in PRE_COMMIT["repos"] for entry in repo["hooks"]} == set(HOOKS)
    for file in ("tunefare.yaml", "runs/tunefare.yml", "runs/news.tunefare.yaml"):
        assert all(re.search(known["files"], file) for known in HOOKS.values())
    assert not any(re.search(known["files"], "mytunefare.yaml.bak") for known in HOOKS.values())


def test_the_hook_stops_a_dear_commit(runner: Runner) -> None:
    write_run(runner.repository / "runs", epochs=400)
    done = hook(runner, "tunefare-diff", ["runs/tunefare.yaml"])
    assert done.code == 6
    assert "over a limit: runs/tunefare.yaml: expected dollars rise" in done.stderr


def test_the_hook_lets_a_cheap_commit_pass_and_tells_of_it(runner: Runner) -> None:
    write_run(runner.repository / "runs", epochs=1)
    done = hook(runner, "tunefare-diff", ["runs/tunefare.yaml"])
    assert (done.code, done.stderr) == (0, "")
    assert "training.epochs" in done.stdout


def test_the_hook_takes_the_first_commit_of_all(runner: Runner) -> None:
    git(runner.repository, "update-ref", "-d", "HEAD")
    done = hook(runner, "tunefare-diff", ["runs/tunefare.yaml"])
    assert done.code == 0, done.stderr
    assert "no plan before" in done.stdout


def test_git_itself_runs_the_hook(runner: Runner) -> None:
    """In a second worktree, where git tells its hooks of folders that are not those of the run file."""
    tree = runner.folder / "tree"
    git(runner.repository, "worktree", "add", "--quiet", str(tree))
    hooks = runner.folder / "hooks"
    hooks.mkdir()
    executable(
        hooks / "pre-commit", f"exec {HOOKS['tunefare-diff']['entry']} --fail-over-percent 10 runs/tunefare.yaml"
    )
    write_run(tree / "runs", epochs=400)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    command = ["git", "-c", f"core.hooksPath={hooks}", *identity, "commit", "--all", "--message", "dear"]
    done = shell(command, tree, command_environment(runner.folder))
    assert done.code == 1
    assert "over a limit: runs/tunefare.yaml: expected dollars rise" in done.stderr


def test_the_hook_checks_run_files(runner: Runner) -> None:
    good = hook(runner, "tunefare-check", ["runs/tunefare.yaml"])
    assert good.code == 0, good.stderr
    (runner.repository / "runs" / "bad.tunefare.yaml").write_text("schema: 1\nmodle: x\n")
    bad = hook(runner, "tunefare-check", ["runs/tunefare.yaml", "runs/bad.tunefare.yaml"])
    assert bad.code == 2
    assert "bad.tunefare.yaml:2" in bad.stderr
