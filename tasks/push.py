"""`python -m tasks.push < REQUEST`: a tuned model goes to the hub; JSON lines come back, the last one is the end.

    request   {"folder": "...", "repo": "ORG/NAME", "private": true, "update": false}
    answers   {"type": "progress", "text": "..."}
              {"type": "pushed", "url": "...", "commit": "...", "files": 7, "bytes": 90000000}
              {"type": "error", "message": "...", "hint": "..." or null}

Owns which files go: what a tuned model consists of, weights as safetensors alone, and no text in which a secret stands.
The token is the environment's (HF_TOKEN), else the one that `hf auth login` keeps; it is in no request and no answer.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.failures import TaskError
from tasks.protocol import FailureCode
from tasks.redaction import own_redactor

REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
"""ORG/NAME as the hub takes it; `..` and `--` are refused besides."""
ATTEMPTS = 4
"""At a hub that does not answer or answers 429 or 5xx; what has arrived is not sent again."""
PAUSE_S = 2.0
"""Before the second attempt; doubles with each."""
_TEXTS = frozenset({".json", ".md", ".txt", ".jinja", ".yaml", ".yml"})
_OTHERS = frozenset({".safetensors", ".model", ".tiktoken", ".spm"})
_TEXT_BYTES = 32_000_000
"""Longest text in which is looked for secrets; tokenizers have the longest."""
Say = Callable[[dict[str, Any]], None]


def main() -> int:
    """Carry out the request of standard input; the exit status says whether it was."""
    # What libraries print must not be taken for an answer.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        out.write(json.dumps(own_redactor().data(answer)) + "\n")
        out.flush()

    try:
        request = json.load(sys.stdin)
        say(push(Path(request["folder"]), request["repo"], request["private"], request["update"], say))
    except TaskError as error:
        say({"type": "error", "message": error.message, "hint": error.hint})
        return 1
    except Exception as error:  # The rim: a defect is told as an answer too.
        say({"type": "error", "message": f"{type(error).__name__}: {error}", "hint": None})
        return 1
    return 0


def push(folder: Path, repo: str, private: bool, update: bool, say: Say) -> dict[str, Any]:
    """Make the repository where there is none, send the files, and return the answer.

    Args:
        folder: of the tuned model, or of its adapter.
        repo: ORG/NAME.
        private: whether a new repository is private; a public one of that name is refused then.
        update: whether a repository that holds files already is written to.
        say: told of progress.

    Raises:
        TaskError: the folder holds what must not go, or the hub refused, in words.
    """
    if REPO.fullmatch(repo) is None or ".." in repo or "--" in repo:
        raise TaskError(FailureCode.BAD_JOB, f"{repo!r} is no repository of the hub.", hint="Name it ORG/NAME.")
    files = files_to_push(folder)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _push(folder, files, repo, private, update, say)
        except TaskError:
            raise
        except Exception as error:
            told, is_passing = _explained(error, repo)
            if not is_passing or attempt == ATTEMPTS:
                raise told from error
            pause_s = PAUSE_S * 2.0 ** (attempt - 1)
            say({"type": "progress", "text": f"{told.message} Attempt {attempt + 1} in {pause_s:g} s."})
            time.sleep(pause_s)
    raise AssertionError("the last attempt returns or raises")


def files_to_push(folder: Path) -> list[str]:
    """Names within the folder, in order.

    Raises:
        TaskError: there are no safetensors, or a text holds a secret.
    """
    root, redactor, found = folder.resolve(), own_redactor(), []
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        # A link could name any file of this machine.
        if file.is_symlink() or not file.is_file() or any(part.startswith(".") for part in Path(name).parts):
            continue
        if file.suffix in _TEXTS:
            text = file.read_bytes()[:_TEXT_BYTES].decode("utf-8", errors="replace")
            # A tokenizer's vocabulary is no prose: only secrets that are known are looked for in it.
            if (redactor.known(text) if name.endswith(".json") else redactor.text(text)) != text:
                raise TaskError(
                    FailureCode.BAD_JOB, f"{name} holds a secret, so nothing was sent.", hint="Take it out, push again."
                )
            found.append(name)
        elif file.suffix in _OTHERS:
            found.append(name)
    if not any(name.endswith(".safetensors") for name in found):
        raise TaskError(
            FailureCode.MODEL_NOT_FOUND,
            f"{folder} holds no tuned model (*.safetensors).",
            hint="Weights that are pickled (*.bin, *.pt) are not pushed.",
        )
    return found


def _push(folder: Path, files: list[str], repo: str, private: bool, update: bool, say: Say) -> dict[str, Any]:
    # Deferred: heavy, and its settings are read at its import.
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if get_token() is None:
        raise TaskError(
            FailureCode.BAD_JOB,
            "Nobody is logged in to the hub; nothing was sent.",
            hint="Set HF_TOKEN to a token that may write, or run `hf auth login`.",
        )
    api = HfApi()
    made = api.create_repo(repo, private=private, exist_ok=True)
    there = api.model_info(made.repo_id)
    if private and there.private is False:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"{repo} exists and is public; nothing was sent.",
            hint="Push with --public, or to another name.",
        )
    held = {entry.rfilename for entry in there.siblings or ()} - {".gitattributes"}
    if held and not update:
        raise TaskError(
            FailureCode.BAD_JOB,
            f"{repo} holds {len(held)} files already; nothing was sent.",
            hint="Push with --update to write over them, or to another name.",
        )
    sizes = {name: (folder / name).stat().st_size for name in files}
    say({"type": "progress", "text": f"sending {len(files)} files, {sum(sizes.values()):,} bytes, to {repo}"})
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(folder / name)) for name in files]
    commit = api.create_commit(made.repo_id, operations, commit_message="Push a model tuned with tunefare")
    return {
        "type": "pushed",
        "url": str(made),
        "commit": commit.oid,
        "files": len(files),
        "bytes": sum(sizes.values()),
    }


def _explained(error: Exception, repo: str) -> tuple[TaskError, bool]:
    """What an error of the hub's client means, and whether it may pass by itself."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError  # as above

    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
    code, host = FailureCode.INTERNAL, os.environ.get("HF_ENDPOINT", "the hub")
    if status == 401 or isinstance(error, LocalTokenNotFoundError):
        told = TaskError(code, "The hub does not take the token.", hint="Set HF_TOKEN to one that may write.")
    elif status == 403:
        told = TaskError(code, f"The token may not write to {repo}.", hint="It needs the right to write there.")
    elif status == 404:
        told = TaskError(code, f"The hub knows no {repo}, or does not show it.", hint="Check the name and the token.")
    elif status is not None and (status == 429 or status >= 500):
        return TaskError(code, f"The hub answered {status}.", hint="Try again later."), True
    elif status is None and _is_network(error):
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return TaskError(code, f"{host} cannot be reached: {reason}.", hint="Check the network."), True
    else:
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        told = TaskError(code, f"The push failed: {reason}", hint=None)
    return told, False


def _is_network(error: BaseException | None) -> bool:
    """Whether a connection failed: `requests`, `httpx` and `urllib3` have classes of their own for it."""
    while error is not None:
        names = {kind.__name__ for kind in type(error).__mro__}
        if names & {"ConnectionError", "TransportError", "Timeout", "TimeoutError", "HTTPError", "ProtocolError"}:
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
