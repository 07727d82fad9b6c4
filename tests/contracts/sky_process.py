"""SkyPilot in a process of its own, with a home of its own whose catalogs are the fixtures: nothing is downloaded.

Importing SkyPilot takes seconds and reads the home folder; what the machine's own `~/.sky` holds must not decide.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from manager.prices.sky_catalog import default_catalog_dir
from manager.prices.sky_config import sky_config_path

CATALOGS = Path(__file__).parent / "catalogs"
"""Small catalogs in SkyPilot's schema v8, with the traps that the published ones have."""
ACCELERATORS = (
    *("A10", "A100", "A100-80GB", "B200", "H100", "H200", "K80", "L4", "L40S", "RTX4090", "RTXA4000", "T4", "T4g"),
    *("V100", "tpu-v5litepod-8", "tpu-v5litepod-16", "tpu-v5p-8", "tpu-v6e-1", "tpu-v6e-8"),
)
CONFIG = """\
slurm:
  pricing: {cpu: 0.04, memory: 0.005, accelerators: {A100: 3.0}}
  cluster_configs:
    lab:
      pricing: {accelerators: {V100: 0.4}}
      partition_configs:
        cheap: {pricing: {accelerators: {A100: 1.99}}}
kubernetes:
  allowed_contexts: [team/one, plain]
  pricing: {cpu: 0.05, memory: 0.01, accelerators: {H100: 2.5}}
  context_configs:
    team/one: {pricing: {accelerators: {H100: 2.25}}}
"""
_TIMEOUT_S = 240.0


def make_home(folder: Path) -> Path:
    """A home folder with all catalogs that SkyPilot would else download, and a configuration with priced pools."""
    catalogs = default_catalog_dir(folder)
    shutil.copytree(CATALOGS, catalogs)
    (catalogs / "common").mkdir()
    names = "".join(f"{name},\"['AWS']\"\n" for name in ACCELERATORS)
    (catalogs / "common" / "accelerators.csv").write_text("AcceleratorName,Clouds\n" + names, encoding="utf-8")
    sky_config_path(folder).write_text(CONFIG, encoding="utf-8")
    (folder / ".slurm").mkdir()
    (folder / ".slurm" / "config").write_text("Host lab\n  HostName 127.0.0.1\n", encoding="utf-8")
    return folder


def ask_sky(home: Path, script: str, question: Any) -> Any:
    """What a script that imports SkyPilot prints as JSON in its last line, with the question as JSON on its input."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        input=json.dumps(question),
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
