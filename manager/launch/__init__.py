"""Engines that carry a job to a machine and back."""
