# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delivery: takes events out of the outbox and sees them into Flashduty, in order, paced, with back-off.

Private to this collection; may change in any release.

At least once: an event whose answer was lost is sent again, which is harmless, since Flashduty merges by change_key.
Never to be used in the ansible-playbook process, whose forks could inherit a lock that a thread holds.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable

from ansible_collections.flashcat.flashduty.plugins.module_utils._api import Api, ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_file import OutboxError
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_sending import Claim, SendingOutbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process
from ansible_collections.flashcat.flashduty.plugins.module_utils._spare_outbox import ended_elsewhere

_SENDERS_MAX = 8
# Seconds.
_BACK_OFF_FIRST = 1.0
_BACK_OFF_MOST = 60.0
_RETRY_AFTER_MOST = 3600.0
_LEASE_BEYOND_BUDGET = 5.0
_OUTBOX_RETRY = 1.0
_PRECEDENCE = 0.5
_CLOCK_TOLERANCE = 1


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row: exponential from 1 s to 60 s, with up to a quarter of jitter."""
    delay = min(_BACK_OFF_MOST, _BACK_OFF_FIRST * 2.0 ** min(failures - 1, 16))
    return delay * random.uniform(1.0, 1.25)


class Delivery:
    """Sends what waits for one integration, from threads of its own, while it is open.

    :param folder: the outbox's folder.
    :param connection: where to, with which key.
    :param wanted: the outbox's folder as configured, where ``folder`` is a spare one.
    """

    def __init__(self, folder: str, connection: Connection, wanted: str | None = None) -> None:
        self._folder = folder
        self._wanted = wanted or folder
        self._connection = connection
        self._owner = Process.of(os.getpid())
        with SendingOutbox(folder, create=False) as outbox:
            self._integration = connection.integration_id(outbox.salt)
            outbox.release_dead_claims(self._integration)
        self._state = threading.Condition()
        self._senders = 0
        self._exchanging = 0
        self._calls = 0
        self._failing = False
        self._open = True

    def __enter__(self) -> Delivery:
        self.wake()
        return self

    def __exit__(self, *_: object) -> None:
        with self._state:
            self._open = False
            self._state.notify_all()

    def wake(self) -> None:
        """Look into the outbox now."""
        with self._state:
            self._calls += 1
            self._state.notify_all()
            self._add_sender()

    def wait(self, done: Callable[[Outbox], bool], deadline: float) -> bool:
        """Wait until ``done`` says so of the outbox.

        :param deadline: ``time.monotonic()`` at which to stop waiting.
        """
        with Outbox(self._folder, create=False) as outbox:
            while not done(outbox):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(0.02, left))
            return True

    def _add_sender(self) -> None:
        """Start another sender where all wait for an answer: any other one looks into the outbox before it rests."""
        if self._open and self._exchanging == self._senders < _SENDERS_MAX:
            self._senders += 1
            try:
                threading.Thread(target=self._send, daemon=True).start()
            except RuntimeError:  # no more threads for this user: those that run deliver too
                self._senders -= 1

    def _send(self) -> None:
        api = Api(self._connection)
        outbox: SendingOutbox | None = None
        try:
            while self._open:
                with self._state:
                    calls = self._calls
                try:
                    # Not synced to disk at each step: what a power cut could undo here is merely sent again.
                    outbox = outbox or SendingOutbox(self._folder, durable=False, create=False)
                    until = self._send_from(outbox, api)
                    if until is not None and self._failing:
                        # Another process may know a better address or a way out: it tries first.
                        until += _PRECEDENCE
                except Exception:  # whatever it is, the others and a later try shall go on
                    until = time.time() + _OUTBOX_RETRY
                    _close(outbox)
                    outbox = None
                self._rest(calls, until)
        finally:
            _close(outbox)
            api.close()
            with self._state:
                self._senders -= 1

    def _send_from(self, outbox: SendingOutbox, api: Api) -> float | None:
        """Send until nothing may be sent now; returns the Unix time at which something may, None for never."""
        lease = self._connection.timeout + _LEASE_BEYOND_BUDGET
        while self._open:
            claim = outbox.claim(self._integration, self._owner, lease)
            if not isinstance(claim, Claim):
                return claim
            with self._state:
                self._exchanging += 1
            try:
                if self._is_more_waiting(outbox):
                    with self._state:
                        self._add_sender()
                self._deliver(outbox, api, claim)
            finally:
                with self._state:
                    self._exchanging -= 1
        return None

    def _is_more_waiting(self, outbox: SendingOutbox) -> bool:
        try:
            return outbox.is_waiting(self._integration)
        except OutboxError:  # what is claimed shall be sent all the same
            return True

    def _rest(self, calls: int, until: float | None) -> None:
        with self._state:
            if self._open and calls == self._calls:
                self._state.wait(None if until is None else max(0.0, until - time.time()))

    def _deliver(self, outbox: SendingOutbox, api: Api, claim: Claim) -> None:
        run = claim.run
        if run is not None and not outbox.holds_end(run) and ended_elsewhere(self._wanted, self._folder, run):
            outbox.superseded(claim)
            return
        budget = self._connection.timeout
        if claim.expires_at is not None:
            budget = min(budget, max(0.1, claim.expires_at - time.time()))
        try:
            request_id = api.push(claim.body, budget)
        except ApiError as error:
            self._failing = error.retry
            if error.retry:
                self._try_again(outbox, claim, error)
            elif (earlier := _by_the_clock_of(error, claim.body)) is not None:
                outbox.corrected(claim, earlier)
            else:
                outbox.refused(claim, error.message, error.code, error.status, error.request_id)
        else:
            self._failing = False
            outbox.delivered(claim, self._integration, request_id)

    def _try_again(self, outbox: SendingOutbox, claim: Claim, error: ApiError) -> None:
        now = time.time()
        if error.code is not None and error.status != 429:
            # Flashduty answers, but not well to this event: let the others pass.
            outbox.failed(claim, self._integration, error.message, now + back_off(claim.tries), now, error.status)
            return
        pause = back_off(outbox.failures(self._integration) + 1)
        if error.retry_after is not None:
            pause = min(error.retry_after, _RETRY_AFTER_MOST) + random.uniform(0.0, 0.2)
        outbox.failed(claim, self._integration, error.message, now, now + pause, error.status)


def _close(outbox: SendingOutbox | None) -> None:
    if outbox is not None:
        outbox.close()


def _by_the_clock_of(error: ApiError, body: str) -> ChangeEvent | None:
    """The event with the server's time, where this machine's clock is fast and the event therefore in its future.

    :returns: None where that cannot be what was wrong with the event.
    """
    event = ChangeEvent.from_json(body)
    if error.code != "InvalidParameter" or error.server_time is None or event.change_status == "Ready":
        return None
    server_time = int(error.server_time)
    if event.event_time is None or event.event_time <= server_time + _CLOCK_TOLERANCE:
        return None
    return event._replace(event_time=server_time)
