# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sandbox as a program: start, stop, show, serve.

One folder holds one sandbox. Its lock is held as long as the sandbox runs, so no file left behind can be mistaken for a
running one; and what runs is asked itself who it is.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from flashduty_sandbox import merge
from flashduty_sandbox.history import History, StoreError
from flashduty_sandbox.http_server import ADDRESS
from flashduty_sandbox.receiver import Receiver
from flashduty_sandbox.state import PORT, Keys, SandboxError, State
from flashduty_sandbox.store import remove

START_SECONDS = 30.0
STOP_SECONDS = 20.0

# Nothing else of the environment reaches the sandbox: it may hold the keys of a real account.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def main(argv: list[str]) -> int:
    """Run one command. Returns 0, 1 for a failure that was told, 2 for wrong arguments, 130 for Ctrl-C."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2
    try:
        return int(arguments.run(arguments, State(arguments.state_dir.expanduser().resolve())))
    except (SandboxError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flashduty_sandbox", description="Flashduty's change API on 127.0.0.1, to see what Ansible would report."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace, State], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("--state-dir", type=Path, required=True, help="folder of data, keys, lock and log")
        return command

    start = add("start", _start, "Start it in the background; return once it answers.")
    serve = add("serve", _serve, "Run it in the foreground until Ctrl-C.")
    for command in (start, serve):
        command.add_argument("--port", type=int, default=PORT, help="TCP port of 127.0.0.1, 0 for a free one")
        command.add_argument("--reset", action="store_true", help="forget all changes, and make new keys")
        command.add_argument(
            "--merge",
            choices=merge.MODES,
            default="first",
            help="how events become a change: the first one's text stays, or every field follows the last one",
        )
        command.add_argument("--route-label", help="the label whose value is an event's channel")
    stop = add("stop", _stop, "Stop it where it runs.")
    for command in (start, stop):
        command.add_argument("--check", action="store_true", help="only tell what would be done")
    show = add("show", _show, "Show the changes that it holds, running or not.")
    show.add_argument("--json", action="store_true", help="as JSON, with every event")
    return parser


# ---- start and serve


def _report(name: str, url: str, state: State, pid: int | None, push_url: str | None) -> dict[str, Any]:
    return {
        "state": name,
        "url": url,
        "page_url": f"{url}/sandbox/",
        "push_url": push_url,
        "environment": str(state.environment),
        "shell": state.shell,
        "database": str(state.database),
        "pid": pid,
    }


def _print_json(value: object) -> None:
    print(json.dumps(value), flush=True)


def _start(arguments: argparse.Namespace, state: State) -> int:
    if arguments.check and not state.is_running():
        _print_json(_report("started", f"http://{ADDRESS}:{arguments.port}", state, None, None))
        return 0
    state.create()
    with state.changing():
        _print_json(_found_running(arguments, state) if state.is_running() else _spawn(arguments, state))
    return 0


def _found_running(arguments: argparse.Namespace, state: State) -> dict[str, Any]:
    status = state.ask("GET", "/sandbox/status")
    url = str(status["url"])
    port = int(url.rpartition(":")[2])
    for name, wanted, runs in (
        ("port", arguments.port or port, port),
        ("merge", arguments.merge, status["merge"]),
        ("route_label", arguments.route_label, status["route_label"]),
    ):
        if wanted != runs:
            raise SandboxError(
                f"the sandbox in {state.folder} runs at {url} with sandbox_{name}={runs or ''}: "
                f"stop it with -e sandbox_state=stopped to start it with {wanted or 'none'}"
            )
    if arguments.reset and not arguments.check:
        state.ask("POST", "/sandbox/reset", {})
    settings = state.ask("GET", "/sandbox/settings")
    return _report("running", url, state, int(status["pid"]), settings["integrations"][0]["push_url"])


def _spawn(arguments: argparse.Namespace, state: State) -> dict[str, Any]:
    options = [f"--port={arguments.port}", f"--merge={arguments.merge}", *(["--reset"] if arguments.reset else [])]
    if arguments.route_label:
        options.append(f"--route-label={arguments.route_label}")
    program = [sys.executable, "-I", "-S", "-B", str(Path(__file__).absolute().parent)]
    log = os.open(state.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        child = subprocess.Popen(
            [*program, "serve", f"--state-dir={state.folder}", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env={name: value for name in _ENVIRONMENT if (value := os.environ.get(name)) is not None},
            start_new_session=True,
        )
    finally:
        os.close(log)
    too_late = threading.Timer(START_SECONDS, child.kill)
    too_late.start()
    assert child.stdout is not None
    with child.stdout as output:
        line = output.readline()
    too_late.cancel()
    if line:
        return dict(json.loads(line))
    if child.wait() < 0:
        raise SandboxError(f"the sandbox did not start within {START_SECONDS:g} seconds, see {state.log}")
    raise SandboxError(state.log.read_text(encoding="utf-8").strip() or f"the sandbox did not start, see {state.log}")


def _serve(arguments: argparse.Namespace, state: State) -> int:
    """Answer requests until a signal or POST /sandbox/stop ends it."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: ended.set())
    state.create()
    with state.running():
        if arguments.reset:
            remove(state.database)
        keys = Keys() if arguments.reset else state.keys()
        receiver = Receiver(
            state.database,
            keys.integrations,
            keys.apps,
            port=arguments.port,
            merge=arguments.merge,
            route_label=arguments.route_label,
            home=state,
            on_stop=ended.set,
        )
        try:
            receiver.start()
        except OSError as error:
            raise SandboxError(
                f"port {arguments.port} of {ADDRESS} cannot be used ({error.strerror}). Another program, or the "
                "sandbox of another folder, has it: choose another one with -e sandbox_port=NUMBER, or a free one with "
                "-e sandbox_port=0"
            ) from error
        except StoreError as error:
            raise SandboxError(f"{error}; -e sandbox_reset=true starts anew") from error
        with closing(receiver), state.announced(receiver):
            _print_json(_report("started", receiver.url, state, os.getpid(), receiver.push_url()))
            ended.wait()
    return 0


