"""`prices --refresh` with the real SkyPilot and a server of catalogs on loopback: no packet leaves the machine."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

from manager.launch.sky_catalogs import HOSTED_CLOUDS
from manager.prices.sky_catalog import default_catalog_dir
from manager.service.price_refresh import FAILED, KEPT, UNCHANGED, UPDATED, refresh_prices
from tests.support.price_stage import Served, catalog, serving, stage

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(importlib.util.find_spec("sky") is None, reason="needs the [sky] extra"),
]

ASK = """
from sky.skylet import constants
from sky.catalog import common
print(sorted(constants.ALL_CLOUDS), common.is_catalog_modified("aws/vms.csv"), common.get_catalog_path("aws/vms.csv"))
"""


def test_good_cut_missing_and_slow_catalogs(tmp_path: Path) -> None:
    with serving() as served:
        context = stage(tmp_path, clock=time.time, catalog_url=served.url, refresh_timeout_s="20")
        own = default_catalog_dir(context.user_home)
        served.answers = {
            "/v8/aws/vms.csv": catalog(),
            "/v8/lambda/vms.csv": catalog()[:-20],
            "/v8/nebius/vms.csv": 500,
        }
        states = {line.cloud: line.state for line in refresh_prices(context, ("aws", "lambda", "nebius", "gcp"))}
        assert states == {"aws": UPDATED, "lambda": FAILED, "nebius": FAILED, "gcp": FAILED}
        assert (own / "aws" / "vms.csv").read_text() == catalog()
        assert not (own / "lambda").exists()
        assert served.asked == [f"/v8/{cloud}/vms.csv" for cloud in ("aws", "lambda", "nebius", "gcp")]
        _check_again(tmp_path, served)


def _check_again(folder: Path, served: Served) -> None:
    context = stage(folder, clock=time.time, catalog_url=served.url, refresh_timeout_s="8")
    own = default_catalog_dir(context.user_home)
    assert [line.state for line in refresh_prices(context, ("aws",))] == [UNCHANGED]
    served.answers["/v8/aws/vms.csv"] = 30.0
    began_s = time.monotonic()
    (line,) = refresh_prices(context, ("aws",))
    assert line.state == FAILED
    assert "no answer within 8 s" in line.detail
    assert time.monotonic() - began_s < 20
    assert (own / "aws" / "vms.csv").read_text() == catalog()
    asked = subprocess.run(
        [sys.executable, "-c", ASK],
        env={"HOME": str(context.user_home), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    clouds, _, rest = asked.stdout.strip().rpartition("] ")
    assert rest.split() == ["False", str(own / "aws" / "vms.csv")], "SkyPilot takes the catalog for its own download"
    assert set(HOSTED_CLOUDS) <= set(clouds.strip("[").replace("'", "").split(", "))
    (own / "aws" / "vms.csv").write_text(catalog("0.5"))
    served.answers["/v8/aws/vms.csv"] = catalog("0.9")
    assert [line.state for line in refresh_prices(context, ("aws",))] == [KEPT]
