"""The sky engine: a run on a cluster of its own, through SkyPilot in a worker process.

Owns the order of things and what SkyPilot's answers mean. A cluster is found again by its name alone, which is fixed
before anything starts. Offers are tried one by one, not with SkyPilot's `ordered` fail-over: so each refusal has its
reason and each attempt its price, its start of billing and its time limit. Every way out of `submit` but success takes
the cluster down first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from manager.errors import EngineError
from manager.launch.aws_end import end_on_aws, last_end_on_aws, was_on_aws
from manager.launch.aws_inventory import AwsInventory
from manager.launch.engine import (
    LOG_FILE,
    Evidence,
    Handle,
    Launched,
    LaunchRequest,
    MachineNews,
    MachineState,
    MachineTime,
    MachineTimes,
)
from manager.launch.given_back import NOTHING_LEFT, is_waiting, machine_time, was_billed, with_cap_left
from manager.launch.inventory import AskedInventory
from manager.launch.kept_results import model_stays_in_bucket
from manager.launch.render import check_folder, cluster_name, remote_dir, render_task, script
from manager.launch.sky_answers import GONE, REFUSED, no_capacity, offer_taken, refusal, share_s, state_of
from manager.launch.sky_attempt import (
    asked_for,
    asked_for_elsewhere,
    begin_attempt,
    came_through,
    close_attempt,
    close_broken,
    cloud_of,
    end_attempt,
    is_open,
    keep_provider,
    read_attempt,
    reopen_attempt,
    reserved_here,
)
from manager.launch.sky_down import is_told_of, take_down
from manager.launch.sky_events import EventMerger
from manager.launch.sky_evidence import ask_what_is_left
from manager.launch.sky_facts import LAST_EVENTS_TIMEOUT_S, keep_facts, knew_none, states_of
from manager.launch.sky_stream import Follower
from manager.launch.sky_upload import stage_upload, write_job
from manager.launch.sky_worker import SkyPilotError, SkyWorker
from manager.prices.offer import Offer
from tasks.protocol import ADAPTER_DIR, EVENTS_FILE, MANIFEST_FILE, MODEL_DIR, Event
from tasks.redaction import redact_file

DEADMAN_LOG = "deadman.log"
"""In the run's folder, there and here: what the dead-man timer on the machine did, and why."""
SKY_LOG_FILE = "sky.log"
"""In the run's folder: what SkyPilot said."""
QUERY_TIMEOUT_S = 90.0
FETCH_TIMEOUT_S = 86_400.0
"""Supervision waits as long as the plan says that it may take, and no longer."""
EVENTS_TIMEOUT_S = 180.0
CANCEL_POLL_S = 2.0
TASK_ENDED = frozenset({MachineState.SUCCEEDED, MachineState.FAILED, MachineState.SETUP_FAILED})


