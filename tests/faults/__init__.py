"""Faults at random moments of real runs: what is left, lost or wrongly billed afterwards (`python -m tests.faults`)."""
