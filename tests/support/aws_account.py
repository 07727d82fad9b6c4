"""An AWS account that moto plays in this process: machines, disks and addresses with and without the tag of a run."""

from __future__ import annotations

from typing import Any

import pytest


class AwsAccount:
    """What somebody rents; use inside `moto.mock_aws()`."""

    @staticmethod
    def isolate(monkeypatch: pytest.MonkeyPatch) -> None:
        """Credentials of nobody, and no file or address of this machine's."""
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # Seconds for each region, and any name will do as a machine's image.
        monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

    def client(self, region: str, service: str = "ec2") -> Any:
        """Of moto."""
        import boto3

        return boto3.client(service, region_name=region)

    def machine(
        self,
        region: str,
        *,
        run_id: str | None,
        disk_gib: int = 8,
        user: str = "somebody",
        user_hash: str = "0a1b2c3d",
    ) -> str:
        """A running machine with one disk, tagged as SkyPilot does; without a run: somebody else's."""
        tags = [] if run_id is None else _tags(run_id, user, user_hash)
        client = self.client(region)
        answer = client.run_instances(
            ImageId="ami-0a1b2c3d",
            MinCount=1,
            MaxCount=1,
            InstanceType="g5.xlarge",
            TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume") if tags],
            BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": disk_gib, "VolumeType": "gp3"}}],
        )
        return str(answer["Instances"][0]["InstanceId"])

    def free_volume(self, region: str, *, run_id: str | None, gib: int = 100) -> str:
        """A disk without a machine."""
        tags = [{"ResourceType": "volume", "Tags": _tags(run_id, "somebody")}] if run_id else []
        zone = f"{region}a"
        client = self.client(region)
        answer = client.create_volume(AvailabilityZone=zone, Size=gib, VolumeType="gp3", TagSpecifications=tags)
        return str(answer["VolumeId"])

    def address(self, region: str, *, run_id: str) -> str:
        """A public address without a machine."""
        tags = [{"ResourceType": "elastic-ip", "Tags": _tags(run_id, "somebody")}]
        answer = self.client(region).allocate_address(Domain="vpc", TagSpecifications=tags)
        return str(answer["AllocationId"])

    def state(self, region: str, instance_id: str) -> str:
        """Of a machine."""
        answer = self.client(region).describe_instances(InstanceIds=[instance_id])
        return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])


def _tags(run_id: str, user: str, user_hash: str = "0a1b2c3d") -> list[dict[str, str]]:
    tags = {"tunefare-run": run_id, "ray-cluster-name": f"tf-{run_id}-{user_hash}", "skypilot-user": user}
    return [{"Key": key, "Value": value} for key, value in tags.items()]
