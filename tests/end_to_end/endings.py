# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that end in every way a run can, and what must be true of each afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import termios
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from control_node import ANSIBLE_PLAYBOOK, KEY, ControlNode

from flashduty_sandbox.receiver import Receiver

# Seconds after the end of ansible-playbook. What is promised, and what a machine with much else to do is given.
PROMISED = 5.0
LATEST = 15.0
# Seconds until a test gives up.
PATIENCE = 60.0

_ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
_BY_A_RUNNER = """
import os, sys
import ansible_runner

folder, inventory, playbook, cancel = sys.argv[1:]
result = ansible_runner.run(
    private_data_dir=folder, inventory=inventory, playbook=playbook, quiet=True,
    cancel_callback=lambda: os.path.exists(cancel),
)
print(result.status)
"""


class Run:
    """One ansible-playbook, started by hand.

    :ivar pid: the process; in a session and process group of its own.
    """

    def __init__(self, control: ControlNode, *arguments: str) -> None:
        self._log = control.folder / "output"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(control, *arguments),
                cwd=control.folder,
                env=control.environment,
                stdin=self._stdin(),
                stdout=self._stdout(output.fileno()),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def _command(self, control: ControlNode, *arguments: str) -> list[str]:
        return [*ansible_playbook(control), *arguments]

    def _stdin(self) -> int:
        return subprocess.DEVNULL

    def _stdout(self, log: int) -> int:
        return log

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """To the process alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def send_group(self, number: signal.Signals) -> None:
        """To its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Until it has ended; returns its exit code, a signal's number below zero."""
        return self._process.wait(timeout)

    def close(self) -> None:
        """Nothing of it is left."""
        if not self.is_over:
            self._process.kill()
        self._process.wait()


class TerminalRun(Run):
    """ansible-playbook in the foreground of a terminal."""

    def __init__(self, control: ControlNode, *arguments: str) -> None:
        self._master, self._slave = os.openpty()
        super().__init__(control, *arguments)
        os.close(self._slave)
        self._hang_up = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _command(self, control: ControlNode, *arguments: str) -> list[str]:
        return [sys.executable, "-c", _ON_A_TERMINAL, *super()._command(control, *arguments)]

    def _stdin(self) -> int:
        return self._slave

    def _stdout(self, log: int) -> int:
        return self._slave

    def _read(self) -> None:
        with self._log.open("ab", buffering=0) as log:
            while not self._hang_up.is_set():
                if select.select([self._master], [], [], 0.02)[0]:
                    try:
                        log.write(os.read(self._master, 65536))
                    except OSError:
                        break
        self._hang_up.wait()
        os.close(self._master)

    def type(self, text: bytes) -> None:
        """As if on the keyboard."""
        os.write(self._master, text)

    def hang_up(self) -> None:
        """As if its window was closed."""
        self._hang_up.set()
        self._reader.join()

    def wait_for_keys(self) -> None:
        """Until it reads single keys."""
        wait_until(lambda: not termios.tcgetattr(self._master)[3] & termios.ICANON, self)

    def close(self) -> None:
        super().close()
        self.hang_up()


class RunnerRun(Run):
    """ansible-playbook under ansible-runner, as AWX starts it."""

    def __init__(self, control: ControlNode, *arguments: str) -> None:
        self._cancel = control.folder / "cancel"
        super().__init__(control, *arguments)

    def _command(self, control: ControlNode, *arguments: str) -> list[str]:
        folder = control.folder / "runner"
        folder.mkdir()
        return [
            *(sys.executable, "-c", _BY_A_RUNNER, str(folder), str(control.folder / "inventory")),
            *(*arguments, str(self._cancel)),
        ]

    @property
    def output(self) -> str:
        """What ansible-runner has noted down."""
        files = (self._cancel.parent / "runner" / "artifacts").glob("*/stdout")
        return super().output + "".join(file.read_text(errors="replace") for file in files)

    def cancel(self) -> None:
        """As the button in AWX does it outside containers."""
        self._cancel.touch()


