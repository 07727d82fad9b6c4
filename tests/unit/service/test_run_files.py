"""Run files below a folder."""

from __future__ import annotations

import os
from pathlib import Path

from manager.service.drafts import Draft
from manager.service.run_files import run_files


def test_run_files_are_found_below_newest_first(tmp_path: Path) -> None:
    for number, place in enumerate(("a.yaml", "deep/er/b.yml", ".hidden/c.yaml", "1/2/3/4/d.yaml")):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Draft.new(folder=tmp_path).save(tmp_path / place, expected=None)
        os.utime(tmp_path / place, (1000 + number, 1000 + number))
    (tmp_path / "other.yaml").write_text("model: no run file\n", encoding="utf-8")
    found = run_files(tmp_path)
    assert [str(hit.file.relative_to(tmp_path)) for hit in found] == ["deep/er/b.yml", "a.yaml"]
    assert [str(hit.file.name) for hit in run_files(tmp_path, limit=1)] == ["b.yml"]
    assert run_files(tmp_path / "nowhere") == ()
