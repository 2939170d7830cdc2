"""What libraries log, as events: one stream of lines in one form, whoever writes them."""

from __future__ import annotations

import logging
import threading
import traceback
from typing import TYPE_CHECKING

from millrace.events import LibraryLogged

if TYPE_CHECKING:
    from millrace.events import Emit


class LibraryLog(logging.Handler):
    """Turns the records of the standard library's logging into events."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(logging.WARNING)
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit their template: what there is, is shown
            message = f"{record.msg} {record.args}"
        if record.exc_info and record.exc_info[0] is not None:
            message = f"{message}\n{''.join(traceback.format_exception(*record.exc_info))}"
        self._emit(LibraryLogged(record.name, record.levelname.lower(), message.rstrip()))


def catch_library_logs(emit: Emit) -> None:
    """Send warnings and errors of all libraries, and what ends a thread unexpectedly, to `emit`."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(LibraryLog(emit))
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else "a thread"
        text = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        emit(LibraryLogged("threading", "error", f"{name} ended with an error\n{text}".rstrip()))

    threading.excepthook = thread_ended
