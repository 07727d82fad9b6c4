"""The fault matrix: what is drawn from a seed, and the table that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.table import table, write_table
from tests.faults.trials import FAULT_WORDS, LOCAL_FAULTS, Fault, Finding, Trial, draw


def finding(fault: Fault, **facts: object) -> Finding:
    trial = Trial(number=0, fault=fault, share=0.5, duration_share=0.5, adopts=True)
    known: dict[str, object] = {
        "trial": trial,
        "moment_s": 3.0,
        "run_id": "r",
        "state": "succeeded",
        "events": 10,
        "lost": 0,
        "doubled": 0,
        "left": (),
        "cost_error_s": 0.01,
        "late_s": 0.5,
        "defects": (),
    }
    return Finding(**{**known, **facts})  # type: ignore[arg-type]


def test_a_seed_draws_the_same_trials_and_each_kind_as_often() -> None:
    trials = draw(3, 80, LOCAL_FAULTS)
    assert trials == draw(3, 80, LOCAL_FAULTS)
    assert trials != draw(4, 80, LOCAL_FAULTS)
    assert {fault: sum(1 for trial in trials if trial.fault is fault) for fault in LOCAL_FAULTS} == dict.fromkeys(
        LOCAL_FAULTS, 10
    )
    assert all(0 <= trial.share < 1 for trial in trials)
    assert set(FAULT_WORDS) == set(Fault)


def test_the_table_counts_what_was_found() -> None:
    findings = [
        finding(Fault.KILL_CLIENT),
        finding(Fault.KILL_CLIENT, state="interrupted", moment_s=8.0, lost=2, late_s=-0.2, defects=("events",)),
        finding(Fault.KILL_CLIENT, moment_s=None),
        finding(Fault.LOCK_LEDGER, cost_error_s=None, late_s=None),
    ]
    text = table(findings, engine="local", date="2026-01-01", seed=9, length_s=12.0)
    assert "seed 9: 3 faults" in text
    assert "1 with a defect" in text
    assert "when the run was over: 1" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| SIGKILL of `tunefare run`")]
    assert "| 2 | 3.0 to 8.0 s | interrupted 1, succeeded 1 | 20 | 2 | 0 | 0 | 0.01 s | 0.50 s |" in row
    assert "nothing billed" in text


def test_the_table_is_put_between_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text("before\n<!-- faults: local -->\nold\n<!-- /faults -->\nafter\n")
    write_table("new\n", engine="local", document=document)
    assert document.read_text() == "before\n<!-- faults: local -->\nnew\n<!-- /faults -->\nafter\n"
    with pytest.raises(ValueError, match="no markers for aws"):
        write_table("new\n", engine="aws", document=document)
