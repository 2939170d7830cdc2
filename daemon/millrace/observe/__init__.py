"""Turns events into logs and metrics."""
