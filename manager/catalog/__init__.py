"""Dated facts: specifications of accelerators and shapes of models."""
