from __future__ import annotations

import pytest

from millrace.runner.text import MAX_MESSAGE, MAX_TRACEBACK, bounded, clean, error_of, message_of, traceback_of


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raised(exc: BaseException) -> BaseException:
    """Return the exception as one that was raised."""
    try:
        raise exc  # noqa: TRY301 - so that it has a traceback
    except BaseException as caught:  # noqa: BLE001 - whatever was handed in
        return caught


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "ä" * 5000, "\ud83d" * 5000, "😀" * 1000])
def test_any_text_becomes_valid_and_bounded(text: str) -> None:
    """It goes into rows, logs and JSON, each of which chokes on something else."""
    done = clean(text, 2000)

    assert len(done.encode("utf-8")) <= 2000
    assert "\0" not in done


def test_short_text_stays_as_it_is() -> None:
    """Nothing is changed that is right."""
    assert clean("Grüße 😀") == "Grüße 😀"


def test_words_of_the_library_that_wanted_memory_are_kept() -> None:
    """It tells how much was wanted, the bound how much there was; both together fit into a row."""
    told = bounded(error_of(raised(MemoryError("Unable to allocate 9 GiB " + "x" * 5000))), "cpu", 10**9)

    assert told.message.startswith("1GB is all that [queues.cpu] memory allows a process (Unable to allocate 9 GiB xxx")
    assert len(told.message) <= MAX_MESSAGE
    other = error_of(raised(ValueError("no")))
    assert bounded(other, "cpu", 10**9) is other


def test_an_exception_that_cannot_be_told_is_told_all_the_same() -> None:
    """Job code may break in its own `__str__`; the attempt still needs its reason."""
    assert "RuntimeError" in message_of(raised(Unspeakable()))
    assert error_of(raised(Unspeakable())).type == "Unspeakable"


def test_a_long_traceback_keeps_its_end() -> None:
    """The end says what went wrong; the beginning, where it came from."""
    trace = traceback_of(raised(ValueError("begin" + "x" * 20_000 + "the end")))

    assert trace is not None
    assert len(trace.encode()) <= MAX_TRACEBACK
    assert "the end" in trace
    assert trace.startswith("Traceback")


def test_the_chain_of_causes_is_kept() -> None:
    """The cause is what the reader looks for."""
    try:
        try:
            dict[str, int]()["missing"]
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        trace = traceback_of(error) or ""
    assert trace.index("KeyError") < trace.index("ValueError")


def test_endless_recursion_is_bounded() -> None:
    """A thousand equal frames help nobody."""

    def down() -> None:
        down()

    try:
        down()
    except RecursionError as error:
        trace = traceback_of(error) or ""
    assert "RecursionError" in trace
    assert len(trace.encode()) <= MAX_TRACEBACK
