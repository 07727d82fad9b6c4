"""The sky engine for spot runs that go on when their machine is taken back: as managed jobs of SkyPilot.

A spot run with a bucket is submitted as a managed job where SkyPilot keeps the controller of managed jobs in its API
server; its controller replaces a preempted machine, also while this process is gone, and the task goes on from its
bucket. Everything else is launched as `manager.launch.sky_engine` does, and what a managed job is not for is told among
the failed attempts. The job's name is that of the run's cluster, fixed before anything starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from manager.errors import EngineError, NothingFitsError
from manager.launch.aws_end import end_on_aws, left_on_aws, was_on_aws
from manager.launch.aws_inventory import CLOUD
from manager.launch.engine import (
    LOG_FILE,
    Evidence,
    Handle,
    Launched,
    LaunchRequest,
    MachineNews,
    MachineState,
    MachineTimes,
)
from manager.launch.from_store import ask_to_stop, bring_from_store, stored_events
from manager.launch.kept_results import model_stays_in_bucket
from manager.launch.managed_answers import (
    NO_CAPACITY,
    machines_had,
    machines_of,
    managed_evidence,
    managed_state,
    no_machine,
    offer_of,
    unasked_clouds,
    up_from_s,
)
from manager.launch.managed_end import end_job
from manager.launch.managed_news import news_of
from manager.launch.managed_record import (
    DEAREST,
    ManagedRecord,
    forget_managed,
    read_managed,
    with_machines,
    write_managed,
)
from manager.launch.managed_stream import ManagedFollower
from manager.launch.managed_task import dearest, managed_task, spot_offers, wants_recovery, with_stop_requests
from manager.launch.sky_answers import REFUSED, no_capacity
from manager.launch.sky_attempt import asked_for_elsewhere, begin_attempt, keep_attempts, keep_provider, read_attempt
from manager.launch.sky_engine import CANCEL_POLL_S, QUERY_TIMEOUT_S, SkyEngine
from manager.launch.sky_events import EventMerger
from manager.launch.sky_evidence import no_answer
from manager.launch.sky_facts import STATES_TIMEOUT_S
from manager.launch.sky_stream import ENDED
from manager.launch.sky_upload import stage_upload, write_job
from manager.launch.sky_worker import SkyPilotError
from tasks.protocol import Event
from tasks.redaction import redact_file

MODE_TIMEOUT_S = 300.0
"""An API server that does not run is started first."""
SUBMIT_TIMEOUT_S = 420.0
LAUNCH_POLL_S = 3.0
POLL_LOG_S = 5.0
SETTLED_S = 60.0
"""Behind a look of SkyPilot: the loss of a machine is noticed later than it happens."""
NO_MANAGED = (
    "no managed job: SkyPilot would rent a machine for its controller; a preemption ends this run "
    "(see `tunefare doctor`)"
)


class RecoveringSkyEngine(SkyEngine):
    """Engine `sky` with recovery from preemption; see `manager.launch.engine.Engine` for the contract."""

    def submit(self, request: LaunchRequest, handle: Handle) -> Launched:
        """Launch as a managed job where the request is for one and SkyPilot can; see Engine.submit."""
        if not wants_recovery(request):
            return super().submit(request, handle)
        mode = self._call(handle, "managed_mode", {"start": True}, timeout_s=MODE_TIMEOUT_S)
        if not mode["is_consolidated"]:
            launched = super().submit(request, handle)
            return replace(launched, failed_attempts=(NO_MANAGED, *launched.failed_attempts))
        demand = tuple(offer for offer in request.offers if not offer.use_spot)
        begun_at = time.monotonic()
        try:
            # Half of the time is for spot where something else may be taken: a managed job waits for ever.
            limit_s = request.launch_timeout_s / (2 if demand else 1)
            return self._submit_managed(with_stop_requests(request), handle, limit_s=limit_s)
        except NothingFitsError as error:
            had_machine = self._has_machine(handle)
            if not self._ends(handle, error):
                # It may go on to rent machines: this is no end without one.
                raise EngineError("; ".join([error.message, *error.__notes__]), hint=error.hint) from error
            self._give_back(handle, had_machine=had_machine)
            if not demand:
                raise
            refused = error.message
        except BaseException as error:
            # Also on Ctrl-C: the controller goes on with a job whose client has gone.
            self._ends(handle, error)
            raise
        forget_managed(Path(handle.run_dir))
        # The take-down has made the worker this thread's alone; the machine to come is everybody's.
        self._workers.pop(handle.name).close()
        left_s = max(request.launch_timeout_s - (time.monotonic() - begun_at), 1.0)
        launched = super().submit(replace(request, offers=demand, launch_timeout_s=left_s), handle)
        return replace(launched, failed_attempts=(f"spot: {refused}", *launched.failed_attempts))

    def status(self, handle: Handle) -> MachineState:
        """The job's state, over all its machines."""
        record = _record(handle)
        if record is None:
            return super().status(handle)
        try:
            return managed_state(self._ask(handle, record)[1])
        except SkyPilotError:
            return MachineState.UNKNOWN

    def stream(self, handle: Handle, *, after_seq: int) -> Iterator[Event | str | MachineNews]:
        """Events, log lines and news of machines until the task has ended; see Engine.stream."""
        record = _record(handle)
        if record is None:
            yield from super().stream(handle, after_seq=after_seq)
            return
        job_id = record.job_id if record.job_id is not None else self._ask(handle, record)[0].job_id
        if job_id is None:
            raise EngineError(f"SkyPilot knows no managed job {handle.name}")
        follower = ManagedFollower(
            worker=self._make_worker(self._log_path(handle)),
            look=lambda: self._look(handle),
            read_events=lambda seq: stored_events(Path(handle.run_dir), seq),
            sleep=self._sleep,
        )
        yield from follower.follow(job_id, EventMerger(after_seq=after_seq))

    def cancel(self, handle: Handle, *, grace_s: float) -> None:
        """A request to stop in the run's bucket, which the trainer looks for; after grace_s SkyPilot ends the job.

        Raises:
            EngineError: SkyPilot could not end the job.
        """
        if _record(handle) is None:
            super().cancel(handle, grace_s=grace_s)
            return
        deadline = time.monotonic() + grace_s
        if grace_s > 0 and ask_to_stop(Path(handle.run_dir)):
            while time.monotonic() < deadline:
                if self.status(handle) in ENDED:
                    return
                self._sleep(CANCEL_POLL_S)
        self._call(handle, "managed_cancel", {"name": handle.name}, timeout_s=QUERY_TIMEOUT_S)

    def fetch(self, handle: Handle) -> None:
        """Bring events, manifest and tuned model from the run's bucket, the log from SkyPilot.

        Raises:
            EngineError: the bucket cannot be read.
        """
        record = _record(handle)
        if record is None:
            super().fetch(handle)
            return
        # The log is worth a question, never the results.
        with suppress(SkyPilotError, OSError):
            self._fetch_log(handle, record)
        run_dir = Path(handle.run_dir)
        bring_from_store(run_dir, with_files=not model_stays_in_bucket(run_dir))

    def down(self, handle: Handle) -> None:
        """Cancel the job, wait until its controller has taken the machine away, end what AWS still has.

        Raises:
            EngineError: SkyPilot does not say that job and machine are gone.
        """
        if _record(handle) is None:
            super().down(handle)
            return
        self._worker(handle).take_over()
        trouble: SkyPilotError | None = None
        try:
            end_job(
                lambda: self._call(handle, "managed_cancel", {"name": handle.name}, timeout_s=QUERY_TIMEOUT_S),
                lambda: self._look_again(handle),
                sleep=self._sleep,
            )
        except SkyPilotError as error:
            trouble = error
        attempt = read_attempt(Path(handle.run_dir))
        if attempt is not None and was_on_aws(attempt):
            end_on_aws(self._aws, handle.details["run_id"], attempt)
        if trouble is not None:
            raise EngineError(
                f"the managed job {handle.name} could not be ended: {trouble.message}",
                hint=f"Run `sky jobs cancel -n {handle.name}`: while it is there it may rent machines again.",
            ) from trouble

    def evidence(self, handle: Handle) -> Evidence:
        """Ask SkyPilot about job and machine, and the provider itself where it is known how; see Engine.evidence."""
        record = _record(handle)
        if record is None:
            return super().evidence(handle)
        asked_at_s = self._clock()
        attempt = read_attempt(Path(handle.run_dir))
        direct = None
        if attempt is not None and was_on_aws(attempt):
            direct = left_on_aws(self._aws, handle.details["run_id"], attempt)
        args = {"name": handle.name, "provider": None if attempt is None else attempt.provider}
        try:
            answer = self._call(handle, "managed_left", args, timeout_s=QUERY_TIMEOUT_S)
        except SkyPilotError as error:
            return no_answer(asked_at_s, error, direct)
        elsewhere = asked_for_elsewhere(handle)
        unasked = elsewhere is not None or bool(unasked_clouds(attempt, record, answer))
        return managed_evidence(handle.name, asked_at_s, answer, direct=direct, unasked=unasked, elsewhere=elsewhere)

    def ended_at_s(self, handle: Handle) -> float | None:
        """Of a managed job each machine has its own end."""
        return None if _record(handle) is not None else super().ended_at_s(handle)

    def machines(self, handle: Handle) -> MachineTimes | None:
        """The machines that the run had, as they were last told; see TellsMachines."""
        record = _record(handle)
        if record is None:
            return super().machines(handle)
        if record.looked_at_s is None or not record.machines:
            return None
        is_settled = record.is_over and record.machines[-1].to_s is not None
        known_to_s = record.looked_at_s if is_settled else record.looked_at_s - SETTLED_S
        return MachineTimes(machines=record.machines, known_to_s=known_to_s)

    def _ends(self, handle: Handle, reason: BaseException) -> bool:
        """End what a failed launch has left; False: it could not be ended, which the reason tells then."""
        self._worker(handle).kill()
        try:
            self.down(handle)
        except EngineError as trouble:
            reason.add_note(f"and the teardown failed: {trouble.message}")
            return False
        return True

    def _has_machine(self, handle: Handle) -> bool:
        """Whether the provider has a machine of the job now, up or not; one that cannot be asked tells of none."""
        attempt = read_attempt(Path(handle.run_dir))
        args = {"name": handle.name, "provider": None if attempt is None else attempt.provider}
        try:
            return bool(self._call(handle, "managed_left", args, timeout_s=STATES_TIMEOUT_S)["instances"])
        except SkyPilotError:
            return False

    def _give_back(self, handle: Handle, *, had_machine: bool) -> None:
        """Count the machines that the job had, and ask nobody about places where it only looked for one."""
        record = _record(handle)
        machines = () if record is None else machines_had(record, had_last=had_machine, now_s=self._clock())
        self._given_back.setdefault(handle.name, []).extend(machines)
        if record is None or record.is_over:
            # AWS costs one question and knows the run by its tag, wherever it was tried.
            kept = {one.cloud for one in machines} | (set() if record is None else {CLOUD})
            at_s = self._clock() if record is None else record.begun_at_s
            keep_attempts(Path(handle.run_dir), kept, machines, at_s=at_s)

    def _submit_managed(self, request: LaunchRequest, handle: Handle, *, limit_s: float) -> Launched:
        run_dir, begun_at_s = Path(handle.run_dir), self._clock()
        deadline = time.monotonic() + limit_s
        offers = spot_offers(request)
        dear = dearest(request, offers)
        upload_dir = stage_upload(request)
        write_job(upload_dir, request, dear, billing_started_s=begun_at_s)
        task = managed_task(request, upload_dir=upload_dir, offers=offers, begun_at_s=begun_at_s)
        write_managed(run_dir, ManagedRecord(name=handle.name, begun_at_s=begun_at_s))
        # The first comes last: it names the provider whose facts are kept.
        for offer in reversed(offers):
            begin_attempt(run_dir, offer)
        try:
            answer = self._call(
                handle, "managed_launch", {"name": handle.name, "task": task}, timeout_s=SUBMIT_TIMEOUT_S
            )
        except SkyPilotError as error:
            if error.kind not in REFUSED:
                raise
            forget_managed(run_dir)
            raise no_capacity(request, [error.message], is_late=False) from error
        price = max((one.price_usd_per_hour for one in offers if one.price_usd_per_hour is not None), default=None)
        details = {**handle.details, "job_id": answer["job_id"], "managed": True}
        if price is not None:
            details[DEAREST] = str(price)
        return self._first_machine(request, replace(handle, details=details), deadline)

    def _first_machine(self, request: LaunchRequest, handle: Handle, deadline: float) -> Launched:
        while True:
            known = _record(handle)
            assert known is not None, "written before the job was asked for"
            try:
                record, answer = self._ask(handle, known)
            except SkyPilotError:
                # The job goes on without an answer; the launch has its time limit.
                if time.monotonic() >= deadline:
                    raise
                self._sleep(LAUNCH_POLL_S)
                continue
            job = answer["job"]
            # One that failed on its machine is followed like any other: its events tell why.
            if job is not None and job["is_over"] and (job["status"] in NO_CAPACITY or not record.machines):
                raise no_machine(request, job)
            is_up = answer["cluster"] is not None and answer["cluster"]["status"] == "UP"
            if record.machines and (is_up or managed_state(answer) is not MachineState.STARTING):
                latest = record.machines[-1]
                offer = offer_of(latest, request.offers)
                if latest.price_usd_per_hour is not None:
                    offer = replace(offer, price_usd_per_hour=latest.price_usd_per_hour)
                begun_at_s = record.machines[0].from_s
                return Launched(handle=handle, offer=offer, billing_started_at_s=begun_at_s, failed_attempts=())
            if time.monotonic() >= deadline:
                raise no_capacity(
                    request, [f"the managed job is {'gone' if job is None else job['status']}"], is_late=True
                )
            self._sleep(LAUNCH_POLL_S)

    def _ask(self, handle: Handle, record: ManagedRecord) -> tuple[ManagedRecord, dict[str, Any]]:
        """What SkyPilot tells of the job now, kept in the record."""
        answer = self._call(handle, "managed_job", {"name": handle.name}, timeout_s=QUERY_TIMEOUT_S)
        now_s = self._clock()
        if answer.get("provider") is not None:
            keep_provider(Path(handle.run_dir), answer["provider"])
        job_id = record.job_id if answer["job"] is None else answer["job"]["job_id"]
        # Read again: another thread may have told of machines meanwhile.
        latest = _record(handle) or record
        is_over = answer["job"] is None or bool(answer["job"]["is_over"])
        told = with_machines(latest, machines_of(answer, latest.machines), now_s=now_s)
        told = replace(told, job_id=job_id, is_over=is_over, up_from_s=up_from_s(answer, latest.up_from_s))
        if read_managed(Path(handle.run_dir)) is not None:
            write_managed(Path(handle.run_dir), told)
        return told, answer

    def _look(self, handle: Handle) -> tuple[MachineState, list[MachineNews]]:
        known = _record(handle)
        assert known is not None, "only a managed job is looked at"
        record, answer = self._ask(handle, known)
        told, news = news_of(record, answer)
        if news:
            write_managed(Path(handle.run_dir), told)
        return managed_state(answer), news

    def _look_again(self, handle: Handle) -> dict[str, Any]:
        record = _record(handle)
        assert record is not None, "only a managed job is ended"
        return self._ask(handle, record)[1]

    def _fetch_log(self, handle: Handle, record: ManagedRecord) -> None:
        if record.job_id is None:
            return
        worker = self._make_worker(self._log_path(handle))
        ends_at = time.monotonic() + QUERY_TIMEOUT_S
        file = Path(handle.run_dir) / LOG_FILE
        aside = file.with_name(f".{file.name}.partial")
        lines = worker.lines("managed_tail", {"job_id": record.job_id, "follow": False}, silence_s=POLL_LOG_S)
        try:
            with aside.open("w", encoding="utf-8") as out:
                for line in lines:
                    if line is not None:
                        out.write(line + "\n")
                    if time.monotonic() >= ends_at:
                        break
        finally:
            lines.close()
            worker.close()
        # A log of a machine that is gone is no log; what was streamed before stays.
        if aside.stat().st_size:
            redact_file(aside)
            aside.replace(file)


def _record(handle: Handle) -> ManagedRecord | None:
    """What is known of the managed job; None: the run is a plain cluster."""
    record = read_managed(Path(handle.run_dir))
    if record is None and handle.details.get("managed"):
        # Its folder is lost; SkyPilot has it by its name.
        return ManagedRecord(name=handle.name, begun_at_s=0.0)
    return record
