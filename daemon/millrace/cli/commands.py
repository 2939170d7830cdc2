"""
The command table: where each command stands and what it is for. `millrace --help` prints it without importing a single
command, and a test holds the texts against the commands' own docstrings.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Entry(NamedTuple):
    """A command: its module in this package, the name of the command in it, and its line in the help."""

    module: str
    name: str
    help: str


COMMANDS: Final[dict[str, Entry]] = {
    "init": Entry("init", "init", "Make a new site in a folder."),
    "new": Entry("new", "new", "Write a new job, and a test that passes."),
    "serve": Entry("serve", "serve", "Run the daemon in the foreground."),
    "demo": Entry("demo", "demo", "See what becomes of work when things break: crash."),
    "submit": Entry("submit", "submit", "Submit a job, or one for each line of a file."),
    "tasks": Entry("tasks", "tasks", "What can be run: list, show."),
    "pipelines": Entry("pipelines", "pipelines", "Graphs of stages: list, show."),
    "run": Entry("run", "run", "Start a run of a pipeline."),
    "runs": Entry("runs", "runs", "Runs of pipelines: list, show, cancel, resume."),
    "jobs": Entry("jobs", "jobs", "What was asked for: list, show, retry, cancel, wait."),
    "dead": Entry("dead", "dead", "The dead letters: list, show, retry, discard."),
    "explain": Entry("explain", "explain", "Explain why a job, run, schedule or queue is as it is."),
    "effects": Entry("effects", "effects", "What was done to the outside world: list, settle."),
    "queues": Entry("queues", "queues", "The lanes: list, pause, resume."),
    "schedules": Entry("schedules", "schedules", "What runs when: list, next, test, fire, pause, resume."),
    "today": Entry("today", "today", "Show what was expected in the last 24 hours against what happened; gaps first."),
    "backfill": Entry("backfill", "backfill", "Make up for times of SCHEDULE that have passed; shown first."),
    "status": Entry("status", "status", "One screen of health."),
    "doctor": Entry("doctor", "doctor", "Examine the site and say how to repair what is wrong."),
    "config": Entry("config", "config", "The settings: check, show."),
    "export": Entry("export", "export", "Export jobs and runs as CSV or JSON lines."),
    "backup": Entry("backup", "backup", "Back the site up into FILE, while it works."),
    "restore": Entry("backup", "restore", "Put the backup FILE back."),
    "prune": Entry("prune", "prune", "Remove what is older than [retention] says."),
    "completion": Entry("completion", "completion", "Print the completion script of a shell."),
    "tokens": Entry("tokens", "tokens", "Who may use the HTTP interface: create, list, revoke."),
    "audit": Entry("audit", "audit", "Who did what: list, verify."),
    "reload": Entry("reload", "reload", "Let a changed config.toml hold."),
    "install": Entry("install", "install", "Make Millrace a service of this machine."),
    "uninstall": Entry("install", "uninstall", "Take the service away; the site and the ledger stay."),
}
