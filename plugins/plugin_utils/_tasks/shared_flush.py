# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a flush does with the outbox that several nodes share; the courier of this node delivers it.

It is imported where outbox_url is set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox_url import shown
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import TOO_MANY_REQUESTS
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import OutboxError
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import PENDING, Refusal
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.listing import Listing
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.relay import Relay
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared import SharedOutbox

# Seconds between two looks while it is waited for.
_POLL = 0.25

_Answer = TypeVar("_Answer")


class SharedFlush:
    """The part of a flush that belongs to the shared outbox. Where that cannot be used, it finds nothing there.

    :ivar where: the address of the database, for people.
    :ivar problem: why it cannot be used; None where it can.
    :ivar closed: how many changes of runs that had vanished were cancelled.
    :ivar waited: the events that waited when it began.
    :param connection: the integration that is flushed, and where the shared outbox is.
    """

    def __init__(self, connection: Connection) -> None:
        self.where = shown(str(connection.outbox_url))
        self.problem: str | None = None
        self.closed = 0
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
        if self.problem is None:
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

    def pending(self) -> set[str]:
        """The events that are not settled."""
        return self._do(lambda shared: shared.events.uids("waiting", "sending"), set())

    def delivered(self) -> set[str]:
        """The events that were delivered."""
        return self._do(lambda shared: shared.events.uids("delivered"), set())

    def keys_in_use(self) -> set[str]:
        """The keys of changes that runs of any node have open."""
        return self._do(lambda shared: shared.events.keys_in_use(), set())

    def last_error(self) -> str | None:
        """Why the last try failed, where it did."""
        return self._do(lambda shared: shared.claims.pause.error, None)

    def begin(self, outbox: Outbox) -> None:
        """Enter what only this node knows, and close the runs of any node that have vanished."""

        def begun(shared: SharedOutbox) -> None:
            Relay(outbox, shared).exchange()
            self.closed += shared.runs.close_all_vanished()
            shared.claims.release_dead()
            # Where Flashduty itself has asked for a pause, that holds for all nodes.
            asked = f"SELECT 1 FROM events WHERE integration = ? AND http_status = ? AND {PENDING} LIMIT 1"
            if not shared.database.rows(asked, (shared.integration, TOO_MANY_REQUESTS)):
                shared.claims.clear_pause()

        # As the node that the courier is: what is entered now is left to it.
        self._salt = outbox.salt
        self.close()
        self._do(begun, None)
        self.waited = self._waiting = self.pending()

    def waiting(self) -> set[str]:
        """Which of the events that waited still do, looked up now and then."""
        if self._waiting and time.monotonic() >= self._look_at:
            self._waiting = self.waited & self.pending()
            self._look_at = time.monotonic() + _POLL
        return self._waiting

    def finish(self, outbox: Outbox) -> None:
        """Learn what became of it."""
        self._do(lambda shared: Relay(outbox, shared).exchange(), None)
        self._waiting = self.waited & self.pending()

    def refusals(self, but: set[str]) -> list[Refusal]:
        """Which of the events that waited were refused, but for these."""
        uids = self.waited - but

        def found(shared: SharedOutbox) -> list[Refusal]:
            listed = Listing(shared.database).latest(len(uids), ("refused",))
            return [
                Refusal(each.change_key, each.change_status, each.http_status, each.request_id, each.error or "", None)
                for each in reversed(listed)
                if each.id in uids
            ]

        return self._do(found, []) if uids else []
