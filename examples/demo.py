#!/usr/bin/env python3
# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the playbooks of this folder with ansible-playbook against a receiver on this machine and shows what it holds.

`make demo` calls this, and `make demo-keep` with --keep: then the receiver and its page stay until Ctrl-C. It needs
ansible-playbook and the installed collection, and no network beyond 127.0.0.1. The exit code is 0 when every change is
what it should be, 1 when one is not, and 130 after Ctrl-C. Everything that it starts is stopped and everything that it
writes is removed, in each case.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
SANDBOX = "flashcat.flashduty.sandbox"
TERMINAL = ("Done", "Canceled", "Failed")
RUN_SECONDS = 60.0
DELIVERY_SECONDS = 20.0
SHOWN_LABELS = (
    *("result", "failed_host", "failed_task"),
    *("service", "cluster", "env", "region", "team", "owner", "host", "group", "rack"),
)

Change = dict[str, Any]
Check = Callable[[Change], bool]


class DemoError(Exception):
    """Something did not go as it should; the text says what."""


@dataclass(frozen=True)
class Row:
    """One change that the receiver must hold: what it shows, and what must be true of it."""

    shows: str
    holds: Check
    change_key: str | None = None


@dataclass(frozen=True)
class Step:
    """One ansible-playbook process."""

    playbook: str
    rows: Sequence[Row]
    succeeds: bool = True
    interrupt_in_task: str | None = None


def says(change: Change, *words: str) -> bool:
    """Whether the end of a change tells this, by its labels or in its event's own text."""
    told = " ".join([*change["labels"].values(), change["description"], change["events"][-1]["description"]]).lower()
    return all(word.lower() in told for word in words)


STEPS = (
    Step(
        "deploy.yml",
        [Row("The run succeeded: Done.", lambda change: change["change_status"] == "Done")],
    ),
    Step(
        "deploy_broken.yml",
        [
            Row(
                "One host failed: Canceled, with the host and the task that failed.",
                lambda change: (
                    change["change_status"] == "Canceled" and says(change, "db2", "Check the database schema")
                ),
            )
        ],
        succeeds=False,
    ),
    Step(
        "deploy_slow.yml",
        [
            Row(
                "Ctrl-C in the middle of a task: Canceled, interrupted. Nobody is left waiting for its end.",
                lambda change: change["change_status"] == "Canceled" and says(change, "interrupt"),
            )
        ],
        succeeds=False,
        interrupt_in_task="Wait until the connections have drained",
    ),
    Step(
        "report_twice.yml",
        [
            Row(
                "Two tasks for two hosts reported the same state of this ticket: one event was sent.",
                lambda change: change["change_status"] == "Done" and len(change["events"]) == 1,
                change_key="CHANGE-002",
            ),
            Row(
                "The run that held those tasks, reported by the callback: Done.",
                lambda change: change["change_status"] == "Done",
            ),
        ],
    ),
)


@dataclass
class Receiver:
    """The receiver of the collection, as seen over HTTP."""

    port: int
    state_dir: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def page_url(self) -> str:
        return f"{self.url}/sandbox/"

    def push_url(self) -> str:
        return str(self.get("/sandbox/settings")["integrations"][0]["push_url"])

    def get(self, path: str) -> Any:
        # A proxy of the environment must not be asked for 127.0.0.1.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, timeout=5) as answer:
            return json.load(answer)

    def changes(self) -> dict[str, Change]:
        """Every change by its key, as /change/list describes it, with its `events`."""
        return {change["change_key"]: change for change in self.get("/sandbox/changes")}


