"""What is written out: starter run files, SkyPilot tasks, reports."""
