# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The courier: a small process beside ansible-playbook that delivers, and closes the run should it vanish.

Private to this collection; may change in any release.

Started through ``entry.py`` by ``client.py``, which writes a :class:`Mission` to its standard input. It leaves
when the process it stands beside has gone and everything is delivered.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import FILE_NAME, OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_sending import SendingOutbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.module_utils._spare_outbox import (
    close_vanished_run,
    close_vanished_runs,
    folders,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.config import (
    FIFO_READER,
    SIGNALS_READER,
    Mission,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import received

# Seconds.
_SIGN_OF_LIFE = 15.0
_WATCH_INTERVAL = 0.25
_LEAVING_INTERVAL = 0.1
_LINGER = 300.0
_IDLE_MOST = 20.0
_TRIES = 5
_TRY_AGAIN = 0.5
# Bytes of an outbox beyond which it is pruned while the run goes on.
_PRUNE_BEYOND = 8 << 20


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
    os.closerange((SIGNALS_READER if mission.signals else FIFO_READER) + 1, 1024)
    os.chdir("/")
    sys.path[:] = mission.import_path
    watch = _Watch(mission.fifo, mission.process)
    os.close(FIFO_READER)
    # Late, for it brings `requests`, whose import takes longer than a short playbook's first task.
    from ansible_collections.flashcat.flashduty.plugins.module_utils._delivery import Delivery

    with ExitStack() as deliveries:

        def delivery_from(folder: str) -> Delivery:
            return deliveries.enter_context(Delivery(folder, mission.connection, mission.wanted))

        courier = _Courier(mission, watch, delivery_from)
        courier.attend()
    courier.retire()
    if watch.gone:
        _remove(mission.fifo + ".lock")
    courier.tidy()
    return 0


class _Courier:
    def __init__(self, mission: Mission, watch: _Watch, delivery_from: Callable[[str], Any]) -> None:
        self._mission = mission
        self._watch = watch
        self._delivery_from = delivery_from
        self._deliveries: dict[str, Any] = {}
        self._outboxes: dict[str, tuple[SendingOutbox, str]] = {}
        self._announced: set[str] = set()
        self._retired = False

    def attend(self) -> None:
        """Stay beside the process while it lives, then until everything is delivered or it has taken too long."""
        idle_since = time.monotonic()
        sign_due = idle_since + _SIGN_OF_LIFE
        self._look_around()
        while not self._watch.gone:
            if self._watch.wait(max(0.0, sign_due - time.monotonic()) if self._runs() else _IDLE_MOST):
                idle_since = time.monotonic()
                self._wake()
            elif not Outbox.exists(self._mission.folder):
                return
            elif time.monotonic() - idle_since >= _IDLE_MOST and self._is_idle():
                # What was put before the pipe went is delivered here; what comes after finds no pipe and starts
                # another courier.
                self.retire()
                if self._is_idle():
                    return
                idle_since = time.monotonic()
                self._wake()
            if time.monotonic() >= sign_due and not self._watch.gone:
                sign_due = time.monotonic() + _SIGN_OF_LIFE
                self._give_sign_of_life()
        if self._watch.gone:
            moment = time.time()
            for folder, run in self._runs():
                self._close(folder, run, moment)
            self._look_around()
        self._leave()

    def retire(self) -> None:
        """From now on nobody can call this courier. Another one may have made a pipe of that name since."""
        if not self._retired:
            self._retired = True
            _remove(self._mission.fifo)

    def _is_idle(self) -> bool:
        return not self._runs() and self._nothing_pending()

    def tidy(self) -> None:
        """Forget what is old."""
        for folder in self._deliveries:
            self._in(folder, lambda outbox, _integration: outbox.prune())
        for outbox, _integration in self._outboxes.values():
            outbox.close()

    def _give_sign_of_life(self) -> None:
        for folder, run in self._runs():
            self._in(folder, partial(_seen, run, None))
        for folder in self._deliveries:
            if _size(folder) > _PRUNE_BEYOND:
                self._in(folder, lambda outbox, _integration: outbox.prune())
        self._look_around()

    def _look_around(self) -> None:
        """Take care of what others left behind: vanished runs, and events in the spare outboxes."""
        mission = self._mission
        try:
            close_vanished_runs(mission.wanted, mission.connection, but=mission.run)
        except Exception:  # what others left, or a damage, must not keep this run's own events here
            pass
        for folder in folders(mission.wanted):
            if self._pending(folder):
                self._deliver_from(folder)
        self._wake()

    def _deliver_from(self, folder: str) -> None:
        if folder not in self._deliveries:
            try:
                self._deliveries[folder] = self._delivery_from(folder)
            except OutboxError:  # not there yet, or not usable now: the next call tries again
                pass

    def _wake(self) -> None:
        self._announce()
        self._deliver_from(self._mission.folder)
        for delivery in self._deliveries.values():
            delivery.wake()

    def _runs(self) -> list[tuple[str, str]]:
        """The open runs of the process, with the folders of their outboxes: its own, and changes of its tasks."""
        run = self._mission.run
        runs = [] if run is None else [(self._mission.folder, run)]
        for folder in filter(Outbox.exists, dict.fromkeys((self._mission.folder, *self._deliveries))):
            found = self._in(folder, lambda outbox, known_as: outbox.open_runs_of(self._mission.process, known_as))
            runs += [(folder, each) for each in found or () if each != run]
        return runs

    def _announce(self) -> None:
        """From now on nobody else closes the runs, of which one may be about to begin."""
        courier = Process.of(os.getpid())
        for folder, run in self._runs():
            if run not in self._announced and self._in(folder, partial(_seen, run, courier)):
                self._announced.add(run)

    def _close(self, folder: str, run: str, moment: float) -> None:
        mission = self._mission
        reason = self._reason() if run == mission.run else None
        for attempt in range(_TRIES):
            try:
                close_vanished_run(mission.wanted, folder, mission.connection, run, moment, reason)
                break
            except OutboxError:
                time.sleep(_TRY_AGAIN * (attempt + 1))

    def _reason(self) -> str | None:
        was_interrupted = self._mission.signals and signal.SIGINT in received(SIGNALS_READER)
        return self._mission.interrupted_text if was_interrupted else None

    def _leave(self) -> None:
        """Deliver what is left while it gets less, which takes minutes where each of many hosts is a change."""
        least, end = self._left(), time.monotonic() + _LINGER
        self._wake()
        while (left := self._left()) and time.monotonic() < end and Outbox.exists(self._mission.folder):
            if left < least:
                least, end = left, time.monotonic() + _LINGER
            if self._watch.wait(_LEAVING_INTERVAL):
                self._wake()

    def _nothing_pending(self) -> bool:
        return not self._left()

    def _left(self) -> int:
        return sum(self._pending(folder) for folder in self._deliveries)

    def _pending(self, folder: str) -> int:
        count = self._in(folder, lambda outbox, integration: outbox.pending(integration))
        return 1 if count is None else int(count)

    def _in(self, folder: str, action: Callable[[SendingOutbox, str], Any]) -> Any:
        """What the action returns, None where the outbox cannot be used now."""
        try:
            if folder not in self._outboxes:
                outbox = SendingOutbox(folder, durable=False, create=False)
                self._outboxes[folder] = (outbox, self._mission.connection.integration_id(outbox.salt))
            return action(*self._outboxes[folder])
        except OutboxError:
            return None


def _seen(run: str, courier: Process | None, outbox: Outbox, _integration: str) -> bool:
    return outbox.run_seen(run, courier)


def _size(folder: str) -> int:
    try:
        return os.stat(os.path.join(folder, FILE_NAME)).st_size
    except OSError:
        return 0


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
