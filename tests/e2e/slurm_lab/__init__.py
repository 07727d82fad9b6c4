"""A real Slurm site on the loopback interface of one machine, for end-to-end tests.

Owns the site (scheduler, login node, priced partitions, the job user) and the folder in which a
SkyPilot client works against it. Refuses to know tunefare: the tests bring the program and its
assertions. The GPUs are null devices that the scheduler counts; all else is the real thing.
"""

from tests.e2e.engine_lab import LabError

from .jobs import QueuedJob
from .lab import SlurmLab
from .partitions import PARTITIONS, Partition

__all__ = ["PARTITIONS", "LabError", "Partition", "QueuedJob", "SlurmLab"]
