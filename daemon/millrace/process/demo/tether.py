"""
Becomes another program that ends with the one that started it, so that a demo that is killed leaves no daemon behind.

    python -m millrace.process.demo.tether PARENT PROGRAM [ARGUMENT]...
"""

from __future__ import annotations

import os
import signal
import sys

from millrace.runner.prctl import die_with_parent


def main() -> None:
    """Tie this process to its parent, and become the program."""
    parent, *argv = sys.argv[1:]
    die_with_parent(signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before it could be told
        sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606 - the program is the one that our parent is


if __name__ == "__main__":
    main()
