# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The courier's client: starts the courier of one process and one integration, wakes it, and waits for it.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import sys
import time
from collections.abc import Callable

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier import entry
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.config import (
    FIFO_READER,
    SIGNALS_READER,
    CourierConfig,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import Signals
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.lock_file import locked
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

# Seconds.
_LOCK_TIMEOUT = 2.0
_POLL_FIRST = 0.002
_POLL_MOST = 0.02
_WAKE_AGAIN = 1.0


def requests_is_missing() -> str | None:
    """The warning where ``requests`` is not installed on the control node; None where it is."""
    if importlib.util.find_spec("requests") is not None:
        return None
    return (
        f"the Python package requests is missing for {sys.executable},"
        f" install it with: {sys.executable} -m pip install requests"
    )


class CourierClient:
    """Has what is in the store delivered.

    :param store: where the events are.
    :param connection: where to deliver to.
    :param process: the ansible process beside which the courier stays.
    :param run: the run that the courier closes should that process vanish.
    :param signals: those of that process; None where nobody watches them.
    :param interrupted_text: what a change says that the courier closes after a Ctrl-C; None for what it says otherwise.
    """

    def __init__(
        self,
        store: Store,
        connection: Connection,
        process: Process,
        run: str | None = None,
        signals: Signals | None = None,
        interrupted_text: str | None = None,
    ) -> None:
        self._store = store
        self._connection = connection
        self._process = process
        self._run = run
        self._signals = signals
        self._interrupted_text = interrupted_text
        self._fifo: str | None = None

    def wake(self) -> None:
        """Let the courier look into the outbox, and start it where there is none.

        :raises OSError: where it cannot be started.
        :raises OutboxError: where no folder can be used in which it could be called.
        """
        fifo = self._fifo or self._fifo_in(self._store.folder)
        if not _woken(fifo):
            os.makedirs(os.path.dirname(fifo), mode=0o700, exist_ok=True)
            # Without the lock too: a courier too many does less harm than none.
            with locked(fifo + ".lock", _LOCK_TIMEOUT):
                if not _woken(fifo):
                    self._start(fifo)
        self._fifo = fifo

    def wait(self, done: Callable[[Outbox, str], bool], seconds: float) -> bool:
        """Wait for the courier until ``done`` says so of the outbox, at most so many seconds.

        :param done: gets the outbox and the integration's id in it.
        :raises OSError: where the courier has died and cannot be started again.
        :raises OutboxError: where the outbox cannot be read.
        """
        end = time.monotonic() + seconds
        pause, wake_at = _POLL_FIRST, time.monotonic() + _WAKE_AGAIN
        outbox: Outbox | None = None
        try:
            while True:
                outbox = self._store.opened(outbox)
                if done(outbox, self._store.integration):
                    return True
                now = time.monotonic()
                if now >= end:
                    return False
                if now >= wake_at:
                    # Should the courier have died, another takes its place.
                    self.wake()
                    wake_at = now + _WAKE_AGAIN
                time.sleep(min(pause, end - now))
                pause = min(pause * 1.5, _POLL_MOST)
        finally:
            if outbox is not None:
                outbox.close()

    def _fifo_in(self, folder: str) -> str:
        name = f"{self._store.integration[:16]}-{self._process.pid}-{self._process.start}.fifo"
        return os.path.join(folder, "couriers", name)

    def _start(self, fifo: str) -> None:
        if not os.path.exists(fifo):
            os.mkfifo(fifo, 0o600)
        config = CourierConfig(
            state_dir=self._store.configured,
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
            os.write(writer, config.to_json().encode())
        finally:
            for descriptor in ours:
                os.close(descriptor)


def _above(descriptor: int) -> int:
    """The same under a number above those that the courier gets: where a standard stream is closed, they are free."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, SIGNALS_READER + 1)
    os.close(descriptor)
    return moved


def _woken(path: str) -> bool:
    try:
        fifo = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        os.write(fifo, b"!")
    except OSError:  # full, so it has been woken often enough
        pass
    finally:
        os.close(fifo)
    return True
