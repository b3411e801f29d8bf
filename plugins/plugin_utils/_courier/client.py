# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way from a door of the collection to delivery: which outbox, starting and calling the courier, waiting for it.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._lock_file import locked
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import salt_of
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.module_utils._spare_outbox import Stored, close_run, store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import entry
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.config import (
    FIFO_READER,
    SIGNALS_READER,
    Mission,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals

# Seconds.
_LOCK_TIMEOUT = 2.0
_POLL_FIRST = 0.002
_POLL_MOST = 0.02
_CALL_AGAIN = 1.0

_Answer = TypeVar("_Answer")


def requests_is_missing() -> str | None:
    """What to tell the user where ``requests`` is not installed on the control node; None where it is."""
    if importlib.util.find_spec("requests") is not None:
        return None
    return (
        f"the Python package requests is missing for {sys.executable},"
        f" install it with: {sys.executable} -m pip install requests"
    )


class Dispatch:
    """Hands over to the courier of one process and one integration.

    :ivar folder: the folder of the outbox that is used.
    :param wanted: the folder of the outbox, as configured.
    :param connection: where to deliver to.
    :param process: the ansible process beside which the courier stays.
    :param run: the run that the courier closes should that process vanish.
    :param folder: a spare folder that is used already; None for the wanted one.
    :param signals: those of that process; None where nobody watches them.
    :param interrupted_text: what a change says that the courier closes after a Ctrl-C; None for what it says otherwise.
    """

    def __init__(
        self,
        wanted: str,
        connection: Connection,
        process: Process,
        run: str | None = None,
        folder: str | None = None,
        signals: Signals | None = None,
        interrupted_text: str | None = None,
    ) -> None:
        self.folder = folder or wanted
        self._notices: list[str] = []
        self._wanted = wanted
        self._connection = connection
        self._process = process
        self._run = run
        self._signals = signals
        self._interrupted_text = interrupted_text
        self._known: tuple[str, str] | None = None

    @property
    def integration(self) -> str:
        """How the outbox knows the integration."""
        if self._known is None or self._known[0] != self.folder:
            self._known = (self.folder, self._connection.integration_id(salt_of(self.folder)))
        return self._known[1]

    def store(self, action: Callable[[Outbox, str], _Answer]) -> _Answer:
        """Do something with the outbox, or with a spare one where it cannot be used; that one is used from then on.

        :param action: gets the outbox and the integration's id in it.
        :raises OutboxError: where no outbox can be used at all.
        """
        return self._used(store(self._wanted, self._connection, action, first=self.folder))

    def close_run(self, run: str, events: Sequence[ChangeEvent]) -> bool:
        """Record that the run has ended; False where somebody else had closed it.

        :raises OutboxError: where no outbox can be used at all.
        """
        return self._used(close_run(self._wanted, self.folder, self._connection, run, events))

    def _used(self, stored: Stored[_Answer]) -> _Answer:
        self.folder = stored.folder
        if stored.notice is not None:
            self._notices.append(stored.notice)
        return stored.answer

    def take_notices(self) -> list[str]:
        """What to tell the user about the outbox since the last call."""
        taken, self._notices = self._notices, []
        return taken

    @property
    def _fifo(self) -> str:
        name = f"{self.integration[:16]}-{self._process.pid}-{self._process.start}.fifo"
        return os.path.join(self.folder, "couriers", name)

    def call(self) -> None:
        """Let the courier look into the outbox, and start it where there is none.

        :raises OSError: where it cannot be started.
        """
        fifo = self._fifo
        if _called(fifo):
            return
        os.makedirs(os.path.dirname(fifo), mode=0o700, exist_ok=True)
        # Without the lock too: a courier too many does less harm than none.
        with locked(fifo + ".lock", _LOCK_TIMEOUT):
            if not _called(fifo):
                self._start(fifo)

    def wait(self, done: Callable[[Outbox], bool], seconds: float) -> bool:
        """Wait for the courier until ``done`` says so of the outbox, at most so many seconds."""
        end = time.monotonic() + seconds
        pause, call_at = _POLL_FIRST, time.monotonic() + _CALL_AGAIN
        with Outbox(self.folder) as outbox:
            while not done(outbox):
                now = time.monotonic()
                if now >= end:
                    return False
                if now >= call_at:
                    # Should the courier have died, another takes its place.
                    self.call()
                    call_at = now + _CALL_AGAIN
                time.sleep(min(pause, end - now))
                pause = min(pause * 1.5, _POLL_MOST)
        return True

    def _start(self, fifo: str) -> None:
        if not os.path.exists(fifo):
            os.mkfifo(fifo, 0o600)
        mission = Mission(
            wanted=self._wanted,
            folder=self.folder,
            connection=self._connection,
            process=self._process,
            fifo=fifo,
            run=self._run,
            interrupted_text=self._interrupted_text,
            signals=self._signals is not None,
            import_path=entry.import_path(),
        )
        reader = _above(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        pipe, writer = (_above(end) for end in os.pipe())
        file_actions = [
            (os.POSIX_SPAWN_DUP2, pipe, 0),
            (os.POSIX_SPAWN_DUP2, reader, FIFO_READER),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        ours = [reader, pipe, writer]
        if self._signals is not None:
            ours.append(_above(os.dup(self._signals.reader)))
            file_actions.append((os.POSIX_SPAWN_DUP2, ours[-1], SIGNALS_READER))
        try:
            os.posix_spawn(
                sys.executable,
                entry.command("_courier.process"),
                entry.environment(),
                file_actions=file_actions,
                setsid=True,
            )
            os.write(writer, mission.to_json().encode())
        finally:
            for descriptor in ours:
                os.close(descriptor)


def _above(descriptor: int) -> int:
    """The same under a number above those that the courier gets: where a standard stream is closed, they are free."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, SIGNALS_READER + 1)
    os.close(descriptor)
    return moved


def _called(path: str) -> bool:
    try:
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        os.write(fifo, b"!")
    except OSError:  # full, so it has been called often enough
        pass
    finally:
        os.close(fifo)
    return True
