"""`millrace install` in a folder that stands for the machine: real files, modes and users, real systemd checks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from millrace.errors import MillraceError, SettingsError
from millrace.process.install.plan import UNIT, install_plan, uninstall_plan
from millrace.process.install.steps import Base, Step, Systemctl
from millrace.process.install.unit import PROGRAM, SITE, STATE, USER, unit_text

REPOSITORY = Path(__file__).parents[2]
CONFIG = Path(SITE) / "config.toml"
LIMIT_S = 60
ANALYZE = "/usr/bin/systemd-analyze"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
with_analyze = pytest.mark.skipif(not Path(ANALYZE).exists(), reason="systemd is not on this machine")


@pytest.fixture
def base(tmp_path: Path) -> Base:
    """A folder that stands for the machine."""
    return Base(tmp_path)


def carry_out(steps: list[Step]) -> list[str]:
    """Do what is needed; return the words of what was done."""
    done = [step for step in steps if step.needed()]
    for step in done:
        step.do()
    return [step.words() for step in done]


def mode_of(path: Path) -> str:
    """Return the permissions as `ls` people know them."""
    return f"{path.stat().st_mode & 0o7777:04o}"


@as_root
def test_an_installation_has_its_user_folders_site_and_unit(base: Base) -> None:
    """The jobs must not be writable for the jobs, the ledger for nobody else, the secrets for nobody but root."""
    carry_out(install_plan(base, Path(PROGRAM), CONFIG))

    user, group = base.ids(f"{USER}:{USER}")
    site, state, secrets = base.at(SITE), base.at(STATE), base.at(f"{SITE}/credentials")
    assert user > 0
    assert (mode_of(site), site.stat().st_uid, site.stat().st_gid) == ("0750", 0, group)
    assert (mode_of(site / "jobs"), mode_of(site / "jobs/everyday.py")) == ("0750", "0640")
    assert (mode_of(state), state.stat().st_uid) == ("0700", user)
    assert (mode_of(secrets), secrets.stat().st_uid) == ("0700", 0)
    assert mode_of(base.at(UNIT)) == "0644"
    assert f'state = "{STATE}"' in (site / "config.toml").read_text(), "commands would look for another ledger"


@as_root
def test_a_second_installation_changes_nothing(base: Base) -> None:
    """It is what people call to be sure."""
    carry_out(install_plan(base, Path(PROGRAM), CONFIG))
    assert carry_out(install_plan(base, Path(PROGRAM), CONFIG)) == []


@as_root
def test_a_site_that_is_there_is_left_alone_and_a_unit_is_brought_up_to_date(base: Base) -> None:
    """An upgrade calls it again: the new unit is wanted, the own settings are sacred."""
    base.at(SITE).mkdir(parents=True)
    base.at(CONFIG).write_text("[site]\nname = 'mine'\n")
    base.at(UNIT).parent.mkdir(parents=True)
    base.at(UNIT).write_text("old")

    carry_out(install_plan(base, Path(PROGRAM), CONFIG))

    assert base.at(CONFIG).read_text() == "[site]\nname = 'mine'\n"
    assert not base.at(f"{SITE}/jobs").exists()
    assert "Type=notify" in base.at(UNIT).read_text()


@as_root
def test_uninstall_leaves_the_site_and_the_ledger_unless_they_shall_go(base: Base) -> None:
    """A ledger is work that was promised."""
    carry_out(install_plan(base, Path(PROGRAM), CONFIG))

    carry_out(uninstall_plan(base, CONFIG, purge=False))
    assert not base.at(UNIT).exists()
    assert base.at(CONFIG).exists()
    assert base.at(STATE).exists()

    carry_out(uninstall_plan(base, CONFIG, purge=True))
    assert not base.at(SITE).exists()
    assert not base.at(STATE).exists()
    assert not base.has_user(USER)


def test_a_plan_changes_nothing(base: Base) -> None:
    """`--dry-run` is called by people who are not sure yet."""
    steps = install_plan(base, Path(PROGRAM), CONFIG)
    assert all(step.words() for step in steps if step.needed())
    assert list(base.root.iterdir()) == []


def test_only_the_machine_itself_has_a_systemd_to_tell(base: Base) -> None:
    """An image that is built elsewhere must not start a daemon on the builder."""
    assert not any(isinstance(step, Systemctl) for step in install_plan(base, Path(PROGRAM), CONFIG))
    live = install_plan(Base(Path("/")), Path(PROGRAM), CONFIG)
    assert [step.words() for step in live if isinstance(step, Systemctl)] == [
        "systemctl daemon-reload",
        "systemctl enable --now millrace.service",
    ]


def test_a_step_that_fails_says_what_the_program_said(base: Base) -> None:
    """An exit code alone helps nobody."""
    with pytest.raises(MillraceError, match=r"systemctl no-such-verb: .+"):
        Systemctl(("no-such-verb",)).do()


def test_the_unit_holds_the_paths_of_its_installation() -> None:
    """Two places that name the program must not disagree."""
    text = unit_text(Path("/srv/venv/bin/millrace"), Path("/srv/site/config.toml"))
    assert "ExecStart=/srv/venv/bin/millrace -c /srv/site/config.toml serve" in text
    assert "WorkingDirectory=/srv/site\n" in text
    assert "LoadCredential=millrace:/srv/site/credentials" in text
    settings = [line for line in text.splitlines() if not line.startswith("#")]
    assert not any(PROGRAM in line or SITE in line for line in settings)


@pytest.mark.parametrize(
    ("program", "config", "words"),
    [
        ("/home/ann/venv/bin/millrace", str(CONFIG), "lies in /home, which the service cannot see (ProtectHome=yes)"),
        (PROGRAM, "/root/site/config.toml", "the site /root/site/config.toml lies in /root"),
        (PROGRAM, "/tmp/site/config.toml", "PrivateTmp=yes"),
        ("bin/millrace", str(CONFIG), "must be an absolute path"),
        (PROGRAM, "/srv/my site/config.toml", "has a character in its path that systemd reads as its own"),
        (PROGRAM, "/srv/100%/config.toml", "has a character in its path that systemd reads as its own"),
    ],
)
def test_what_the_service_could_not_read_is_refused(program: str, config: str, words: str) -> None:
    """To systemd it is a file that is not there, and it says so only at the start."""
    with pytest.raises(SettingsError) as refused:
        unit_text(Path(program), Path(config))
    assert words in str(refused.value)


@with_analyze
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """A misspelt directive is ignored with a warning that nobody reads."""
    program = tmp_path / "millrace"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "millrace.service"
    text = unit_text(Path(PROGRAM), CONFIG)
    unit.write_text(text.replace(PROGRAM, str(program)))
    said = subprocess.run(
        [ANALYZE, "verify", "--man=no", unit], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")


@with_analyze
def test_the_unit_is_hardened() -> None:
    """Exposure of 1.5 at most, of 10."""
    unit = REPOSITORY / "systemd/millrace.service"
    said = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--threshold=15", "--no-pager", unit],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert said.returncode == 0, said.stdout[-200:]


def test_the_unit_outlasts_a_drain_and_does_not_repeat_what_cannot_help() -> None:
    """Cut off earlier, running jobs are not handed back; restarted for ever, a wrong setting fills the log."""
    lines = (REPOSITORY / "systemd/millrace.service").read_text().splitlines()
    for wanted in (
        "Type=notify", "KillMode=mixed", "WatchdogSec=60s", "TimeoutStopSec=90s",
        "Environment=TZ=UTC PYTHONUNBUFFERED=1",
        "RestartPreventExitStatus=77 78", "StateDirectory=millrace", "RuntimeDirectory=millrace", f"User={USER}",
    ):  # fmt: skip
        assert wanted in lines
    assert not any("notify-reload" in line for line in lines if not line.startswith("#")), "systemd 252 lacks it"