def ansible_playbook(control: ControlNode) -> list[str]:
    """The command, up to its playbooks."""
    return [ANSIBLE_PLAYBOOK, "-i", str(control.folder / "inventory")]


class Way(NamedTuple):
    """A way to end a run.

    :ivar reason: a word in the description that says so; None where the run ends by itself.
    :ivar end: ends a run.
    """

    reason: str | None
    start: Callable[..., Any]
    end: Callable[[Any], None]


def _twice(run: Run) -> None:
    run.send_group(signal.SIGINT)
    time.sleep(0.15)
    run.send_group(signal.SIGINT)


INTERRUPTED, KILLED = "nterrupted", "killed"
WAYS: Mapping[str, Way] = {
    "SIGINT to the group": Way(INTERRUPTED, Run, lambda run: run.send_group(signal.SIGINT)),
    "SIGINT": Way(INTERRUPTED, Run, lambda run: run.send(signal.SIGINT)),
    "SIGINT twice": Way(INTERRUPTED, Run, _twice),
    "Ctrl-C": Way(INTERRUPTED, TerminalRun, lambda run: run.type(b"\x03")),
    "SIGTERM": Way(KILLED, Run, lambda run: run.send(signal.SIGTERM)),
    "SIGTERM to the group": Way(KILLED, Run, lambda run: run.send_group(signal.SIGTERM)),
    "SIGHUP": Way(KILLED, Run, lambda run: run.send(signal.SIGHUP)),
    "SIGQUIT": Way(KILLED, Run, lambda run: run.send(signal.SIGQUIT)),
    "SIGKILL": Way(KILLED, Run, lambda run: run.send(signal.SIGKILL)),
    "SIGKILL to the group": Way(KILLED, Run, lambda run: run.send_group(signal.SIGKILL)),
    "a closed terminal": Way(KILLED, TerminalRun, lambda run: run.hang_up()),
    "ansible-runner's cancel": Way(KILLED, RunnerRun, lambda run: run.cancel()),
}

STEP = """
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.raw: {command!r}
      changed_when: false
"""


