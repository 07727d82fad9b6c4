"""Starts the worker that measures data sets and keeps its cache."""
