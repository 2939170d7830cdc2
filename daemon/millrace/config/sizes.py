"""Sizes in bytes and their text form: "10MB" (10**6), "1MiB" (2**20), "512" (bytes)."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]*)", re.ASCII)
MAX_SIZE: Final = 2**50


def parse_size(text: str) -> int:
    """
    Return the bytes in a size.

    Args:
        text: A number with B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024), in any case;
            at most 1 PiB.
    Returns: Whole bytes, ≥ 0; a fraction of a byte is cut off.
    Raises: ValueError with an example, if the text is no size.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None or float(match[1]) * unit > MAX_SIZE:
        raise ValueError(f'"{text}" is not a size: write for example "500kB", "10MB" or "1GiB"')
    return int(float(match[1]) * unit)


def format_size(count: int) -> str:
    """Return bytes in the unit a person would use: 999 → "999B", 1500000 → "1.5MB"."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.95:  # noqa: PLR2004 - rounds to 1000 beyond it
            break
        size, unit = size / 1000, larger
    return f"{round(size, 1):g}{unit}"
