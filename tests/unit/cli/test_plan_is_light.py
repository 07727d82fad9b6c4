"""A real plan in a fresh process: neither it nor its measuring worker loads SkyPilot or a training library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.cli import write_news, write_run_file

HEAVY = ("torch", "transformers", "accelerate", "peft", "sky", "pandas", "numpy", "sklearn", "tokenizers")
OWN = ("manager.profiling.counting", "manager.reports.calibrate", "manager.runs.ledger", "manager.service.inspection")
"""Modules of ours that a first plan has no use for."""
UNREAD = ("torch", "transformers", "pandas", "pyarrow", "sklearn", "numpy.ma")
"""What the worker needs for no CSV file."""
CODE = f"""
import json, sys
sys.argv = ["tunefare", "plan", "--json", "--top", "1"]
from manager.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write("\\nLOADED " + json.dumps([name for name in {HEAVY + OWN!r} if name in sys.modules]))
"""


def test_plan_loads_no_heavy_library(tmp_path: Path) -> None:
    write_run_file(tmp_path, model="bert-base-uncased", data=write_news(tmp_path))
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == "LOADED []", done.stderr
    assert json.loads(done.stdout)["chosen"] == 0


def test_a_csv_file_is_measured_without_pandas(tmp_path: Path) -> None:
    data = {"source": str(write_news(tmp_path)), "validation": 0.1, "test": 0.1}
    request = {"model": None, "data": data, "max_length": 32, "batch_size": 8, "seed": 0}
    code = (
        "import sys; from tasks.measure import main; assert main([]) == 0; "
        f"sys.stderr.write(str([name for name in {UNREAD!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(request), capture_output=True, text=True, timeout=120
    )
    assert done.stderr == "[]"
    assert json.loads(done.stdout)["train_samples"] == 192
