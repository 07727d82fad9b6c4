"""Estimate against actual, cost against accuracy; pure."""
