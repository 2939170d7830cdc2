from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.runner.oom import OomWatch

if TYPE_CHECKING:
    from pathlib import Path


def test_a_kill_by_the_kernel_is_told_once(tmp_path: Path) -> None:
    """The next KILL may be by somebody's hand again."""
    source = tmp_path / "vmstat"
    source.write_text("nr_free_pages 5\noom_kill 7\n")
    watch = OomWatch(source)
    assert not watch.struck()

    source.write_text("nr_free_pages 1\noom_kill 8\n")
    assert [watch.struck(), watch.struck()] == [True, False]


def test_a_kernel_that_does_not_count_says_no(tmp_path: Path) -> None:
    """Not knowing must not turn into a claim."""
    assert not OomWatch(tmp_path / "missing").struck()
