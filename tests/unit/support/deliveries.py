# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A delivery in the process of the test, and what tests of deliveries share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.delivery import Delivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._tasks.delivery import Done, TaskDelivery
from flashduty_sandbox.receiver import Receiver

KEY = "8f3c0ad5e1b24c67"
APP_KEY = "5d0b7e92c4f14a38"
# Seconds that anything may take on a busy machine.
PATIENCE = 60.0


def wait_until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def ended(pid: int) -> None:
    """End a child of this process, unless it was waited for: then its PID may be another's by now."""
    with suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def exit_code(pid: int) -> int:
    """How a child of this process ends, which is waited for."""
    found: list[int] = []

    def has_ended() -> bool:
        reaped, status = os.waitpid(pid, os.WNOHANG)
        found.append(status)
        return reaped == pid

    wait_until(has_ended)
    return os.waitstatus_to_exitcode(found[-1])


def statuses(receiver: Receiver, key: str = "a") -> list[str]:
    """What has arrived of a change, in order."""
    return [each["change_status"] for each in receiver.events() if each["change_key"] == key]


class DirectDelivery(TaskDelivery):
    """What a task's delivery promises, by the threads of a courier in this process."""

    def __init__(self, store: Store, connection: Connection) -> None:
        self._store = store
        self._connection = connection
        self.waited = 0

    def wait(self, done: Done, seconds: float, change_key: str | None = None, claim: Claim | None = None) -> None:
        """Deliver until ``done`` says so, at most so many seconds."""
        self.waited += 1
        end = time.monotonic() + seconds
        sender = Store(self._store.configured, self._connection)
        with Delivery(sender), self._store.opened() as outbox:
            while not done(outbox) and time.monotonic() < end:
                time.sleep(0.005)


class OneTry(DirectDelivery):
    """Gives up after a try that failed, however long it may take."""

    def wait(self, done: Done, seconds: float, change_key: str | None = None, claim: Claim | None = None) -> None:
        """Deliver until ``done`` says so, or a try has failed."""

        def is_over(outbox: Outbox) -> bool:
            return done(outbox) or outbox.claims.pause.error is not None

        super().wait(is_over, PATIENCE)


class NoAnswer(OneTry):
    """Is in vain for as long as a task waits; what was under way has failed by then."""

    def wait(self, done: Done, seconds: float, change_key: str | None = None, claim: Claim | None = None) -> None:
        """Deliver until a try has failed, and let the time pass."""
        end = time.monotonic() + seconds
        super().wait(done, seconds)
        time.sleep(max(0.0, end - time.monotonic()))
