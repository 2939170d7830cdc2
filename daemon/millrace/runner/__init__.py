"""Runs one claimed job: deadlines, children, context, outcome."""
