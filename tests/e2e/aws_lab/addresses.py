"""Addresses of emulated instances, moved into 127/8 so that what connects to them stays on this machine."""

import re

_TAGS = re.compile(rb"<(publicIp|ipAddress|privateIpAddress)>\d+\.(\d+\.\d+\.\d+)</")


def to_loopback(address: str) -> str:
    """The loopback address that stands for an instance's address."""
    return f"127.{address.split('.', 1)[1]}"


def rewrite(answer: bytes) -> bytes:
    """An answer of EC2 with each instance's address moved to loopback."""
    return _TAGS.sub(rb"<\1>127.\2</", answer)
