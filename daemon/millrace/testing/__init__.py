"""For the tests of a site: a clock that stands still, a job that is pretended, services that answer as told."""

from __future__ import annotations

from millrace.testing.clock import FakeClock
from millrace.testing.job import LogLine, PretendedJob
from millrace.testing.services import Call, PretendedServices, UnexpectedCall

__all__ = ["Call", "FakeClock", "LogLine", "PretendedJob", "PretendedServices", "UnexpectedCall"]
