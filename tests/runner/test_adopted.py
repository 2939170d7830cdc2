"""Processes that come to the daemon when their parents end; real ones, under a clock of the test's own."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: the one that runs the tests must not become the reaper of their leavings.
SCRIPT = """
import os, subprocess, sys, threading, time
from millrace.runner import tree
from millrace.runner.adopted import PATIENCE_S, Adopted
from millrace.runner.prctl import become_subreaper

class Clock:
    now = 0.0
    def monotonic(self):
        return self.now

def zombies():
    return {p.pid for p in tree.snapshot().values() if p.ppid == os.getpid() and p.zombie}

def until(what):
    for _ in range(2000):
        if what():
            return
        time.sleep(0.005)
    sys.exit("it never came")

become_subreaper()
own, left, go = [], [], threading.Event()

def job():
    own.append(subprocess.Popen(["sh", "-c", "exit 7"]))
    told = subprocess.run(["sh", "-c", "sleep 0.01 & echo $!"], stdout=subprocess.PIPE)
    left.append(int(told.stdout))
    go.wait(30)

thread = threading.Thread(target=job)
thread.start()
until(lambda: left and zombies() >= {own[0].pid, left[0]})
clock = Clock()
adopted = Adopted(clock)
print("at once", adopted.take_down())
clock.now += PATIENCE_S
print("kept", adopted.take_down(keep=left))
print("seen anew", adopted.take_down())
clock.now += PATIENCE_S
print("later", adopted.take_down())
print("left", left[0] in zombies(), "own", own[0].pid in zombies())
go.set()
thread.join()
print("exit code", own[0].wait())
"""


def test_what_was_left_behind_is_taken_down_and_what_a_job_waits_for_is_not() -> None:
    """Zombies would add up until no process can start; a job must still learn how its own subprocess ended."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "at once 0",
        "kept 0",
        "seen anew 0",
        "later 1",
        "left False own True",
        "exit code 7",
    ]
