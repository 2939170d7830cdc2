"""How docstrings become sentences, and titles anchors."""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

import re


def unwrapped(text: str) -> str:
    """Return a docstring with one line for each paragraph, without its Args and the like."""
    kept = re.split(r"(?m)^(?:Args|Returns|Raises|Source):", text)[0]
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", kept) if part.strip())


def sentence(text: str) -> str:
    """Return a text that begins as a sentence does."""
    text = text.strip()
    return text[:1].upper() + text[1:]


def anchor(title: str) -> str:
    """Return what a title is called in links."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
