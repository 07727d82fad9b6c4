"""Traces the training step on meta tensors: exact FLOPs, bytes and memory without weights, data or a GPU."""
