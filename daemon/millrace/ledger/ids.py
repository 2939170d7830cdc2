"""UUID version 7 as text: ids that sort by the time of their making, also within one millisecond of one process."""

from __future__ import annotations

import os
import threading
from typing import Final

_COUNTER_BITS: Final = 42
_LOCK: Final = threading.Lock()


class _Last:
    ms = 0
    counter = 0


def new_id(now_ms: int) -> str:
    """
    Return a new UUID version 7.

    Args:
        now_ms: UTC epoch milliseconds, ≥ 0. A clock that went back does not make ids go back.
    Source: RFC 9562, section 6.2, method 1 (a 42-bit counter seeded at random each millisecond, 32 random bits below).
    """
    noise = int.from_bytes(os.urandom(9))
    with _LOCK:
        if now_ms > _Last.ms:
            _Last.ms = now_ms
            _Last.counter = (noise >> 32) & ((1 << (_COUNTER_BITS - 1)) - 1)
        else:
            _Last.counter += 1
            if _Last.counter >> _COUNTER_BITS:
                _Last.ms, _Last.counter = _Last.ms + 1, 0
        ms, counter = _Last.ms, _Last.counter
    text = f"{ms:012x}7{counter >> 30:03x}{0x8000000000000000 | (counter & 0x3FFFFFFF) << 32 | noise & 0xFFFFFFFF:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
