"""Where the daemon listens: "host:port" as text and as a pair."""

from __future__ import annotations

import re
from typing import Final

_ADDRESS: Final = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>\d{1,5})", re.ASCII)
_MAX_PORT: Final = 65535


def parse_listen(text: str) -> tuple[str, int]:
    """
    Return host and port of an address to listen on.

    Args:
        text: "127.0.0.1:8420", "[::1]:8420" or "localhost:8420"; port 0 takes a free one.
    Raises: ValueError with an example, if the text is no such address.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ValueError(f'"{text}" is not an address to listen on: write for example "127.0.0.1:8420" or "[::1]:8420"')
    return match["six"] or match["host"], int(match["port"])


def listen_text(host: str, port: int) -> str:
    """Return host and port as `parse_listen` reads them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the host; an unknown name is taken as reachable from elsewhere."""
    from ipaddress import ip_address  # reading commands parse addresses and never ask this

    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
