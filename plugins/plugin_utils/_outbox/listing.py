# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events of an outbox as a person reads them: what was sent, what waits, and what Flashduty refused and why."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import again_when_damaged
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.integrations import name_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._texts import Text

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import SqlDatabase

STATES = {
    "waiting": Text("waiting", "等待中"),
    "sending": Text("sending", "发送中"),
    "delivered": Text("delivered", "已送达"),
    "refused": Text("refused", "被拒绝"),
    "expired": Text("expired", "已放弃"),
    "held": Text("held", "暂缓中"),
}


class ListedEvent(NamedTuple):
    """An event of the outbox.

    :ivar id: how :meth:`Listing.resend` and :meth:`Listing.drop` know it.
    :ivar integration: a name of its integration that shows nothing of the key.
    :ivar event_time: Unix seconds, as are ``stored_at`` and ``settled_at``.
    :ivar title: None where its text is no longer kept, as ``link``.
    :ivar settled_at: when it was delivered, refused or given up.
    :ivar node: which of the nodes that share the outbox has reported it; empty in the outbox of one.
    """

    id: str
    integration: str
    change_key: str
    change_status: str
    state: str
    event_time: int
    stored_at: float
    settled_at: float | None
    title: str | None
    link: str | None
    request_id: str | None
    http_status: int | None
    error: str | None
    node: str


class Listing:
    """The events of all integrations in the database of an outbox."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    def latest(
        self, limit: int, states: Collection[str] = tuple(STATES), change_key: str | None = None
    ) -> list[ListedEvent]:
        """The latest events, the newest first."""
        of_change, values = ("", []) if change_key is None else (" AND change_key = ?", [change_key])
        rows = self._database.rows(
            "SELECT uid, integration, change_key, change_status, state, event_time, put_at, settled_at, body,"
            " request_id, http_status, error, node FROM events"
            f" WHERE state IN ({', '.join('?' * len(states))}){of_change}"
            " ORDER BY id DESC LIMIT ?",
            (*states, *values, limit),
        )
        return [_listed(dict(row)) for row in rows]

    def refused(self, uids: Collection[str]) -> list[str]:
        """Those of these events that were refused and whose text is kept."""
        if not uids:  # of which PostgreSQL makes no list
            return []
        marks = ", ".join("?" * len(uids))
        rows = self._database.rows(
            f"SELECT uid FROM events WHERE state = 'refused' AND body IS NOT NULL AND uid IN ({marks})", (*uids,)
        )
        return [str(row["uid"]) for row in rows]

    def resend(self, uids: Collection[str]) -> None:
        """Let refused events wait again."""
        # Where another node delivers it, this one asks the shared outbox what became of it.
        asks = "shared = CASE WHEN shared = '' THEN '' ELSE 'entered' END"
        assigned = f"claimed_by = NULL, tries = 0, next_try = 0, settled_at = NULL, error = NULL, {asks}"
        self._change("waiting", assigned, uids)

    def drop(self, uids: Collection[str]) -> None:
        """Give refused events up."""
        self._change("expired", "shown = 1", uids)

    @again_when_damaged
    def _change(self, state: str, assigned: str, uids: Collection[str]) -> None:
        with self._database.writing() as transaction:
            for uid in uids:
                transaction.execute(
                    f"UPDATE events SET state = ?, {assigned}, expires_at = NULL WHERE uid = ? AND state = 'refused'",
                    (state, uid),
                )


def _listed(row: dict[str, Any]) -> ListedEvent:
    body = row.pop("body")
    event = ChangeEvent.from_json(body) if body else None
    return ListedEvent(
        id=row.pop("uid"),
        integration=name_of(row.pop("integration")),
        stored_at=row.pop("put_at"),
        title=event.title if event else None,
        link=event.link if event else None,
        **row,
    )