class SkyEngine:
    """Engine `sky`; see `manager.launch.engine.Engine` for the contract."""

    name = "sky"

    def __init__(
        self,
        *,
        worker: Callable[[Path], SkyWorker] = lambda log_path: SkyWorker(log_path=log_path),
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        aws: AskedInventory | None = None,
    ) -> None:
        """Args:
        worker: makes a worker that logs to the given file.
        clock: Unix time in seconds.
        sleep: waits that many seconds.
        aws: asked about runs there instead of the account that boto3 finds credentials for.
        """
        self._make_worker = worker
        self._clock = clock
        self._sleep = sleep
        self._aws = aws or AwsInventory()
        self._workers: dict[str, SkyWorker] = {}
        self._ended: dict[str, MachineState] = {}
        self._given_back: dict[str, list[MachineTime]] = {}
        self._may_have: set[str] = set()

    def reserve(self, request: LaunchRequest) -> Handle:
        """Fix the cluster's name; nothing is started.

        Raises:
            EngineError: the run id or the run's folder cannot be carried by SkyPilot.
        """
        run_dir = request.run_dir.resolve()
        check_folder(run_dir)
        return Handle(
            engine=self.name,
            run_dir=str(run_dir),
            name=cluster_name(request.run_id),
            details={"run_id": request.run_id, **reserved_here()},
        )

    def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
        """Launch on the first offer that has capacity; see Engine.submit."""
        deadline = time.monotonic() + request.launch_timeout_s
        failed: list[str] = []
        given_back = self._given_back.setdefault(handle.name, [])
        upload_dir = stage_upload(request)
        try:
            for index, offer in enumerate(request.offers):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    failed.append(f"{len(request.offers) - index} more offers were not tried")
                    break
                capped = with_cap_left(request, given_back)
                if capped is None:
                    failed.append(NOTHING_LEFT)
                    break
                limit_s = share_s(offer, left_s, len(request.offers) - index)
                started_at_s = self._clock()
                write_job(upload_dir, capped, offer, billing_started_s=started_at_s)
                task = render_task(capped, upload_dir=upload_dir, offers=[offer], billing_started_s=started_at_s)
                begin_attempt(Path(handle.run_dir), offer, at_s=started_at_s)
                try:
                    args = {"cluster": handle.name, "task": task}
                    answer = self._call(handle, "launch", args, timeout_s=max(limit_s, 1.0))
                except SkyPilotError as error:
                    if error.kind not in REFUSED and error.kind != "Timeout":
                        raise
                    failed.append(refusal(offer, error))
                    if (gone_s := self._give_up(handle, is_refused=error.kind in REFUSED)) is not None:
                        given_back.append(machine_time(offer, from_s=started_at_s, to_s=gone_s))
                else:
                    return self._launched(handle, offer, answer, started_at_s, failed)
        except BaseException as error:
            # Also on Ctrl-C: the server goes on with a launch whose client has gone.
            self._abandon(handle, error)
            raise
        raise no_capacity(request, failed, is_late=time.monotonic() >= deadline)

    def status(self, handle: Handle) -> MachineState:
        """SkyPilot's table and the job's state on the machine; the provider is asked about a machine that is silent."""
        # A job that has ended stays so, and until it is taken down each question costs seconds of its machine.
        if (ended := self._ended.get(handle.name)) is not None:
            return ended
        state = self._ask_status(handle)
        if state in TASK_ENDED:
            self._ended[handle.name] = state
        return state

    def _ask_status(self, handle: Handle) -> MachineState:
        args = {"cluster": handle.name, "job_id": handle.details.get("job_id")}
        try:
            return state_of(self._call(handle, "status", args, timeout_s=QUERY_TIMEOUT_S))
        except SkyPilotError:
            # The table says UP and the machine is silent: only the provider knows.
            try:
                return state_of(self._call(handle, "status", {**args, "refresh": True}, timeout_s=QUERY_TIMEOUT_S))
            except SkyPilotError:
                return MachineState.UNKNOWN

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str | MachineNews]:
        """Events and log lines until the task has ended; see Engine.stream."""
        merger = EventMerger(after_seq=after_seq)
        follower = Follower(
            worker=self._make_worker(self._log_path(handle)),
            status=lambda: self.status(handle),
            read_events=lambda: self._read_events(handle),
            sleep=self._sleep,
        )
        yield from follower.follow(handle.name, handle.details.get("job_id"), merger)

    def cancel(self, handle: Handle, *, grace_s: float) -> None:
        """SIGTERM to the training program; what has not ended after grace_s is ended through SkyPilot.

        Raises:
            EngineError: SkyPilot could not end the job.
        """
        deadline = time.monotonic() + grace_s
        try:
            asked = self._call(
                handle,
                "run",
                {
                    "cluster": handle.name,
                    "script": script("stop.sh"),
                    "env": {"TUNEFARE_RUN_ID": handle.details["run_id"]},
                },
                timeout_s=QUERY_TIMEOUT_S,
            )
            if asked["out"].strip() == "asked":
                while time.monotonic() < deadline:
                    if self.status(handle) not in (MachineState.RUNNING, MachineState.UNKNOWN):
                        return
                    self._sleep(CANCEL_POLL_S)
            args = {"cluster": handle.name, "job_id": handle.details.get("job_id")}
            self._call(handle, "cancel", args, timeout_s=QUERY_TIMEOUT_S)
        except SkyPilotError as error:
            if error.kind not in GONE and self.status(handle) is not MachineState.GONE:
                raise

    def fetch(self, handle: Handle) -> None:
        """Copy events, manifest, tuned model and log to the run's folder; what does not exist there is left out.

        Raises:
            EngineError: the machine is gone or cannot be reached.
        """
        remote, local = remote_dir(handle.details["run_id"]), Path(handle.run_dir)
        items = [(f"{remote}/{name}", str(local / name)) for name in (EVENTS_FILE, MANIFEST_FILE, DEADMAN_LOG)]
        # SkyPilot's log of the job, set-up included; the job's name is the cluster's.
        items.append((f"~/sky_logs/{handle.details.get('job_id', '*')}-{handle.name}/run.log", str(local / LOG_FILE)))
        # The weights come last: what is cut off is then the largest.
        if not model_stays_in_bucket(local):
            items += [(f"{remote}/{path}/", str(local / path)) for path in (f"{MODEL_DIR}/{ADAPTER_DIR}", MODEL_DIR)]
        try:
            self._call(handle, "fetch", {"cluster": handle.name, "items": items}, timeout_s=FETCH_TIMEOUT_S)
            with suppress(OSError):
                redact_file(local / LOG_FILE)
        except SkyPilotError as error:
            if error.kind not in GONE:
                raise
            raise EngineError(
                f"nothing more can be fetched: the machine of {handle.name} is gone",
                hint="What had been streamed until then is in the ledger.",
            ) from error

    def down(self, handle: Handle) -> None:
        """End unfinished launches of the cluster, then the cluster, then what AWS itself still has; no cluster is
        success.

        Raises:
            EngineError: SkyPilot took the cluster down in none of DOWN_ATTEMPTS attempts, nor was AWS asked to.
        """
        # Results that are still on their way home, for whom nobody waits any more, must not hold this up.
        if self._worker(handle).take_over():
            # The time is over, and SkyPilot needs some to start anew: the provider itself is asked before.
            self._end_at_provider(handle)
        attempt = read_attempt(Path(handle.run_dir))
        is_unbegun = not came_through(handle) and is_open(attempt)
        if not is_unbegun and (attempt is None or attempt.provider is None):
            keep_facts(self._worker(handle), handle)
        trouble: EngineError | None = None
        try:
            if is_unbegun:
                self._end_unbegun(handle, is_new=False)
            else:
                self._take_down(handle)
        except EngineError as error:
            trouble = error
        # What SkyPilot has lost sight of is still billed.
        refused = self._end_at_provider(handle)
        if trouble is not None and refused != ():
            raise trouble

    def evidence(self, handle: Handle) -> Evidence:
        """Ask SkyPilot with a forced refresh, and the provider itself where it is known how; see Engine.evidence."""

        def ask(question: dict[str, Any]) -> dict[str, Any]:
            return self._call(handle, "evidence", {"cluster": handle.name, **question}, timeout_s=QUERY_TIMEOUT_S)

        found = ask_what_is_left(handle, ask, self._aws, asked_at_s=self._clock())
        if found.left and not came_through(handle):
            # Whatever SkyPilot said of its end: it is billed on.
            reopen_attempt(Path(handle.run_dir))
        return found

    def ended_at_s(self, handle: Handle) -> float | None:
        """When a machine on AWS ended of itself, as EC2 says; see TellsEnd."""
        return last_end_on_aws(self._aws, handle.details["run_id"], read_attempt(Path(handle.run_dir)))

    def machines(self, handle: Handle) -> MachineTimes | None:
        """Of a launch that gave no task a start: those that it may have come to; see TellsMachines."""
        is_unknown = came_through(handle) or asked_for_elsewhere(handle) is not None
        return None if is_unknown else asked_for(Path(handle.run_dir))

    def given_back(self, handle: Handle) -> tuple[MachineTime, ...]:
        """Machines of attempts that gave no task a start; see TellsGivenBack."""
        return tuple(self._given_back.get(handle.name, ()))

    def close(self) -> None:
        """End the worker processes."""
        while self._workers:
            self._workers.popitem()[1].close()

    def _launched(
        self, handle: Handle, offer: Offer, answer: dict[str, Any], started_at_s: float, failed: list[str]
    ) -> Launched:
        if answer.get("provider") is not None:
            keep_provider(Path(handle.run_dir), answer["provider"])
        taken = {key: answer[key] for key in ("region", "zone", "instance_type", "price_usd_per_hour")}
        return Launched(
            handle=replace(handle, details={**handle.details, "job_id": answer["job_id"], "sky": taken}),
            offer=offer_taken(offer, answer),
            billing_started_at_s=started_at_s,
            failed_attempts=tuple(failed),
        )

    def _abandon(self, handle: Handle, reason: BaseException) -> None:
        self._worker(handle).kill()
        try:
            # Whose API server died may have a task at work by now. Who interrupts a launch waits for nothing.
            self._end_unbegun(handle, is_new=True, brings_events=isinstance(reason, Exception))
        except EngineError as error:
            reason.add_note(f"and the teardown failed: {error.message}")

    def _read_events(self, handle: Handle, *, timeout_s: float = EVENTS_TIMEOUT_S) -> bytes:
        """The events file of the machine, all of it; empty when there is none yet."""
        local = Path(handle.run_dir) / EVENTS_FILE
        source = f"{remote_dir(handle.details['run_id'])}/{EVENTS_FILE}"
        args = {"cluster": handle.name, "items": [(source, str(local))]}
        answer = self._call(handle, "fetch", args, timeout_s=timeout_s)
        return local.read_bytes() if answer["fetched"] else b""

    def _give_up(self, handle: Handle, *, is_refused: bool) -> float | None:
        """Take an attempt down that came to its end; Unix time until which its machine is billed, None: it had none.

        Raises:
            EngineError: as `down`.
        """
        run_dir, worker = Path(handle.run_dir), self._worker(handle)
        attempt, facts = read_attempt(run_dir), keep_facts(worker, handle)
        states = states_of(worker, handle, facts)
        if knew_none(attempt, facts, existed=self._take_down(handle)):
            end_attempt(run_dir)
            return None
        gone_s = self._clock() if was_billed(states, cloud_of(attempt), is_refused=is_refused) else None
        close_attempt(run_dir, gone_s=gone_s)
        return gone_s

    def _end_unbegun(self, handle: Handle, *, is_new: bool, brings_events: bool = False) -> None:
        """Take down a launch that broke; where it may have had a machine, that is billed until now.

        Args:
            handle: of the run.
            is_new: the launch has just been made: nobody need be asked again about one that had no machine.
            brings_events: a task may have begun meanwhile, and what it wrote would go with the machine.

        Raises:
            EngineError: as `down`.
        """
        run_dir, worker = Path(handle.run_dir), self._worker(handle)
        attempt, facts = read_attempt(run_dir), keep_facts(worker, handle)
        if brings_events and facts is not None and facts["existed"]:
            with suppress(EngineError, OSError):
                self._read_events(handle, timeout_s=LAST_EVENTS_TIMEOUT_S)
        waits = is_waiting(cloud_of(attempt), lambda: states_of(worker, handle, facts))
        is_known = handle.name in self._may_have
        # What SkyPilot has taken down by the next look was there all the same.
        self._may_have.add(handle.name)
        had_none = knew_none(attempt, facts, existed=self._take_down(handle)) and not is_known
        if had_none:
            self._may_have.discard(handle.name)
        ended_s, now_s = self.ended_at_s(handle), self._clock()
        was_there = partial(is_told_of, self._aws, handle, attempt)
        close_broken(
            run_dir, had_none=had_none, is_new=is_new, waits=waits, ended_s=ended_s, was_there=was_there, now_s=now_s
        )

    def _take_down(self, handle: Handle) -> bool:
        """Whether SkyPilot may have had a cluster to take down; raises as `down`."""
        end, on_aws = partial(self._end_at_provider, handle), was_on_aws(read_attempt(Path(handle.run_dir)))
        return take_down(self._worker(handle), handle, sleep=self._sleep, end_at_provider=end, is_reached=on_aws)

    def _end_at_provider(self, handle: Handle) -> tuple[str, ...] | None:
        """End on AWS what has the run's tag; what it refused, or None where no provider can be asked past SkyPilot."""
        attempt = read_attempt(Path(handle.run_dir))
        if attempt is None or not was_on_aws(attempt):
            return None
        return end_on_aws(self._aws, handle.details["run_id"], attempt)

    def _call(self, handle: Handle, op: str, args: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
        return self._worker(handle).call(op, args, timeout_s=timeout_s)

    def _worker(self, handle: Handle) -> SkyWorker:
        if handle.name not in self._workers:
            self._workers[handle.name] = self._make_worker(self._log_path(handle))
        return self._workers[handle.name]

    def _log_path(self, handle: Handle) -> Path:
        return Path(handle.run_dir) / SKY_LOG_FILE
