"""The fit of efficiencies: finds constants that made the data, borrows between families, and judges unseen sources."""

from __future__ import annotations

import csv
from math import log
from pathlib import Path

import pytest

from manager.workload.efficiencies import EFFICIENCY_NAMES, Efficiencies, Software
from tests.bench.speed_fit import BASE_SOFTWARE, PRIORS, FitRow, fit, left_out_errors, model_folds
from tests.bench.speed_tables import error_table, relative_errors, write_tables


def _row(
    number: int, *, true_share: float = 0.7, family: str = "new", source: str = "one", software: str = "eager"
) -> FitRow:
    """Arithmetic and moved bytes in parts that change with the number."""
    arithmetic_s, memory_s = 0.1 * (1 + number % 5), 0.02 * (1 + number % 3)

    def seconds(reached: Efficiencies, chosen: Software) -> float:
        return arithmetic_s / reached.matmul_half + chosen.moved_share * memory_s / reached.bandwidth

    true = Efficiencies(**{name: PRIORS[name].value for name in EFFICIENCY_NAMES} | {"matmul_half": true_share})
    return FitRow(
        id=f"{source}-{number}",
        source=source,
        model=f"model {number % 4}",
        family=family,
        software=software,
        measured_s=seconds(true, BASE_SOFTWARE[software]),
        seconds=seconds,
    )


def test_a_constant_is_found_again() -> None:
    rows = [_row(number) for number in range(30)]
    fitted = fit(rows)
    assert fitted.efficiencies("new").matmul_half == pytest.approx(0.7, rel=0.03)
    errors = [abs(log(fitted.predicted_s(row) / row.measured_s)) for row in rows]
    assert max(errors) < 0.03


def test_a_family_without_rows_has_the_pooled_constants_between_prior_and_data() -> None:
    fitted = fit([_row(number) for number in range(30)])
    unseen = fitted.efficiencies("another").matmul_half
    assert fitted.efficiencies("new").matmul_half < unseen < PRIORS["matmul_half"].value


def test_one_absurd_row_hardly_moves_the_fit() -> None:
    rows = [_row(number) for number in range(30)]
    absurd = FitRow(
        id="x", source="one", model="y", family="new", software="eager", measured_s=99.0, seconds=rows[0].seconds
    )
    before, after = (fit(given).efficiencies("new").matmul_half for given in (rows, [*rows, absurd]))
    assert after == pytest.approx(before, rel=0.05)


def test_errors_on_a_source_come_from_a_fit_that_did_not_see_it() -> None:
    rows = [
        *(_row(number) for number in range(12)),
        *(_row(number, source="two", true_share=0.5) for number in range(12)),
    ]
    errors = left_out_errors(rows, group=lambda row: row.source)
    assert set(errors) == {row.id for row in rows}
    # Each source is predicted with the other's constant: the first comes out too slow, the second too fast.
    assert max(errors[row.id] for row in rows if row.source == "one") < 0
    assert min(errors[row.id] for row in rows if row.source == "two") > 0


def test_a_fit_ends_where_it_would_from_the_priors_wherever_it_starts() -> None:
    rows = [_row(number) for number in range(12)]
    far = fit([_row(number, true_share=0.4) for number in range(12)])
    assert far.efficiencies("new").matmul_half < 0.6
    plain, started = (fit(rows, start=start).efficiencies("new") for start in (None, far))
    for name in EFFICIENCY_NAMES:
        assert getattr(started, name) == pytest.approx(getattr(plain, name), rel=0.01)


def test_rows_of_a_model_in_a_source_are_left_out_together() -> None:
    rows = [_row(number) for number in range(12)] + [_row(number, source="two") for number in range(12)]
    fold = model_folds(rows, folds=3)
    groups = {(row.source, row.model): set[str]() for row in rows}
    for row in rows:
        groups[row.source, row.model].add(fold(row))
    assert all(len(found) == 1 for found in groups.values())
    assert {fold(row) for row in rows} == {"0", "1", "2"}


def test_bands_hold_both_kinds_of_errors_and_strangers_widen_only_their_like(tmp_path: Path) -> None:
    rows = [_row(number) for number in range(10)]
    rows += [_row(number, source="two", family="gaudi") for number in range(10)]
    source = {row.id: log(1.5) if row.family == "new" else log(4.0) for row in rows}
    model = {row.id: log(0.9) if row.family == "new" else log(0.5) for row in rows}
    write_tables(fit(rows), rows, source, model, tmp_path, as_of="2026-01-02")
    bands = {(line["family"], line["software"]): line for line in _lines(tmp_path / "speed_bands.csv")}
    assert (float(bands["new", "eager"]["low"]), float(bands["new", "eager"]["high"])) == pytest.approx((0.9, 1.5))
    assert float(bands["*", "eager"]["high"]) == pytest.approx(1.5 * 1.25)
    assert float(bands["gaudi", "eager"]["high"]) == pytest.approx(4.0)
    assert float(bands["tpu", "*"]["high"]) == pytest.approx(4.0 * 1.5)
    assert bands["gaudi", "*"]["rows"] == "10"


def test_relative_errors_by_hand() -> None:
    rows = [_row(number) for number in range(3)]
    errors = {"one-0": log(1.0), "one-1": log(1 / 1.1), "one-2": log(2.0)}
    median, _, worst = relative_errors(rows, errors)
    assert (median, worst) == pytest.approx((0.1, 0.5))
    assert "10.0%" in error_table(rows, errors, group=lambda row: "all")


def test_written_tables_hold_families_software_and_bands(tmp_path: Path) -> None:
    rows = [_row(number) for number in range(10)] + [
        _row(number, source="two", software="fused") for number in range(3)
    ]
    errors = {row.id: log(0.8) if number < 5 else log(1.3) for number, row in enumerate(rows)}
    write_tables(fit(rows), rows, errors, errors, tmp_path, as_of="2026-01-02")
    speeds = {line["family"]: line for line in _lines(tmp_path / "speeds.csv")}
    assert set(speeds) == {"*", "new", "cpu"}
    assert (speeds["new"]["rows"], speeds["new"]["sources"], speeds["cpu"]["issue_us"]) == ("13", "2", "0")
    bands = {(line["family"], line["software"]): line for line in _lines(tmp_path / "speed_bands.csv")}
    assert ("new", "fused") not in bands
    assert float(bands["new", "eager"]["low"]) == pytest.approx(0.8, abs=0.001)
    assert float(bands["new", "eager"]["high"]) == pytest.approx(1.3, abs=0.001)
    assert float(bands["*", "eager"]["high"]) == pytest.approx(1.3 * 1.25, abs=0.001)
    for key in (("tpu", "*"), ("gaudi", "*"), ("*", "xla")):
        assert (float(bands[key]["low"]), bands[key]["rows"]) < (0.8 / 1.25, "1")
        assert float(bands[key]["high"]) > 1.3 * 1.25
        assert bands[key]["source"].startswith("assumption")
    assert {line["name"] for line in _lines(tmp_path / "speed_software.csv")} == set(BASE_SOFTWARE)


def _lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
