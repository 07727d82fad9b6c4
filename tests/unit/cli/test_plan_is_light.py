"""A real plan in a fresh process: neither SkyPilot nor a training library is loaded by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.cli import write_news, write_run_file

HEAVY = ("torch", "transformers", "accelerate", "peft", "sky", "pandas", "numpy", "sklearn", "tokenizers")
CODE = f"""
import json, sys
sys.argv = ["tunefare", "plan", "--json", "--top", "1"]
from manager.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write("\\nLOADED " + json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


def test_plan_loads_no_heavy_library(tmp_path: Path) -> None:
    write_run_file(tmp_path, model="bert-base-uncased", data=write_news(tmp_path))
    done = subprocess.run([sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == "LOADED []", done.stderr
    assert json.loads(done.stdout)["chosen"] == 0
