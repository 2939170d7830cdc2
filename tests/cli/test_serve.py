from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Site
    from tests.conftest import Until


@pytest.fixture
def daemon(site: Site, until: Until) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the site with the real command, on a free port."""
    site.config.write_text(f'{site.config.read_text()}\n[web]\nlisten = "127.0.0.1:0"\n')
    with (site.root / "serve.log").open("wb") as log:
        process = subprocess.Popen(site.argv("serve"), stdout=subprocess.PIPE, stderr=log)
    try:
        until(lambda: site.process("status").code == 0 or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_the_whole_way_of_a_job_from_the_command_line(site: Site, daemon: subprocess.Popen[bytes]) -> None:
    """Submit, wait, result, cancel, status, stop: as a newcomer would do it."""
    done = site.process("submit", "add", "left=41", "--wait", "--timeout", "30s")
    assert (done.code, done.out) == (0, "42\n")
    assert site.process("submit", "greet", "name=Ann", "--wait", "--timeout", "30s").out == '"Hello, Ann"\n'

    facts = site.process("status", "--json").json
    assert (facts["running"], facts["pid"]) == (True, daemon.pid)
    assert facts["jobs"]["succeeded"] == 2
    assert site.process("doctor").code == 0

    second = site.process("serve")
    assert second.code == 75
    assert f"(pid {daemon.pid})" in second.err
    assert second.err.startswith("millrace: a daemon already serves")

    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0
    assert site.process("status").code == 3


def test_a_site_that_is_wrong_is_not_served(site: Site) -> None:
    """Exit 78, so that systemd does not try again."""
    site.config.write_text("[queues.io]\nworkers = 0\n")
    done = site.process("serve")
    assert (done.code, done.out) == (78, "")
    assert done.err == f"millrace: {site.config}:2: queues.io.workers: must be at least 1 (is 0)\n"
