"""The screen Plan: the run form, the offers, and what belongs to both."""
