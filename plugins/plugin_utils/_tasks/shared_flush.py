# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a flush does with the outbox that several nodes share; the courier of this node delivers it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_url import shown
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import TOO_MANY_REQUESTS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import PENDING, Refusal
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import AnyOutbox, Outbox

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox

# Seconds between two looks while it is waited for.
_POLL = 0.25

_Answer = TypeVar("_Answer")


class SharedFlush:
    """The part of a flush that belongs to the shared outbox: nothing where there is none, or it cannot be used.

    :ivar where: the address of the database, for people.
    :ivar problem: why it cannot be used; None where it can, or there is none.
    :ivar waited: the events that waited when it began.
    :param connection: the integration that is flushed, and where the shared outbox is.
    """

    def __init__(self, connection: Connection) -> None:
        self.where = shown(connection.outbox_url) if connection.outbox_url else ""
        self.problem: str | None = None
        self.waited: set[str] = set()
        self._connection = connection
        self._salt = b""
        self._shared: SharedOutbox | None = None
        self._look_at = 0.0
        self._waiting: set[str] = set()

    def close(self) -> None:
        """Close the connection."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    def _do(self, action: Callable[[SharedOutbox], _Answer], otherwise: _Answer) -> _Answer:
        if not self._connection.outbox_url or self.problem is not None:
            return otherwise
        # Loaded where there is one.
        from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox

        try:
            if self._shared is None:
                self._shared = SharedOutbox.open(self._connection, self._salt)
            return action(self._shared)
        except OutboxError as error:
            self.problem = str(error)
            self.close()
            return otherwise

    def vanished(self) -> set[str]:
        """The runs of any node that have vanished."""
        return self._do(lambda shared: {*shared.runs.vanished()}, set())

    def look(self, query: Callable[[AnyOutbox], set[str]]) -> set[str]:
        """Ask it something."""
        return self._do(query, set())

    def last_error(self) -> str | None:
        """Why the last try failed, where it did."""
        return self._do(lambda shared: shared.claims.pause.error, None)

    def begin(self, outbox: Outbox) -> int:
        """Enter what only this node knows, and close the runs of any node that have vanished.

        :returns: how many changes they had left open.
        """
        # As the node that the courier is: what is entered now is left to it.
        self._salt = outbox.salt
        self.close()
        self._do(lambda shared: _exchange(outbox, shared), None)
        closed = self._do(lambda shared: shared.runs.close_all_vanished(), 0)
        self._do(_try_again_now, None)
        self.waited = self._waiting = self.look(waiting)
        return closed

    def still_waiting(self) -> set[str]:
        """Which of the events that waited still do, looked up now and then."""
        if self._waiting and time.monotonic() >= self._look_at:
            self._waiting = self.waited & self.look(waiting)
            self._look_at = time.monotonic() + _POLL
        return self._waiting

    def finish(self, outbox: Outbox) -> None:
        """Learn what became of it."""
        self._do(lambda shared: _exchange(outbox, shared), None)
        self._waiting = self.waited & self.look(waiting)

    def refusals(self, but: set[str]) -> list[Refusal]:
        """Which of the events that waited were refused, but for these."""
        uids = self.waited - but
        return self._do(lambda shared: shared.events.refusals(uids), []) if uids else []


def waiting(outbox: AnyOutbox) -> set[str]:
    """The events of an outbox that are not settled."""
    return outbox.events.uids("waiting", "sending")


def _exchange(outbox: Outbox, shared: SharedOutbox) -> None:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.relay import Relay

    Relay(outbox, shared).exchange()


def _try_again_now(shared: SharedOutbox) -> None:
    shared.claims.release_dead()
    # Where Flashduty itself has asked for a pause, that holds for all nodes.
    asked = f"SELECT 1 FROM events WHERE integration = ? AND http_status = ? AND {PENDING} LIMIT 1"
    if not shared.database.rows(asked, (shared.integration, TOO_MANY_REQUESTS)):
        shared.claims.clear_pause()
