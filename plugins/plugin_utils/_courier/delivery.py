# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delivery: takes events out of the outbox and sees them into Flashduty, in order, paced, with back-off.

Never to be used in the ansible-playbook process, whose forks could inherit a lock that a thread holds.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ansible_collections.flashcat.flashduty.plugins.module_utils._http import Api
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.config import NO_MORE_PROCESSES
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.exchange import Exchange, Record
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.sharing import Sharing

_SENDERS_MAX = 8
# Seconds.
_OUTBOX_RETRY = 1.0
_PRECEDENCE = 0.5


class Delivery:
    """Sends what waits for one integration, from threads of its own, while it is open.

    :param store: where it waits, and for which integration.
    :param sharing: the shared outbox; None where this node's is the only one.
    """

    def __init__(self, store: Store, sharing: Sharing | None = None) -> None:
        self._sharing = sharing
        self._store = store
        self._state = threading.Condition()
        self._senders = 0
        self._exchanging = 0
        self._calls = 0
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

    def _add_sender(self) -> None:
        """Start another sender where all wait for an answer: any other one looks into the outbox before it rests."""
        if self._open and self._exchanging == self._senders < _SENDERS_MAX:
            self._senders += 1
            try:
                threading.Thread(target=self._send, daemon=True).start()
            except RuntimeError:  # no more threads for this user: those that run deliver too
                self._senders -= 1
                if not self._senders:
                    raise OSError(NO_MORE_PROCESSES) from None

    def _send(self) -> None:
        api = Api(self._store.connection)
        exchange = Exchange(self._store.connection, api.push)
        outbox: Outbox | None = None
        try:
            while self._open:
                with self._state:
                    calls = self._calls
                try:
                    before, outbox = outbox, self._store.opened_for_sending(outbox)
                    if outbox is not before:
                        outbox.claims.release_dead()
                    until = self._send_from(outbox, exchange)
                    if until is not None and exchange.failing:
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

    def _send_from(self, outbox: Outbox, exchange: Exchange) -> float | None:
        """Send until nothing may be sent now; returns the Unix time at which something may, None for never."""
        while self._open:
            sharing = self._sharing
            claim = outbox.claims.claim(exchange.lease) if sharing is None else sharing.claim(outbox, exchange.lease)
            if not isinstance(claim, Claim):
                return claim
            with self._state:
                self._exchanging += 1
            try:
                if self._is_more_waiting(outbox):
                    with self._state:
                        self._add_sender()
                self._record(outbox, claim, exchange.push(claim))
            finally:
                with self._state:
                    self._exchanging -= 1
        return None

    def _record(self, outbox: Outbox, claim: Claim, record: Record) -> None:
        """Record an answer, in the spool where the outbox has become unusable meanwhile.

        :raises OutboxError: where that was not possible as long as the claim lasts.
        """
        if self._sharing is not None:
            self._sharing.record(record)
        try:
            record(outbox)
        except OutboxError:
            while True:
                time.sleep(_OUTBOX_RETRY)
                try:
                    with self._store.opened_for_sending() as other:
                        record(other)
                    return
                except OutboxError:
                    if time.time() > claim.until:
                        raise

    @staticmethod
    def _is_more_waiting(outbox: Outbox) -> bool:
        try:
            return outbox.claims.is_waiting()
        except OutboxError:  # what is claimed shall be sent all the same
            return True

    def _rest(self, calls: int, until: float | None) -> None:
        with self._state:
            if self._open and calls == self._calls:
                self._state.wait(None if until is None else max(0.0, until - time.time()))


def _close(outbox: Outbox | None) -> None:
    if outbox is not None:
        outbox.close()
