"""The core of tunefare and its command line: everything but screens and the training program."""

__version__ = "0.1.0"
