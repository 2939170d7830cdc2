"""Sizes."""

from __future__ import annotations

import pytest

from millrace.config.sizes import MAX_SIZE, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("1B", 1),
        ("500kB", 500_000),
        ("10MB", 10_000_000),
        ("10mb", 10_000_000),
        ("1.5 GB", 1_500_000_000),
        ("1KiB", 1024),
        ("1MiB", 2**20),
        ("1GiB", 2**30),
        ("1TB", 10**12),
        ("1024TiB", MAX_SIZE),
        ("0.0001kB", 0),
    ],
)
def test_a_size_is_read(text: str, count: int) -> None:
    """MB is a million and MiB is 2**20, as disks and memory are sold."""
    assert parse_size(text) == count


@pytest.mark.parametrize(
    "text", ["", "MB", "-1MB", "1e3", "10 megabytes", "1M", "\u0661MB", "1025TiB", "1,5GB", "9" * 400]
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    """A guess at "1M" would be wrong by 5 % for somebody; digits of other scripts look like a typing error."""
    with pytest.raises(ValueError, match=r"is not a size: write for example .*10MB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1_500_000, "1.5MB"),
        (999_949, "999.9kB"),
        (999_960, "1MB"),
        (10**13, "10TB"),
    ],
)
def test_a_size_is_written_in_the_unit_a_person_would_use(count: int, text: str) -> None:
    """Rounding must not end in "1000kB"."""
    assert format_size(count) == text