class Stage:
    """A control node and a receiver for one ending."""

    def __init__(self, control: ControlNode) -> None:
        self.control = control
        self.receiver: Receiver = control.receiver
        self._person = control.folder / "person"
        self._person.mkdir()
        # By it every process is known that belongs here: the courier is given no other environment.
        control.environment["HOME"] = str(self._person)
        control.environment["ANSIBLE_DISPLAY_FAILED_STDERR"] = "false"
        self.run: Run | None = None
        self._over_at = 0.0
        self._was_open = False
        self._others = ""

    def playbook(self, *commands: str) -> str:
        """A playbook with a play for each shell command; returns its path."""
        text = "".join(STEP.format(command=command) for command in commands)
        return self.control.write("site.yml", text)

    def other_playbook(self) -> str:
        """One that is a change of its own, and short; returns its path."""
        self._others = "other.yml"
        return self.control.write(self._others, STEP.format(command="true"))

    def mark(self, name: str) -> Path:
        """A file that a task makes."""
        return self.control.folder / f"mark-{name}"

    def start(self, way: Way, *arguments: str) -> Run:
        """Start ansible-playbook as this way to end it needs."""
        run: Run = way.start(self.control, *arguments)
        self.run = run
        return run

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Until something is so, or ansible-playbook has ended."""
        wait_until(condition, self.run)

    def end(self, way: Way) -> None:
        """End the run and wait until ansible-playbook has gone."""
        assert self.run is not None
        way.end(self.run)
        try:
            self.run.wait(10 if way.reason == INTERRUPTED else PATIENCE)
        except subprocess.TimeoutExpired:
            # ansible-core 2.19 and later lose a Ctrl-C that comes while a worker is forked: a person presses again.
            way.end(self.run)
            self.run.wait()
        self.is_over()

    def is_over(self) -> None:
        """From now on ansible-playbook has gone."""
        self._over_at = time.time()
        self._was_open = self.is_open()

    # What the outbox says

    def outbox(self, statement: str) -> list[tuple[Any, ...]]:
        """What the outbox answers; nothing where there is none yet."""
        path = self.control.folder / "home" / "flashduty" / "outbox.sqlite3"
        if not path.exists():
            return []
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
                    return database.execute(statement).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                # Whoever only reads cannot open it while its last user closes it, or before its next one mends it.
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def is_open(self) -> bool:
        """Whether the outbox knows of a run."""
        return bool(self.outbox("SELECT 1 FROM runs"))

    def is_closed(self) -> bool:
        """Whether the outbox knows the end of the run."""
        return bool(self.outbox("SELECT 1 FROM runs WHERE closed_at IS NOT NULL"))

    # What the receiver says

    def events(self) -> list[dict[str, Any]]:
        """What arrived of the run."""
        return [event for event in self.receiver.events() if event["labels"]["playbook"] != self._others]

    def has_ended(self) -> bool:
        """Whether the end of the run arrived."""
        return any(is_terminal(event) for event in self.events())

    # What must be true

    def wait_for_close(self, timeout: float = PATIENCE) -> float:
        """Until nothing is left to deliver; returns the seconds since the end of ansible-playbook.

        :raises TimeoutError: what is left.
        """
        # One that was ended faster than its first event needs no close.
        if self._was_open:
            self.receiver.wait_for(self.has_ended, timeout)
        took = max(0.0, time.time() - self._over_at)
        wait_until(lambda: not self.couriers(), None, timeout)
        return took

    def check(self, reason: str | None = None) -> str | None:
        """What must be true of every ending, once it is closed.

        :param reason: a word that the description must hold where the run was cancelled.
        :returns: the final status; None where nothing was reported.
        """
        output = self.run.output if self.run is not None else ""
        assert KEY not in output
        assert not re.search(r'File ".*flashduty/plugins/', output), output
        assert self.outbox("SELECT count(*) FROM runs WHERE closed_at IS NULL") in ([], [(0,)])
        assert self.outbox("SELECT state, count(*) FROM events WHERE state != 'delivered' GROUP BY 1") == []
        events = self.events()
        if not self._was_open:
            assert events == [], output
            return None
        statuses = [event["change_status"] for event in events]
        assert len({event["change_id"] for event in events}) == 1
        assert statuses[0] == "Processing", statuses
        assert [is_terminal(event) for event in events] == [False] * (len(events) - 1) + [True], statuses
        description = str(events[-1]["description"])
        if statuses[-1] == "Done":
            assert "PLAY RECAP" in output or not output, output
        elif reason is not None and "PLAY RECAP" not in output:
            assert reason in description, description
        return str(statuses[-1])

    def couriers(self) -> list[int]:
        """The couriers that run for this control node."""
        return [pid for pid, command in self._processes() if command.endswith(b"\0_courier.process\0")]

    def _processes(self) -> Iterator[tuple[int, bytes]]:
        mine = b"HOME=" + os.fsencode(self._person)
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mine in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name), (folder / "cmdline").read_bytes()

    def close(self) -> None:
        """Nothing of it is left: workers and tasks outlive an ansible-playbook that was killed."""
        if self.run is not None:
            self.run.close()
        for _attempt in range(50):
            left = list(self._processes())
            if not left:
                break
            for pid, _command in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        shutil.rmtree(self._person, ignore_errors=True)


def is_terminal(event: Mapping[str, Any]) -> bool:
    """Whether the event ends its change."""
    return event["change_status"] in ("Done", "Canceled")


def wait_until(condition: Callable[[], object], run: Run | None, timeout: float = PATIENCE) -> None:
    """Until something is so, or the run has ended.

    :raises TimeoutError: it took too long.
    """
    end = time.monotonic() + timeout
    while not condition():
        if run is not None and run.is_over:
            return
        if time.monotonic() > end:
            raise TimeoutError(textwrap.dedent(run.output) if run is not None else "it never came true")
        time.sleep(0.01)
