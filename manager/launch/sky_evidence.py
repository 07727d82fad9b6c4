"""What is left of a run on SkyPilot: who is asked, and what the answers amount to.

Owns the questions about a plain cluster and the words of evidence; a managed job's are in `managed_answers`. Nothing is
ended here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from manager.launch.aws_end import ASKED, left_on_aws, was_on_aws
from manager.launch.aws_inventory import CLOUD
from manager.launch.engine import Evidence, Handle
from manager.launch.inventory import AskedInventory, Found
from manager.launch.sky_attempt import Attempt, asked_for_elsewhere, came_through, read_attempt
from manager.launch.sky_worker import SkyPilotError
from manager.prices.slurm import SLURM

Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""The worker's answer to one question."""


def ask_what_is_left(handle: Handle, ask: Ask, aws: AskedInventory, *, asked_at_s: float) -> Evidence:
    """Ask SkyPilot with a forced refresh, and each provider of an attempt where it is known how.

    Args:
        handle: of the run.
        ask: the worker's answer to one question about what is left; raises SkyPilotError.
        aws: asked itself, where an attempt was there.
        asked_at_s: Unix time.
    """
    attempt = read_attempt(Path(handle.run_dir))
    direct = None
    if attempt is not None and was_on_aws(attempt):
        direct = left_on_aws(aws, handle.details["run_id"], attempt)
    try:
        answer = ask(provider_question(attempt))
    except SkyPilotError as error:
        return no_answer(asked_at_s, error, direct)
    elsewhere = asked_for_elsewhere(handle)
    was_launched = attempt is not None or elsewhere is not None or came_through(handle)
    told_by_aws = attempt is not None and attempt.cloud == CLOUD
    return evidence_of(
        handle.name,
        asked_at_s,
        answer,
        was_launched=was_launched and not told_by_aws,
        direct=direct,
        elsewhere=elsewhere,
        earlier=[_answered(ask, question) for question in earlier_questions(attempt)],
    )


def _answered(ask: Ask, question: dict[str, Any] | None) -> dict[str, Any] | None:
    """The answer about an earlier attempt; None: there is nothing to ask, or nobody answers."""
    try:
        return None if question is None else ask(question)
    except SkyPilotError:
        return None


def evidence_of(
    name: str,
    asked_at_s: float,
    answer: dict[str, Any],
    *,
    was_launched: bool,
    direct: Found | None = None,
    elsewhere: str | None = None,
    earlier: Sequence[dict[str, Any] | None] = (),
) -> Evidence:
    """What the answers amount to; confirmed only when nobody knows of anything left.

    Args:
        name: of the cluster.
        asked_at_s: Unix time.
        answer: the worker's.
        was_launched: whether there may have been a machine that only `answer` tells of; then SkyPilot's word alone
            confirms nothing.
        direct: what AWS itself answered; None: the run was never there.
        elsewhere: machine that the launch was asked for on, where nothing of it is known here; None: it is known here.
        earlier: the worker's answers to `earlier_questions`; None: nobody knows how to ask.
    """
    instances, provider = answer["instances"], answer["provider"]
    left = [f"launch request {request}" for request in answer["launches"]]
    if answer["cluster"] is not None:
        left.append(f"{name} ({answer['cluster']})")
    words = [f"SkyPilot has {'no' if answer['cluster'] is None else 'a'} cluster {name}"]
    if answer["launches"]:
        words.append(launches_words(answer["launches"]))
    if instances is not None:
        words.append(f"{provider} reports {_instances(instances)}")
    elif was_launched:
        words.append(not_asked_words(elsewhere))
    elif direct is None:
        words.append("no machine was launched that a provider could be asked about")
    told = {item.id for item in direct.left} if direct is not None else set()
    left += [f"{instance} ({state})" for instance, state in (instances or {}).items() if instance not in told]
    source = "SkyPilot status, forced refresh" + (f"; {provider}" if instances is not None else "")
    for other in earlier:
        found = None if other is None else other["instances"]
        if other is None or found is None:
            words.append("the provider of an earlier attempt could not be asked")
            continue
        words.append(f"{other['provider']}, asked of an earlier attempt, reports {_instances(found)}")
        left += [f"{instance} ({state})" for instance, state in found.items() if instance not in (instances or {})]
        source += f"; {other['provider']}"
    if direct is not None:
        left += [item.told for item in direct.left]
        words += direct_words(direct)
        source += f"; {ASKED}"
    heard = all(other is not None and other["instances"] is not None for other in earlier)
    answered = heard and (instances is not None or not was_launched)
    return Evidence(
        confirmed=not left and answered and (direct is None or not direct.silent),
        asked_at_s=asked_at_s,
        source=source,
        answer="; ".join(words),
        left=tuple(left),
    )


