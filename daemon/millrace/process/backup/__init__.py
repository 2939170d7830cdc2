"""Backups of a site: made while it works, kept for a while, rehearsed, and put back."""
