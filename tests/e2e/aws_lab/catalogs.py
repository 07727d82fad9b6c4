"""The lab's price catalogs and machine images, in the schema that SkyPilot 0.14 reads.

The prices are list prices of 2026 for a handful of machines, the spot prices shares of them. Files without a
checksum beside them are never refreshed, so they stay what they are here.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

ZONE_IDS = {
    "us-east-1": ("use1-az1", "use1-az2", "use1-az4", "use1-az6"),
    "us-west-2": ("usw2-az1", "usw2-az2", "usw2-az3"),
    "eu-west-1": ("euw1-az1", "euw1-az2", "euw1-az3"),
}
"""Region -> ids of its zones; the emulator maps them to names, as an account does."""
PRICE_FACTORS = {"us-east-1": Decimal("1"), "us-west-2": Decimal("1.02"), "eu-west-1": Decimal("1.11")}
"""Each region has a price of its own, so that there is one cheapest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineType:
    """One instance type."""

    name: str
    gpu: str | None = None
    gpus: int = 0
    gpu_memory_mib: int = 0
    vcpus: int
    memory_gib: int
    price_usd_per_hour: Decimal
    """On demand in us-east-1."""
    spot_share: Decimal
    """Spot price in the first zone, as a share of it."""

    def price(self, region: str) -> Decimal:
        """On-demand price in a region, USD per hour."""
        return round(self.price_usd_per_hour * PRICE_FACTORS[region], 5)

    def spot_price(self, region: str, zone_index: int) -> Decimal:
        """Spot price in a zone, USD per hour; each zone has another."""
        return round(self.price(region) * self.spot_share * (1 + Decimal(zone_index) / 100), 6)


def _gpu(name: str, gpu: str, gpus: int, mib: int, vcpus: int, gib: int, price: str, spot: str = "0.45") -> MachineType:
    return MachineType(
        name=name,
        gpu=gpu,
        gpus=gpus,
        gpu_memory_mib=mib,
        vcpus=vcpus,
        memory_gib=gib,
        price_usd_per_hour=Decimal(price),
        spot_share=Decimal(spot),
    )


MACHINE_TYPES = (
    MachineType(
        name="m6i.2xlarge", vcpus=8, memory_gib=32, price_usd_per_hour=Decimal("0.384"), spot_share=Decimal("0.4")
    ),
    _gpu("g4dn.xlarge", "T4", 1, 16384, 4, 16, "0.526", "0.4"),
    _gpu("g6.xlarge", "L4", 1, 24576, 4, 16, "0.8048"),
    _gpu("g6.12xlarge", "L4", 4, 24576, 48, 192, "4.6016"),
    _gpu("g5.xlarge", "A10G", 1, 24576, 4, 16, "1.006"),
    _gpu("g6e.xlarge", "L40S", 1, 46080, 4, 32, "1.861", "0.5"),
    _gpu("p4d.24xlarge", "A100", 8, 40960, 96, 1152, "21.957642", "0.5"),
    _gpu("p5.48xlarge", "H100", 8, 81920, 192, 2048, "55.04", "0.5"),
)
_IMAGES = {
    "us-east-1": ("ami-0e6842148a3d9982b", "ami-0c3bc6c2c633f3dd3"),
    "us-west-2": ("ami-0289552b2bfbae70a", "ami-0c3369c317f5a7dce"),
    "eu-west-1": ("ami-067ee79a19f39472d", "ami-0f433eb03ed36277e"),
}
_CPU_TAG, _GPU_TAGS = (
    "skypilot:custom-cpu-ubuntu",
    ("skypilot:custom-gpu-ubuntu", "skypilot:custom-gpu-ubuntu-cuda13"),
)
_VMS = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,Price,SpotPrice,Region,AvailabilityZone,Arch"
)


def price_usd_per_hour(name: str, region: str) -> Decimal:
    """On-demand price of an instance type."""
    (machine,) = (machine for machine in MACHINE_TYPES if machine.name == name)
    return machine.price(region)


def write_catalogs(folder: Path) -> None:
    """Write all that SkyPilot would download for AWS."""
    _write(folder / "aws" / "vms.csv", _VMS, _vms())
    _write(folder / "aws" / "images.csv", "Tag,Region,OS,OSVersion,ImageId,CreationDate,BaseImageId", _image_rows())
    quotas = [("p4d.24xlarge", "P", "L-417A185B", "L-7212CCBC"), ("g5.xlarge", "G and VT", "L-DB2E81BA", "L-3819A6DF")]
    _write(
        folder / "aws" / "instance_quota_mapping.csv",
        "InstanceType,QuotaName,OnDemandInstanceCode,SpotInstanceCode",
        quotas,
    )
    gpus = {machine.gpu: machine.gpu_memory_mib // 1024 for machine in MACHINE_TYPES if machine.gpu}
    common = folder / "common"
    _write(common / "accelerators.csv", "AcceleratorName,Clouds", [(gpu, "['AWS']") for gpu in gpus])
    _write(common / "metadata.csv", "GPU,MemoryGB,Manufacturer", [(gpu, gib, "NVIDIA") for gpu, gib in gpus.items()])


def write_images(file: Path) -> None:
    """Write the machine images as the emulator reads them."""
    fixed = {
        "state": "available",
        "public": True,
        "owner_id": "195275664570",
        "sriov": "simple",
        "root_device_type": "ebs",
        "root_device_name": "/dev/sda1",
        "image_type": "machine",
        "platform": None,
        "architecture": "x86_64",
        "virtualization_type": "hvm",
        "hypervisor": "xen",
    }
    images = {
        image: {
            **fixed,
            "ami_id": image,
            "image_location": f"skypilot/{image}",
            "description": tag,
            "name": f"{tag}-{region}",
        }
        for tag, region, _, _, image, *_ in _image_rows()
    }
    file.write_text(json.dumps(list(images.values())))


def _vms() -> Iterable[Sequence[object]]:
    for machine in MACHINE_TYPES:
        has_gpu = machine.gpu is not None
        for region, zones in ZONE_IDS.items():
            for index, zone in enumerate(zones):
                yield (
                    machine.name,
                    machine.gpu or "",
                    float(machine.gpus) if has_gpu else "",
                    float(machine.vcpus),
                    float(machine.memory_gib),
                    _gpu_info(machine) if has_gpu else "",
                    machine.price(region),
                    machine.spot_price(region, index),
                    region,
                    zone,
                    "x86_64",
                )


def _gpu_info(machine: MachineType) -> str:
    gpu = {
        "Name": machine.gpu,
        "Manufacturer": "NVIDIA",
        "Count": machine.gpus,
        "MemoryInfo": {"SizeInMiB": machine.gpu_memory_mib},
    }
    return str({"Gpus": [gpu], "TotalGpuMemoryInMiB": machine.gpus * machine.gpu_memory_mib})


def _image_rows() -> list[tuple[str, str, str, str, str, int, str]]:
    rows = []
    for region, (cpu, gpu) in _IMAGES.items():
        for tag, image in ((_CPU_TAG, cpu), *((tag, gpu) for tag in _GPU_TAGS)):
            rows.append((tag, region, "ubuntu", "22.04", image, 20260603, "ami-005fc0f236362e99f"))
    return rows


def _write(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header.split(","))
        writer.writerows(rows)
