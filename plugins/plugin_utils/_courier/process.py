# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The courier: a small process beside ansible-playbook that delivers, and closes the run should it vanish.

Started through ``entry.py`` by ``client.py``, which writes a :class:`CourierConfig` to its standard input. It leaves
when the process it stands beside has gone and everything is delivered.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.config import (
    COURIER_NAME,
    FIFO_READER,
    SIGNALS_READER,
    CourierConfig,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.signals import received
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import (
    FILE_NAME,
    NO_SQLITE,
    OutboxError,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.folders import forget_couriers
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.delivery import Delivery
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.sharing import Sharing

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

_Answer = TypeVar("_Answer")


class _Watch:
    """Waits to be woken through the named pipe, or for the end of the watched process, whichever comes first."""

    def __init__(self, fifo: str, process: Process) -> None:
        self._process = process
        # Open for writing as well: a pipe without a writer is always readable.
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fifo, select.POLLIN)
        self._pidfd: int | None = None
        with suppress(AttributeError, OSError):  # not every system has it
            self._pidfd = os.pidfd_open(process.pid)
            self._poll.register(self._pidfd, select.POLLIN)
        self.gone = not process.is_alive()

    def wait(self, seconds: float) -> bool:
        """Whether somebody wakes it within so many seconds; ends early when the process does."""
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
        with suppress(BlockingIOError):
            while os.read(self._fifo, 4096):
                pass
        return True


def main() -> None:
    """Run the courier until its work is done."""
    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write(COURIER_NAME)
    config = CourierConfig.from_json(sys.stdin.read())
    # Nothing that ansible-playbook had inherited may be held open here; the pipe's first reader only until the
    # next line.
    _close_from((SIGNALS_READER if config.signals else FIFO_READER) + 1)
    os.chdir("/")
    sys.path[:] = config.import_path
    watch = _Watch(config.fifo, config.process)
    os.close(FIFO_READER)
    with _only_last_words():
        try:
            _work(config, watch)
        except BaseException:
            _remove(config.fifo)
            raise


def _close_from(first: int) -> None:
    try:
        most = max(map(int, os.listdir("/dev/fd")))
    except (OSError, ValueError):
        most = os.sysconf("SC_OPEN_MAX")
    os.closerange(first, most + 1)


@contextmanager
def _only_last_words() -> Iterator[None]:
    """Keep the standard error for the end: nobody reads it until then, and a full pipe would stop whoever writes."""
    words = os.dup(2)
    os.dup2(1, 2)
    try:
        yield
    finally:
        os.dup2(words, 2)


def _work(config: CourierConfig, watch: _Watch) -> None:
    # Late, for they bring `requests`, whose import takes longer than a short playbook's first task.
    from ansible_collections.flashcat.flashduty.plugins.module_utils._http import import_problem
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.delivery import Delivery

    problem = import_problem() or NO_SQLITE
    if problem:
        sys.exit(problem)
    store = Store(config.state_dir, config.connection, config.process)
    with ExitStack() as until_left:
        sharing: Sharing | None = None
        if config.connection.outbox_url:
            from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.sharing import Sharing

            sharing = until_left.enter_context(Sharing(store))
        delivery = until_left.enter_context(Delivery(store, sharing))
        courier = Courier(config, watch, store, delivery, sharing)
        courier.attend()
    courier.retire()
    if watch.gone:
        _remove(config.fifo + ".lock")
    courier.close()
    forget_couriers(store.folder)


class Courier:
    """What a courier does while its process lives, and when it has gone.

    :param delivery: delivers from the store.
    :param sharing: the shared outbox; None where this node's is the only one.
    """

    def __init__(
        self, config: CourierConfig, watch: _Watch, store: Store, delivery: Delivery, sharing: Sharing | None = None
    ) -> None:
        self._sharing = sharing
        # Nodes that were killed whole are looked for more often than a sign of life is due.
        self._sign_of_life = _SIGN_OF_LIFE if sharing is None else _SIGN_OF_LIFE / 3
        self._config = config
        self._watch = watch
        self._store = store
        self._delivery = delivery
        self._outbox: Outbox | None = None
        self._announced: set[str] = set()
        self._retired = False

    def attend(self) -> None:
        """Stay beside the process while it lives, then until everything is delivered or it has taken too long."""
        idle_since = time.monotonic()
        sign_due = idle_since + self._sign_of_life
        self._look_around()
        while not self._watch.gone:
            if self._watch.wait(max(0.0, sign_due - time.monotonic()) if self._runs() else _IDLE_MOST):
                idle_since = time.monotonic()
                self._wake()
            elif not self._store.exists:
                return
            elif time.monotonic() - idle_since >= _IDLE_MOST and self._may_leave():
                # What was put before the pipe went is delivered here; what comes after finds no pipe and starts
                # another courier.
                self.retire()
                if self._may_leave():
                    return
                idle_since = time.monotonic()
                self._wake()
            if time.monotonic() >= sign_due and not self._watch.gone:
                sign_due = time.monotonic() + self._sign_of_life
                self._give_sign_of_life()
        if self._watch.gone:
            moment = time.time()
            for run in self._runs():
                self._close(run, moment)
            self._look_around()
        self._leave()

    def retire(self) -> None:
        """From now on nobody can wake this courier. Another one may have made a pipe of that name since."""
        if not self._retired:
            self._retired = True
            _remove(self._config.fifo)

    def in_outbox(self, action: Callable[[Outbox], _Answer]) -> _Answer | None:
        """What the action returns, None where the outbox cannot be used now."""
        try:
            self._outbox = self._store.opened_for_sending(self._outbox)
            return action(self._outbox)
        except OutboxError:
            return None

    def close(self) -> None:
        """Forget what is old, and close the outbox."""
        self.in_outbox(_pruned)
        if self._outbox is not None:
            self._outbox.close()

    def _may_leave(self) -> bool:
        # Where ansible-playbook is a container's first process, nobody would reap a courier that leaves before it.
        return self._config.process.pid != 1 and not self._runs() and not self._left()

    def _give_sign_of_life(self) -> None:
        runs = self._runs()
        self.in_outbox(lambda outbox: outbox.runs.seen(*runs))
        if _size(self._store.folder) > _PRUNE_BEYOND:
            self.in_outbox(_pruned)
        self._look_around()

    def _look_around(self) -> None:
        """Take care of what others left behind: vanished runs, and what lies in the spool."""
        try:
            self.in_outbox(lambda outbox: outbox.runs.close_all_vanished(but=self._config.run))
        except Exception:  # what others left, or a damage, must not keep this run's own events here
            pass
        self._share()
        self._wake()

    def _share(self) -> None:
        """Give signs of life in the shared outbox, and take care of what other nodes left behind."""
        sharing = self._sharing
        if sharing is not None:
            runs = self._runs()
            self.in_outbox(lambda outbox: sharing.keep(outbox, runs))

    def _wake(self) -> None:
        self._announce()
        self._delivery.wake()

    def _runs(self) -> list[str]:
        """The open runs of the process: its own, and changes of its tasks."""
        run = self._config.run
        found = self.in_outbox(lambda outbox: outbox.runs.open_of(self._config.process))
        return [*([] if run is None else [run]), *(each for each in found or () if each != run)]

    def _announce(self) -> None:
        """From now on nobody else closes the runs, of which one may be about to begin."""
        for run in self._runs():
            if run not in self._announced and self.in_outbox(lambda outbox, run=run: outbox.runs.seen(run)):  # type: ignore[misc]
                self._announced.add(run)

    def _close(self, run: str, moment: float) -> None:
        reason = self._reason() if run == self._config.run else None
        for attempt in range(_TRIES):
            try:
                self._store.do(lambda outbox: outbox.runs.close_vanished(run, moment, reason))
                break
            except OutboxError:
                time.sleep(_TRY_AGAIN * (attempt + 1))

    def _reason(self) -> str | None:
        was_interrupted = self._config.signals and signal.SIGINT in received(SIGNALS_READER)
        return self._config.interrupted_text if was_interrupted else None

    def _leave(self) -> None:
        """Deliver what is left while it gets less, which takes minutes where each of many hosts is a change."""
        least, end = self._left(), time.monotonic() + _LINGER
        self._wake()
        share_due = time.monotonic() + self._sign_of_life
        while (left := self._left()) and time.monotonic() < end and self._store.exists:
            if time.monotonic() >= share_due:
                share_due = time.monotonic() + self._sign_of_life
                self._share()
            if left < least:
                least, end = left, time.monotonic() + _LINGER
            if self._watch.wait(_LEAVING_INTERVAL):
                self._wake()
        if self._sharing is not None:
            self._leave_shared()

    def _leave_shared(self) -> None:
        """Let the shared outbox know how everything ended: others would send again what it takes for left behind."""
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.relay import untold

        end = time.monotonic() + _LINGER
        self._share()
        while self.in_outbox(untold) and time.monotonic() < end:
            time.sleep(_TRY_AGAIN)
            self._share()

    def _left(self) -> int:
        count = self.in_outbox(lambda outbox: outbox.events.pending())
        return 1 if count is None else count


def _pruned(outbox: Outbox) -> None:
    outbox.integrations.prune()


def _size(folder: str) -> int:
    try:
        return os.stat(os.path.join(folder, FILE_NAME)).st_size
    except OSError:
        return 0


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
