"""AWS on the loopback interface of one machine, for end-to-end tests of runs through SkyPilot.

Owns the account (an emulator of the API), the way to it (a proxy that logs each call and refuses by
rule), the machines (namespaces of this one, each with its own sshd) and the folder in which a SkyPilot
client works against them. Refuses to know tunefare: the tests bring the program and its assertions.
One machine at a time: all share this machine's network. No packet leaves but to package registries.
"""

from tests.e2e.engine_lab import LabError

from .calls import ApiCall
from .lab import AwsLab
from .machines import Instance

__all__ = ["ApiCall", "AwsLab", "Instance", "LabError"]