def provider_question(attempt: Attempt | None) -> dict[str, Any]:
    """What the worker needs to ask the provider of an attempt."""
    found: dict[str, Any] = {"provider": None if attempt is None else attempt.provider}
    # Slurm can be asked by the cluster's name alone, but must not answer for another provider.
    if attempt is not None and attempt.cloud == SLURM and attempt.region is not None:
        found["slurm_cluster"] = attempt.region
    return found


def earlier_questions(attempt: Attempt | None) -> list[dict[str, Any] | None]:
    """What the worker is asked about attempts before the latest, beyond AWS, which is asked itself; None: nobody knows
    how to ask about one of them."""
    asked = [provider_question(attempt)]
    is_silent = False
    for one in () if attempt is None else attempt.earlier:
        question = provider_question(one)
        if one.cloud == CLOUD or question in asked[1:] or (question == asked[0] and question["provider"] is not None):
            continue
        if any(value is not None for value in question.values()):
            asked.append(question)
        elif not _is_known_at(one, attempt):
            is_silent = True
    return [*({**question, "is_earlier": True} for question in asked[1:]), *([None] if is_silent else [])]


def _is_known_at(one: Attempt, latest: Attempt | None) -> bool:
    """Whether another attempt at the same place tells how to ask there: clusters of a run have one name.

    Where the facts name a zone, SkyPilot asks that zone alone, and the attempt may have come to another.
    """
    for other in () if latest is None else latest.all:
        is_there = (other.cloud, other.region) == (one.cloud, one.region)
        if (
            is_there
            and other.provider is not None
            and not (other.provider.get("config") or {}).get("availability_zone")
        ):
            return True
    return False


def no_answer(asked_at_s: float, error: SkyPilotError, direct: Found | None) -> Evidence:
    """Evidence where SkyPilot did not answer: never confirmed, for it may still be launching; AWS's word is added."""
    return Evidence(
        confirmed=False,
        asked_at_s=asked_at_s,
        source="SkyPilot status, forced refresh" + ("" if direct is None else f"; {ASKED}"),
        answer="; ".join([f"no answer: {error.message}", *([] if direct is None else direct_words(direct))]),
        left=() if direct is None else tuple(item.told for item in direct.left),
    )


def _instances(found: dict[str, str]) -> str:
    return "none" if not found else "1 instance" if len(found) == 1 else f"{len(found)} instances"


def launches_words(launches: Sequence[str]) -> str:
    """That SkyPilot was asked for machines and has not answered yet."""
    return f"{len(launches)} launch requests are unfinished"


def not_asked_words(elsewhere: str | None) -> str:
    """Why no provider could be asked about the machine.

    Args:
        elsewhere: as for `evidence_of`.
    """
    if elsewhere is None:
        return "the provider could not be asked: SkyPilot no longer knows how"
    return (
        f"the provider could not be asked: the launch was asked for on {elsewhere} and nothing of it is known here; "
        f"`tunefare reconcile` there can ask"
    )


def direct_words(direct: Found) -> list[str]:
    """What AWS itself said, in words."""
    words = [f"{place} did not answer: {reason}" for place, reason in direct.silent.items()]
    kinds = Counter(str(item.kind).replace("_", " ") for item in direct.left)
    if kinds:
        words.append(f"AWS itself reports {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}")
    elif not direct.silent:
        words.append("AWS itself reports no instance, volume, address or spot request of the run")
    words += [f"{item.id} is {item.state}" for item in direct.items if item.is_going]
    return words
