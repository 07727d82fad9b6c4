"""What the labs share: processes that are found again, templates, Debian packages, SkyPilot's client.

A lab is a cloud or a site that fits on one machine's loopback interface, for end-to-end tests.
"""

from .errors import LabError

__all__ = ["LabError"]