# ---- stop and show


def _stop(arguments: argparse.Namespace, state: State) -> int:
    if not state.is_running():
        _print_json({"state": "not_running"})
        return 0
    if not arguments.check:
        with state.changing():
            if state.is_running():
                state.ask("POST", "/sandbox/stop", {})
                state.wait_until_stopped(STOP_SECONDS)
    _print_json({"state": "stopped"})
    return 0


def _show(arguments: argparse.Namespace, state: State) -> int:
    changes = History(state.database).changes() if state.database.exists() else []
    if arguments.json:
        print(json.dumps(changes, indent=2))
    else:
        print(table(changes, time.time()))
    return 0


def table(changes: Sequence[Mapping[str, Any]], now: float) -> str:
    """Changes as text: the change, its channel, what it says, its labels. `now` is in Unix seconds."""
    if not changes:
        return "No changes."
    head = ("STATUS", "START", "DURATION", "EVENTS", "KEY", "TITLE")
    rows = [head] + [
        (
            change["change_status"],
            _clock(change["start_time"]),
            _duration(change, now),
            str(change["event_count"]),
            _plain(change["change_key"]),
            _plain(change["title"]),
        )
        for change in changes
    ]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for number, row in enumerate(rows):
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
        if number:
            change = changes[number - 1]
            channel = f"channel {change['channel_name']}" if change["channel_name"] else ""
            labels = "  ".join(f"{key}={value}" for key, value in change["labels"].items())
            lines += [f"    {_plain(text)}" for text in (channel, change["description"], labels) if text]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text on one line that a terminal takes for nothing else."""
    text = " ".join(text.splitlines())
    return "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    combining = sum(unicodedata.category(character) in ("Mn", "Me") for character in text)
    return len(text) + wide - combining


def _clock(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _duration(change: Mapping[str, Any], now: float) -> str:
    status = change["change_status"]
    if status in merge.ENDED:
        return f"{change['end_time'] - change['start_time']} s"
    return f"{max(0, int(now) - change['start_time'])} s, open" if status == "Processing" else "-"
