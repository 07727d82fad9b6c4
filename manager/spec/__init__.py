"""The run file: RunSpec, its strict reader and its writer."""
