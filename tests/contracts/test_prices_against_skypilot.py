"""Our prices against SkyPilot's own functions on the same files: equal to the cent.

SkyPilot runs in a process of its own, because importing it takes seconds and reads the home folder; it gets a home
with the fixture's catalogs, so that nothing is downloaded.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from manager.prices.kubernetes import kubernetes_pools
from manager.prices.offer import Offer
from manager.prices.sky_catalog import default_catalog_dir, read_catalogs
from manager.prices.sky_config import load_sky_config, sky_config_path
from manager.prices.slurm import slurm_pools

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(importlib.util.find_spec("sky") is None, reason="needs the [sky] extra"),
]

AWS = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch
g6.xlarge,L4,1.0,4.0,16.0,,0.8048,0.4011,us-east-1,use1-az1,x86_64
g6.xlarge,L4,1.0,4.0,16.0,,0.8048,0.3777,us-east-1,use1-az2,x86_64
p4d.24xlarge,A100,8.0,96.0,1152.0,,21.95764,8.1915,us-east-1,use1-az1,x86_64
m7i.xlarge,,,4.0,16.0,,0.2016,0.0731,us-east-1,use1-az1,x86_64
"""
GCP = """\
InstanceType,vCPUs,MemoryGiB,AcceleratorName,AcceleratorCount,GpuInfo,Region,AvailabilityZone,Price,SpotPrice
a2-highgpu-1g,12.0,85.0,,,,us-central1,us-central1-a,0.73948,0.36975
g2-standard-4,4.0,16.0,,,,us-central1,us-central1-a,0.14683,0.05873
g2-standard-8,8.0,32.0,,,,us-central1,us-central1-a,0.29362,0.11746
n1-standard-8,8.0,30.0,,,,us-central1,us-central1-a,0.38,0.10446
n1-highmem-4,4.0,26.0,,,,us-central1,us-central1-a,0.23661,0.06501
n1-highmem-8,8.0,52.0,,,,us-central1,us-central1-a,0.47321,0.13
a4-highgpu-8g,224.0,3968.0,,,,us-east4,us-east4-b,0.0,0.0
,,,A100,1,{'Gpus': []},us-central1,us-central1-a,2.93391,1.4341
,,,L4,1,{'Gpus': []},us-central1,us-central1-a,0.56,0.22311
,,,T4,1,{'Gpus': []},us-central1,us-central1-a,0.35,0.175
,,,V100,1,{'Gpus': []},us-central1,us-central1-a,2.48,1.0885
,,,B200,8,{'Gpus': []},us-east4,us-east4-b,64.44,32.6064
,,,tpu-v5litepod-8,1,tpu-v5litepod-8,us-central1,us-central1-a,9.6,1.95941
"""
NEBIUS = """\
InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice
gpu-h100-sxm_1gpu-16vcpu-200gb,H100,1,16,200,2.95,eu-north1,,1.25
"""
CONFIG = """\
slurm:
  pricing: {cpu: 0.04, memory: 0.005, accelerators: {A100: 3.0}}
  cluster_configs:
    lab:
      pricing: {accelerators: {V100: 0.4}}
      partition_configs:
        cheap: {pricing: {accelerators: {A100: 1.99}}}
        spelled: {pricing: {accelerators: {a100: 1.50}}}
kubernetes:
  pricing: {cpu: 0.04, accelerators: {L4: 0.6, H100: 2.5}}
  context_configs:
    prod: {pricing: {accelerators: {H100: 2.25}}}
    lab: {}
"""

ASK = """
import json, sys
import sky
from sky import catalog
from sky.catalog import kubernetes_catalog, slurm_catalog

answers = []
for cloud, instance_type, accelerator, count, spot, region, zone in json.load(sys.stdin):
    pools = {"slurm": slurm_catalog, "kubernetes": kubernetes_catalog}
    if cloud in pools:
        name = f"4CPU--16GB--{accelerator}:{int(count)}"
        answers.append(pools[cloud].get_hourly_cost(name, spot, region, zone))
        continue
    price = catalog.get_hourly_cost(instance_type, use_spot=spot, region=region, zone=zone, clouds=cloud)
    if cloud == "gcp" and accelerator:
        price += catalog.get_accelerator_hourly_cost(
            accelerator, int(count), use_spot=spot, region=region, zone=zone, clouds=cloud)
    answers.append(price)
hosts = {name: catalog.get_instance_type_for_accelerator(name, 1, clouds="gcp")[0]
         for name in ("A100", "L4", "T4", "V100")}
print("ANSWER " + json.dumps([answers, hosts]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    offers: list[Offer]
    skypilot_usd_per_hour: list[float]
    gcp_hosts: dict[str, list[str]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    home = tmp_path_factory.mktemp("home")
    catalogs = default_catalog_dir(home)
    for cloud, text in (("aws", AWS), ("gcp", GCP), ("nebius", NEBIUS)):
        (catalogs / cloud).mkdir(parents=True)
        (catalogs / cloud / "vms.csv").write_text(text, encoding="utf-8")
    sky_config_path(home).write_text(CONFIG, encoding="utf-8")
    config = load_sky_config(sky_config_path(home), now_s=4e9)
    pools = [*slurm_pools(config).offers, *kubernetes_pools(config, current_context=None).offers]
    offers = [*read_catalogs(catalogs, now_s=4e9).offers(), *pools]
    questions = [
        (o.cloud, o.instance_type, o.accelerator, o.accelerator_count, o.use_spot, o.region, next(iter(o.zones), None))
        for o in offers
    ]
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(questions),
        env={
            **os.environ,
            "HOME": str(home),
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            # Where there is an `aws` on the PATH, SkyPilot asks it for credentials, and it the metadata service.
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("ANSWER "))
    prices, hosts = json.loads(line.removeprefix("ANSWER "))
    return Answers(offers=offers, skypilot_usd_per_hour=prices, gcp_hosts=hosts)


def test_every_price_equals_skypilots(answers: Answers) -> None:
    assert len(answers.offers) > 30
    for offer, theirs in zip(answers.offers, answers.skypilot_usd_per_hour, strict=True):
        assert offer.price_usd_per_hour is not None, offer.key
        assert float(offer.price_usd_per_hour) == pytest.approx(theirs, abs=0.000_02), offer.key


def test_default_host_on_gcp_is_skypilots(answers: Answers) -> None:
    for accelerator, hosts in answers.gcp_hosts.items():
        ours = [
            (offer.price_usd_per_hour, offer.instance_type)
            for offer in answers.offers
            if offer.cloud == "gcp" and offer.accelerator == accelerator and not offer.use_spot
        ]
        assert [min(ours)[1]] == hosts
