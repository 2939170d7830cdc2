"""Addresses to listen on."""

from __future__ import annotations

import pytest

from millrace.config.address import is_loopback, parse_listen


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("127.0.0.1:8420", ("127.0.0.1", 8420)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        (" 0.0.0.0:80 ", ("0.0.0.0", 80)),  # noqa: S104 - only read
    ],
)
def test_an_address_is_read(text: str, pair: tuple[str, int]) -> None:
    """Port 0 takes a free one, which tests and a second daemon on one machine need."""
    assert parse_listen(text) == pair


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8420",
        ":8420",
        "127.0.0.1",
        "127.0.0.1:65536",
        "::1:8420",
        "http://127.0.0.1:8420",
        "a b:1",
        "h:-1",
        "h:\u0668",
    ],
)
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    """An address without a host would listen everywhere by accident."""
    with pytest.raises(ValueError, match=r"is not an address to listen on: write for example"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("host", "only_here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - only asked about
        ("::", False),
        ("192.0.2.1", False),
        ("mill.example", False),
    ],
)
def test_only_a_loopback_address_counts_as_loopback(host: str, only_here: bool) -> None:  # noqa: FBT001 - the verdict
    """Doctor warns about the others, so an unknown name has to count as one of them."""
    assert is_loopback(host) is only_here
