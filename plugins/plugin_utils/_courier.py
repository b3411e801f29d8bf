# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The courier: a small process beside ansible-playbook that delivers, and closes the run should it vanish.

Private to this collection; may change in any release.

Started through ``_standalone.py`` by ``_dispatch.py``, which writes a :class:`Mission` to its standard input. It leaves
when the process it stands beside has gone and everything is delivered.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox, OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process

# The file descriptor by which the courier inherits the pipe, so that it can be called before it is up.
FIFO_READER = 3
# Seconds.
_SIGN_OF_LIFE = 30.0
_WATCH_INTERVAL = 0.25
_LEAVING_INTERVAL = 0.1
_LINGER = 300.0
_IDLE_MOST = 20.0


@dataclass(frozen=True)
class Mission:
    """What a courier is told when it starts.

    :ivar folder: the outbox's folder.
    :ivar connection: where to deliver to.
    :ivar process: beside which process to stay.
    :ivar fifo: path of the named pipe by which it is woken.
    :ivar run: the run to close should the process vanish; None where there is none.
    :ivar import_path: the ``sys.path`` on which ``requests`` is found.
    """

    folder: str
    connection: Connection
    process: Process
    fifo: str
    run: str | None
    import_path: list[str]

    def to_json(self) -> str:
        """For the pipe to the courier; holds the integration key."""
        return json.dumps(
            {
                "folder": self.folder,
                "connection": self.connection.to_dict(),
                "process": self.process.to_text(),
                "fifo": self.fifo,
                "run": self.run,
                "import_path": self.import_path,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Mission:
        """The mission whose :meth:`to_json` was sent."""
        values: Mapping[str, Any] = json.loads(text)
        return cls(
            folder=values["folder"],
            connection=Connection(**values["connection"]),
            process=Process.from_text(values["process"]),
            fifo=values["fifo"],
            run=values["run"],
            import_path=values["import_path"],
        )


class _Watch:
    """Waits for a call through the named pipe, or for the end of the watched process, whichever comes first."""

    def __init__(self, fifo: str, process: Process) -> None:
        self._process = process
        # Open for writing as well: a pipe without a writer is always readable.
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fifo, select.POLLIN)
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(process.pid)
                self._poll.register(self._pidfd, select.POLLIN)
            except OSError:
                self._pidfd = None
        self.gone = not process.is_alive()

    def wait(self, seconds: float) -> bool:
        """Whether somebody called within so many seconds; ends early when the process does."""
        end = time.monotonic() + seconds
        while True:
            left = max(0.0, end - time.monotonic())
            blind = self._pidfd is None and not self.gone
            ready = dict(self._poll.poll(1000 * min(left, _WATCH_INTERVAL if blind else left)))
            if self._pidfd in ready or (blind and not self._process.is_alive()):
                self._process_has_gone()
                return self._fifo in ready and self._emptied()
            if self._fifo in ready:
                return self._emptied()
            if left <= 0:
                return False

    def _process_has_gone(self) -> None:
        self.gone = True
        if self._pidfd is not None:
            self._poll.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    def _emptied(self) -> bool:
        try:
            while os.read(self._fifo, 4096):
                pass
        except BlockingIOError:
            pass
        return True


def main(_arguments: list[str]) -> int:
    """Run the courier until its work is done."""
    mission = Mission.from_json(sys.stdin.read())
    # Nothing that ansible-playbook had inherited may be held open here; the pipe's first reader only until the
    # next line.
    os.closerange(FIFO_READER + 1, 1024)
    os.chdir("/")
    sys.path[:] = mission.import_path
    watch = _Watch(mission.fifo, mission.process)
    os.close(FIFO_READER)
    with Outbox(mission.folder, durable=False) as outbox:
        integration = mission.connection.integration_id(outbox.salt)
        if mission.run is not None:
            for run in outbox.vanished_runs(integration):
                if run != mission.run:
                    outbox.close_vanished_run(run)
        # Late, for it brings `requests`, whose import takes longer than a short playbook's first task.
        from ansible_collections.flashcat.flashduty.plugins.module_utils._delivery import Delivery

        with Delivery(mission.folder, mission.connection) as delivery:
            _Courier(mission, outbox, integration, watch, delivery).attend()
        _tidy(outbox, mission.fifo)
    return 0


class _Courier:
    def __init__(self, mission: Mission, outbox: Outbox, integration: str, watch: _Watch, delivery: Any) -> None:
        self._mission = mission
        self._outbox = outbox
        self._integration = integration
        self._watch = watch
        self._delivery = delivery
        self._file = os.stat(outbox.path).st_ino

    def attend(self) -> None:
        """Stay beside the process while it lives, then until everything is delivered or it has taken too long."""
        idle_since = time.monotonic()
        while not self._watch.gone:
            if self._watch.wait(_SIGN_OF_LIFE if self._mission.run is not None else _IDLE_MOST):
                idle_since = time.monotonic()
                self._delivery.wake()
            elif not self._outbox_is_there():
                return
            elif self._mission.run is not None:
                self._try(lambda: self._outbox.run_seen(self._mission.run or ""))
            elif time.monotonic() - idle_since >= _IDLE_MOST and self._nothing_pending():
                _remove(self._mission.fifo)
                # What was put before the pipe went is delivered here; what comes after finds no pipe and starts
                # another courier.
                if self._nothing_pending():
                    return
                break
        if self._watch.gone and self._mission.run is not None:
            run = self._mission.run
            self._try(lambda: self._outbox.close_vanished_run(run, time.time()))
        self._leave()

    def _leave(self) -> None:
        end = time.monotonic() + _LINGER
        self._delivery.wake()
        while not self._nothing_pending() and time.monotonic() < end and self._outbox_is_there():
            if self._watch.wait(_LEAVING_INTERVAL):
                self._delivery.wake()

    def _nothing_pending(self) -> bool:
        try:
            return self._outbox.pending(self._integration) == 0
        except OutboxError:
            return False

    def _outbox_is_there(self) -> bool:
        try:
            return os.stat(self._outbox.path).st_ino == self._file
        except OSError:
            return False

    @staticmethod
    def _try(action: Any) -> None:
        for _attempt in range(5):
            try:
                action()
                return
            except OutboxError:
                time.sleep(0.5)


def _tidy(outbox: Outbox, fifo: str) -> None:
    _remove(fifo)
    try:
        outbox.prune()
    except OutboxError:
        pass


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
