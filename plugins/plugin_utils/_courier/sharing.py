# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a courier uses the shared outbox, and goes on without it while it cannot be used."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.exchange import Record
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.relay import Relay
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

# Seconds.
_FIRST_ATTEMPT = 3.0
_RETRY_FIRST = 1.0
_RETRY_MOST = 30.0
_GRACE = 45.0

_Answer = TypeVar("_Answer")


class Sharing:
    """The shared outbox as the threads of a courier use it: one connection, made again when it has failed.

    :param store: the outbox of this node, and whose connection names the shared one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._state = threading.Condition()
        self._shared: SharedOutbox | None = None
        self._problem = "no answer yet"
        self._judges_from = 0.0
        self._is_new = True
        self._attempts = 0
        self._open = True
        self._unrecorded: deque[Record] = deque()
        threading.Thread(target=self._connect, daemon=True).start()

    def __enter__(self) -> Sharing:
        return self

    def __exit__(self, *_: object) -> None:
        with self._state:
            self._open = False
            shared, self._shared = self._shared, None
            self._state.notify_all()
        if shared is not None:
            shared.close()

    def do(self, action: Callable[[SharedOutbox], _Answer]) -> _Answer:
        """What the action returns.

        :raises OutboxError: where the shared outbox cannot be used now; the first attempt is waited for.
        """
        with self._state:
            if not self._attempts:
                self._state.wait_for(lambda: self._attempts or not self._open, _FIRST_ATTEMPT)
            shared = self._shared
            if shared is None:
                raise OutboxError(self._problem)
        try:
            return action(shared)
        except OutboxError as error:
            self._failed(shared, str(error))
            raise

    def claim(self, outbox: Outbox, lease: float) -> Claim | float | None:
        """The next event to send, of this node or what another has left, as :meth:`Claims.claim`.

        From the node's own outbox alone while the shared one cannot be used.

        :raises OutboxError: where the node's outbox cannot be used.
        """
        try:
            claim = self.do(lambda shared: self._claim(shared, outbox, lease))
        except OutboxError as error:
            with suppress(OutboxError):
                outbox.claims.sharing_tried(str(error))
            return outbox.claims.claim(lease)
        outbox.claims.sharing_tried(None)
        return claim

    def _claim(self, shared: SharedOutbox, outbox: Outbox, lease: float) -> Claim | float | None:
        self._record_the_rest(shared)
        relay = Relay(outbox, shared)
        if self._is_new:
            relay.exchange()
            self._is_new = False
        else:
            relay.enter()
        paused_until = outbox.claims.pause.until
        if paused_until > time.time():
            return paused_until
        while isinstance(claim := shared.claims.claim(lease), Claim):
            # What another courier of this node sends, which does not reach the shared outbox, stays claimed there: how
            # that ended is told later.
            if outbox.claims.take(claim):
                return claim
        return None if claim is None else time.time() + claim - shared.database.now()

    def record(self, record: Record) -> None:
        """Record an answer in the shared outbox, as soon as it can be used."""
        try:
            self.do(record)
        except OutboxError:
            self._unrecorded.append(record)

    def _record_the_rest(self, shared: SharedOutbox) -> None:
        with suppress(IndexError):
            while True:
                record = self._unrecorded.popleft()
                try:
                    record(shared)
                except OutboxError:
                    self._unrecorded.appendleft(record)
                    raise

    def keep(self, outbox: Outbox, runs: list[str]) -> None:
        """Give a sign of life of these runs, which this process watches, and close those of any node that vanished."""

        def kept(shared: SharedOutbox) -> None:
            self._record_the_rest(shared)
            Relay(outbox, shared).exchange()
            shared.keep(runs)
            if time.monotonic() >= self._judges_from:
                shared.runs.close_all_vanished()
            shared.prune()

        with suppress(OutboxError):
            self.do(kept)

    def _failed(self, shared: SharedOutbox, problem: str) -> None:
        with self._state:
            # Others may not have reached it either, and not be heard of therefore.
            self._judges_from = time.monotonic() + _GRACE
            self._problem = problem
            if self._shared is shared:
                self._shared = None
                self._state.notify_all()
        shared.close()

    def _salt(self) -> bytes:
        try:
            return self._store.salt
        except OutboxError:  # its folder cannot be used, and that of the spool is not known yet
            return secrets.token_bytes(16)

    def _connect(self) -> None:
        pause = _RETRY_FIRST
        while True:
            with self._state:
                self._state.wait_for(lambda: self._shared is None or not self._open)
                if not self._open:
                    return
            try:
                self._is_new = True
                shared: SharedOutbox | None = SharedOutbox.open(self._store.connection, self._salt())
                pause = _RETRY_FIRST
            except Exception as error:  # whatever it is, a later attempt may succeed
                shared = None
                self._problem = str(error)
            with self._state:
                self._shared = shared
                self._attempts += 1
                self._state.notify_all()
                if shared is None:
                    self._state.wait_for(lambda: not self._open, pause)
                    pause = min(2 * pause, _RETRY_MOST)
