# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of the events out of the outbox: who may send which, when, and what is forgotten afterwards.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import sqlite3
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._outbox import PENDING, Outbox
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process

# The published limits are 100/s and 1000/min. Busy machines, networks and the clocks of two machines squeeze what left
# evenly spaced: of this, no second of Flashduty's sees more than 90, as long as no request takes half a second longer
# than another.
_PACES = ((0.5, 30), (60.0, 985))
_DAY = 86400.0
# How long, in seconds, and of how many events, the outbox remembers what was settled.
_KEEP_SETTLED = 7 * _DAY
_KEEP_LAST_STATE = 90 * _DAY
_KEEP_EVENTS = 20_000
_KEEP_BODIES = 2_000

# An event that may be forgotten: settled, and no longer needed to close its run.
_DISPENSABLE = "settled_at IS NOT NULL AND (run IS NULL OR run NOT IN (SELECT id FROM runs WHERE closed_at IS NULL))"


class Claim(NamedTuple):
    """An event that the holder alone may send, until ``until`` (Unix seconds)."""

    event_id: int
    change_key: str
    run: str | None
    body: str
    tries: int
    until: float
    expires_at: float | None


class SendingOutbox(Outbox):
    """The outbox as those see it who deliver what waits there."""

    def claim(self, integration: str, owner: Process, lease: float) -> Claim | float | None:
        """The next event to send, in order for each change and within the API's rate limits.

        :param owner: who will send it.
        :param lease: seconds after which others may take the claim for lost.
        :returns: the claim; or the Unix time at which asking again is worth it; or None where nothing waits.
        """
        if not self._rows(f"SELECT 1 FROM events WHERE integration = ? AND {PENDING} LIMIT 1", (integration,)):
            return None
        with self._writing() as database:
            # Not before the lock is there: the wait for it may be long, and what others sent meanwhile counts.
            now = self._now()
            self._release_lost(database, integration, now)
            wait_until = self._paused_until(database, integration, now)
            row = self._next_in_line(database, integration, "next_try <= ? ORDER BY id", now)
            if row is None:
                row = self._next_in_line(database, integration, "next_try > ? ORDER BY next_try", now)
                lost = database.execute(
                    "SELECT min(claimed_until) FROM events WHERE integration = ? AND state = 'sending'", (integration,)
                ).fetchone()[0]
                times = ([] if row is None else [float(row["next_try"])]) + ([] if lost is None else [float(lost)])
                return max(wait_until, min(times)) if times else None
            if wait_until > now:
                return wait_until
            until = now + lease
            database.execute(
                "UPDATE events SET state = 'sending', claimed_by = ?, claimed_until = ?, tries = tries + 1"
                " WHERE id = ?",
                (owner.to_text(), until, row["id"]),
            )
            database.execute("INSERT INTO sendings VALUES (?, ?)", (integration, now))
            chosen = (row["id"], row["change_key"], row["run"], row["body"])
            return Claim(*chosen, row["tries"] + 1, until, row["expires_at"])

    def is_waiting(self, integration: str) -> bool:
        """Whether an event waits that nobody sends."""
        statement = "SELECT 1 FROM events WHERE integration = ? AND state = 'waiting' LIMIT 1"
        return bool(self._rows(statement, (integration,)))

    @staticmethod
    def _next_in_line(database: sqlite3.Connection, integration: str, condition: str, now: float) -> sqlite3.Row | None:
        row: sqlite3.Row | None = database.execute(
            "SELECT id, change_key, run, body, tries, expires_at, next_try FROM events AS e"
            f" WHERE integration = ? AND {PENDING} AND state = 'waiting' AND NOT EXISTS ("
            " SELECT 1 FROM events AS f WHERE f.integration = e.integration AND f.change_key = e.change_key"
            f" AND f.id < e.id AND f.{PENDING}) AND {condition} LIMIT 1",
            (integration, now),
        ).fetchone()
        return row

    @staticmethod
    def _release_lost(database: sqlite3.Connection, integration: str, now: float) -> None:
        database.execute(
            "UPDATE events SET state = 'waiting', claimed_by = NULL WHERE integration = ? AND state = 'sending'"
            " AND claimed_until < ?",
            (integration, now),
        )
        database.execute(
            "UPDATE events SET state = 'expired', settled_at = ? WHERE integration = ? AND state = 'waiting'"
            " AND expires_at < ?",
            (now, integration, now),
        )

    @staticmethod
    def _paused_until(database: sqlite3.Connection, integration: str, now: float) -> float:
        """When the back-off after failures and the rate limits next allow a request."""
        paused = database.execute("SELECT until FROM pauses WHERE integration = ?", (integration,)).fetchone()
        until = float(paused["until"]) if paused else 0.0
        database.execute("DELETE FROM sendings WHERE at < ? OR at > ?", (now - _PACES[-1][0], now + 1))
        for span, most in _PACES:
            newest = database.execute(
                "SELECT at FROM sendings WHERE integration = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
                (integration, now - span, most - 1),
            ).fetchone()
            if newest:
                until = max(until, float(newest["at"]) + span)
        return until

    def release_dead_claims(self, integration: str) -> None:
        """Take back what processes of this machine had claimed that no longer run."""
        rows = self._rows(
            "SELECT DISTINCT claimed_by FROM events WHERE integration = ? AND state = 'sending'", (integration,)
        )
        for row in rows:
            owner = Process.from_text(row["claimed_by"])
            if owner.is_local and not owner.is_alive():
                with self._writing() as database:
                    database.execute(
                        "UPDATE events SET state = 'waiting', claimed_by = NULL WHERE state = 'sending'"
                        " AND claimed_by = ?",
                        (row["claimed_by"],),
                    )

    def delivered(self, claim: Claim, integration: str, request_id: str) -> None:
        """The event was taken, and whatever had paused the integration is over."""
        with self._writing() as database:
            self._settle(database, claim, "delivered", request_id=request_id)
            database.execute("DELETE FROM pauses WHERE integration = ?", (integration,))

    def refused(self, claim: Claim, error: str, code: str | None, status: int | None, request_id: str | None) -> None:
        """The event will never be taken: kept, told once, and out of the way of what is behind it."""
        with self._writing() as database:
            self._settle(
                database, claim, "refused", request_id=request_id, http_status=status, error_code=code, error=error
            )

    def superseded(self, claim: Claim) -> None:
        """The event is sent from another outbox."""
        with self._writing() as database:
            self._settle(database, claim, "expired")

    def corrected(self, claim: Claim, event: ChangeEvent) -> None:
        """The event waits again, in another form."""
        with self._writing() as database:
            database.execute(
                "UPDATE events SET state = 'waiting', claimed_by = NULL, body = ?, event_time = ?"
                " WHERE id = ? AND state = 'sending' AND claimed_until = ?",
                (event.to_json(), event.event_time, claim.event_id, claim.until),
            )

    def failed(
        self, claim: Claim, integration: str, error: str, next_try: float, paused_until: float, status: int | None
    ) -> None:
        """The try failed; the event waits again.

        :param next_try: Unix seconds before which this event is not tried again.
        :param paused_until: Unix seconds before which nothing of this integration is tried again.
        """
        with self._writing() as database:
            database.execute(
                "UPDATE events SET state = 'waiting', claimed_by = NULL, next_try = ?, error = ?, http_status = ?"
                " WHERE id = ? AND state = 'sending' AND claimed_until = ?",
                (next_try, error, status, claim.event_id, claim.until),
            )
            database.execute(
                "INSERT INTO pauses VALUES (?, 1, ?, ?) ON CONFLICT (integration) DO UPDATE"
                " SET failures = failures + 1, until = max(until, excluded.until), error = excluded.error",
                (integration, paused_until, error),
            )

    def _settle(self, database: sqlite3.Connection, claim: Claim, state: str, **values: Any) -> None:
        columns = "".join(f", {name} = ?" for name in values)
        database.execute(
            f"UPDATE events SET state = ?, settled_at = ?, claimed_by = NULL{columns} WHERE id = ?"
            # In an outbox that was replaced meanwhile, the number may be another event's.
            f" AND {PENDING} AND body = ?",
            (state, self._now(), *values.values(), claim.event_id, claim.body),
        )

    def failures(self, integration: str) -> int:
        """How many tries in a row have failed."""
        rows = self._rows("SELECT failures FROM pauses WHERE integration = ?", (integration,))
        return int(rows[0]["failures"]) if rows else 0

    def clear_pause(self, integration: str) -> None:
        """Try again now, whatever had failed before."""
        with self._writing() as database:
            database.execute("DELETE FROM pauses WHERE integration = ?", (integration,))
            database.execute(
                "UPDATE events SET next_try = 0 WHERE integration = ? AND state = 'waiting'", (integration,)
            )

    # Housekeeping

    def prune(self) -> None:
        """Forget what is settled and old, or more than enough, and make the file as small as what is left."""
        now = self._now()
        last_of_key = "id IN (SELECT max(id) FROM events WHERE state = 'delivered' GROUP BY integration, change_key)"
        settled_beyond = "id <= (SELECT id FROM events WHERE settled_at IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?)"
        with self._writing() as database:
            database.execute(
                f"DELETE FROM events WHERE {_DISPENSABLE} AND state != 'refused' AND settled_at < ?"
                f" AND NOT ({last_of_key})",
                (now - _KEEP_SETTLED,),
            )
            database.execute(f"DELETE FROM events WHERE {_DISPENSABLE} AND settled_at < ?", (now - _KEEP_LAST_STATE,))
            database.execute(f"DELETE FROM events WHERE {_DISPENSABLE} AND {settled_beyond}", (_KEEP_EVENTS,))
            # Taken out and put back: rows that only get smaller leave their pages half empty.
            database.execute(
                f"CREATE TEMP TABLE stripped AS SELECT * FROM events WHERE {_DISPENSABLE} AND body IS NOT NULL"
                f" AND state = 'delivered' AND {settled_beyond}",
                (_KEEP_BODIES,),
            )
            database.execute("UPDATE stripped SET body = NULL")
            database.execute("DELETE FROM events WHERE id IN (SELECT id FROM stripped)")
            database.execute("INSERT INTO events SELECT * FROM stripped")
            database.execute("DROP TABLE stripped")
            database.execute("DELETE FROM runs WHERE closed_at < ?", (now - _KEEP_SETTLED,))
            database.execute("DELETE FROM parts WHERE run NOT IN (SELECT id FROM runs)")
        self._file.vacuum()
