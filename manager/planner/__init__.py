"""Estimate per offer and the choice among them; pure."""
