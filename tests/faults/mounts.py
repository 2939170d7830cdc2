"""Small file systems for the state folder: one that fills, one without inodes, one that the kernel makes read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def _do(*words: str) -> None:
    """Run a program as root; skip the test, with the reason, where that is not to be had."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    program = shutil.which(words[0])
    if program is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{words[0]} is not permitted here: {done.stderr.strip()}")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """Mount a file system in memory; `options` are those of tmpfs, such as size=8m."""
    folder.mkdir(exist_ok=True)
    _do("mount", "-t", "tmpfs", "-o", options, "millrace-test", str(folder))
    try:
        yield folder
    finally:
        _do("umount", "-l", str(folder))


@contextmanager
def ext4(folder: Path, image: Path, megabytes: int = 32) -> Iterator[Path]:
    """Mount a disk, kept in a file that is made unless it is there; an error makes it read-only."""
    folder.mkdir(exist_ok=True)
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(megabytes * 2**20)
        _do("mkfs.ext4", "-q", "-F", str(image))
    _do("mount", "-o", "loop,errors=remount-ro", str(image), str(folder))
    try:
        yield folder
    finally:
        _do("umount", "-l", str(folder))


def break_disk(folder: Path) -> None:
    """Let the kernel meet an error on the ext4 that is mounted on a folder."""
    device = folder.stat().st_dev
    name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    switch = Path(f"/sys/fs/ext4/{name}/trigger_fs_error")
    if not switch.exists():
        pytest.skip("this kernel has no way to pretend a disk error")
    switch.write_text("1")