@dataclass
class Workshop:
    """The temporary folder and every process of this run."""

    folder: Path
    environment: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *arguments: str) -> Playbook:
        command = shutil.which("ansible-playbook", path=self.environment["PATH"])
        if command is None:
            raise DemoError("ansible-playbook is not on the PATH: run make demo")
        path = self.folder / f"output-{len(self.running)}"
        with path.open("wb") as output:
            process = subprocess.Popen(
                [command, *arguments],
                cwd=EXAMPLES,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        return Playbook(process, path)

    def close(self) -> None:
        """Ends what still runs: the playbooks first, then whatever of theirs still uses the folder."""
        for process in self.running:
            if process.poll() is None:
                end_process_group(process)
        deadline = time.monotonic() + 5
        while (users := users_of(self.folder)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in users:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Playbook:
    """One ansible-playbook process and the file that holds its output."""

    process: subprocess.Popen[bytes]
    output: Path

    def wait(self, seconds: float) -> int:
        """The exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise DemoError(f"ansible-playbook did not end within {seconds:.0f} s") from None

    def text(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, as a terminal sends it.

    Python loses one that comes while it forks, so it is pressed again where nothing happens, as a person would.
    """
    for _attempt in range(3):
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
            return


def end_process_group(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return


def users_of(folder: Path) -> set[int]:
    """The processes that have this folder in their environment or a file of it open, where the system can tell."""
    path = os.fsencode(folder)
    users = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if path in (process / "environ").read_bytes() or any(
                os.fsencode(link.readlink()).startswith(path + b"/") for link in (process / "fd").iterdir()
            ):
                users.add(int(process.name))
    return users - {os.getpid()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def workshop() -> Iterator[Workshop]:
    folder = Path(tempfile.mkdtemp(prefix="flashduty-demo-")).resolve()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "ANSIBLE_COLLECTIONS_PATH" or not name.startswith(("ANSIBLE_", "FLASHDUTY_"))
    }
    environment |= {
        "ANSIBLE_CONFIG": str(EXAMPLES / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible" / "tmp"),
        "ANSIBLE_REMOTE_TEMP": str(folder / "ansible" / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
        "FLASHDUTY_STATE_DIR": str(folder / "state"),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "TMPDIR": str(folder),
    }
    shop = Workshop(folder, environment)
    try:
        yield shop
    finally:
        # The cleaning is short and bounded: a second Ctrl-C must not leave half of it.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        shop.close()
        signal.signal(signal.SIGINT, previous)


@contextlib.contextmanager
def receiver(shop: Workshop) -> Iterator[Receiver]:
    instance = Receiver(free_port(), shop.folder / "sandbox")
    place = json.dumps({"sandbox_port": instance.port, "sandbox_state_dir": str(instance.state_dir)})
    arguments = [SANDBOX, "--extra-vars", place]
    try:
        playbook = shop.start(*arguments)
        if playbook.wait(RUN_SECONDS) != 0:
            raise DemoError(f"the receiver did not start:\n{playbook.text()}")
        yield instance
    finally:
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        with contextlib.suppress(DemoError):
            shop.start(*arguments, "--extra-vars", "sandbox_state=stopped").wait(RUN_SECONDS)
        signal.signal(signal.SIGINT, previous)


def wait_for(what: str, condition: Callable[[], bool], seconds: float = DELIVERY_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def run(step: Step, shop: Workshop, sandbox: Receiver) -> list[Change]:
    """Runs one playbook and returns its changes in the order of its rows, once the receiver holds their ends."""
    before = set(sandbox.changes())

    def new() -> list[Change]:
        return [change for key, change in sandbox.changes().items() if key not in before]

    def ended() -> bool:
        changes = new()
        return len(changes) >= len(step.rows) and all(change["change_status"] in TERMINAL for change in changes)

    began = time.monotonic()
    playbook = shop.start(step.playbook)
    try:
        if step.interrupt_in_task is not None:
            task = f"TASK [{step.interrupt_in_task}]"
            wait_for(f"{step.playbook} prints {task}", lambda: task in playbook.text(), RUN_SECONDS)
            # ansible-playbook has a file like this for as long as the module runs.
            wait_for("the task runs", lambda: any(shop.folder.glob("ansible/**/AnsiballZ_*.py")))
            wait_for(f"the receiver holds the start of {step.playbook}", lambda: bool(new()))
            interrupt(playbook.process)
        code = playbook.wait(RUN_SECONDS)
        how = ", interrupted" if step.interrupt_in_task else ""
        took = time.monotonic() - began
        print(f"  ansible-playbook {step.playbook:<20} exit code {code}{how}, {took:.1f} s", flush=True)
        if (code == 0) != step.succeeds:
            raise DemoError(f"{step.playbook} ended with exit code {code}")
        wait_for(f"the receiver holds the end of {step.playbook}", ended)
    except DemoError as error:
        raise DemoError(f"{error}\n{json.dumps(new(), indent=2, ensure_ascii=False)}\n{playbook.text()}") from None
    changes = new()
    if len(changes) != len(step.rows):
        raise DemoError(f"{step.playbook} made {len(changes)} changes, not {len(step.rows)}")
    named = {row.change_key for row in step.rows} - {None}
    unnamed = [change for change in changes if change["change_key"] not in named]
    by_key = {change["change_key"]: change for change in changes}
    return [by_key[row.change_key] if row.change_key in by_key else unnamed.pop() for row in step.rows]


def labels_text(labels: dict[str, str]) -> str:
    shown = [f"{name}={labels[name]}" for name in SHOWN_LABELS if name in labels]
    more = len(labels) - len(shown)
    return "\n".join([*shown, f"and {more} more"] if more else shown)


def table(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """Text in columns; a cell that is wider than its column goes on in the next line."""
    rule = "+".join("-" * (width + 2) for width in widths)
    lines = []
    for number, row in enumerate(rows):
        cells = [
            [part for line in cell.splitlines() for part in (textwrap.wrap(line, width) or [""])]
            for cell, width in zip(row, widths, strict=True)
        ]
        for index in range(max(map(len, cells))):
            parts = [cell[index] if index < len(cell) else "" for cell in cells]
            lines.append("|".join(f" {part:<{width}} " for part, width in zip(parts, widths, strict=True)).rstrip())
        lines.append(rule.replace("-", "=") if number == 0 else rule)
    return "\n".join(lines)


def show(results: Sequence[tuple[Row, Change]]) -> bool:
    """Prints the changes and what they show; whether each is what it should be."""
    rows = [["", "change", "status", "what it says", "labels"]]
    for number, (_row, change) in enumerate(results, 1):
        count, took = len(change["events"]), change["end_time"] - change["start_time"]
        rows.append(
            [
                str(number),
                f"{change['title']}\n{change['change_key']}",
                f"{change['change_status']}\n{took} s\n{count} event{'s' if count != 1 else ''}",
                change["description"],
                labels_text(change["labels"]),
            ]
        )
    room = max(112, min(shutil.get_terminal_size((120, 24)).columns, 150))
    fixed = (2, 26, 9, 0, 34)
    says_width = room - sum(fixed) - 3 * len(fixed)
    print(f"\nThe receiver holds {len(results)} changes:\n")
    print(table(rows, [width or says_width for width in fixed]))
    print()
    good = True
    for number, (row, change) in enumerate(results, 1):
        holds = row.holds(change)
        good = good and holds
        print(f"  {number}  {'as promised' if holds else 'NOT SO'}: {row.shows}")
    return good


def stop_by_signal(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def keep(sandbox: Receiver) -> None:
    """Waits for Ctrl-C, which is how this ends well."""
    print(f"\nThe page stays at {sandbox.page_url} until you press Ctrl-C.", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()


def main() -> int:
    parser = argparse.ArgumentParser(description="Report real playbook runs to a receiver on this machine.")
    parser.add_argument("--keep", action="store_true", help="leave the receiver and its page open until Ctrl-C")
    arguments = parser.parse_args()
    # Where SIGINT came in as ignored (a job in the background), the playbooks would ignore it, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop_by_signal)
    try:
        with workshop() as shop, receiver(shop) as sandbox:
            if arguments.keep:
                print(f"  see the changes arrive: {sandbox.page_url}", flush=True)
            print(f"  receiver at {sandbox.url}, until the demo ends; everything else in {shop.folder}", flush=True)
            shop.environment["FLASHDUTY_PUSH_URL"] = sandbox.push_url()
            results: list[tuple[Row, Change]] = []
            for step in STEPS:
                results += zip(step.rows, run(step, shop, sandbox), strict=True)
            good = show(results)
            if arguments.keep:
                keep(sandbox)
        if not arguments.keep:
            print("\nThe receiver and its page are stopped. To look at the page, run: make demo-keep", flush=True)
    except DemoError as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything that was started is stopped.", file=sys.stderr)
        return 130
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
