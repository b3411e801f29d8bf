# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of the events out of the outbox: who may send which, when, what came of it, and what is forgotten then."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import GIVEN_UP, PENDING
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import Row, SqlDatabase, Transaction

TOO_MANY_REQUESTS = 429
# The published limits are 100/s and 1000/min. Busy machines, networks and the clocks of two machines squeeze what left
# evenly spaced: of this, no second of Flashduty's sees more than 90, as long as no request takes half a second longer
# than another.
_PACES = ((0.5, 30), (60.0, 985))
# Seconds that no pause and no claim exceeds: Flashduty's Retry-After counts up to an hour.
_PAUSE_MOST = 4000.0
# Seconds for which an event counts as happening now.
_RECENT = 600.0
# Failed tries that are worth waiting for where the API was well before: they take 3 seconds.
_WORTH_WAITING = 3
_DAY = 86400.0
# How long, in seconds, and of how many events, the outbox remembers what was settled.
_KEEP_SETTLED = 7 * _DAY
_KEEP_LAST_STATE = 90 * _DAY
_KEEP_EVENTS = 20_000
_KEEP_WAITING = 100_000
_KEEP_BODIES = 2_000

# Marks, among the pauses, what is said of the shared outbox.
_SHARING = " shared"
# Tries of an event whose answer has come.
_FAILED_TRIES = "CASE WHEN state = 'sending' THEN tries - 1 ELSE tries END"
# An event that may be forgotten: settled, and no longer needed to close its run.
_DISPENSABLE = "settled_at IS NOT NULL AND (run IS NULL OR run NOT IN (SELECT id FROM runs WHERE closed_at IS NULL))"


class Claim(NamedTuple):
    """An event that the holder alone may send, until ``until`` (Unix seconds)."""

    uid: str
    change_key: str
    body: str
    tries: int
    until: float
    expires_at: float | None


class RetryState(NamedTuple):
    """What had become of a run's events before they are waited for.

    :ivar tries: how often one of them has failed, at most.
    :ivar is_down: whether the last try of the integration failed.
    """

    tries: int
    is_down: bool


class Claims:
    """The claims on the events of an open outbox.

    :param node: who sends, where several nodes share the outbox: what another has reserved is left to it.
    """

    def __init__(self, database: SqlDatabase, now: Callable[[], float], node: str = "") -> None:
        self._database = database
        self._now = now
        self._node = node

    def claim(
        self, integration: str, owner: Process, lease: float, change_key: str | None = None
    ) -> Claim | float | None:
        """The next event to send, in order for each change and within the API's rate limits.

        :param owner: who will send it.
        :param lease: seconds after which others may take the claim for lost.
        :param change_key: only of this change, and whatever failed to reach the API before: this sender has another
            way to it.
        :returns: the claim; or the Unix time at which asking again is worth it; or None where nothing waits.
        """
        if not self._database.rows(f"SELECT 1 FROM events WHERE integration = ? AND {PENDING} LIMIT 1", (integration,)):
            return None
        with self._database.writing() as transaction:
            # Not before the lock is there: the wait for it may be long, and what others sent meanwhile counts.
            now = self._now()
            self._release_lost(transaction, integration, now)
            wait_until = self._paused_until(transaction, integration, now, change_key is None)
            row = self._next_in_line(transaction, integration, change_key, now)
            if row is None:
                row = self._next_in_line(transaction, integration, change_key, now, later=True)
                lost = transaction.execute(
                    "SELECT min(claimed_until) FROM events WHERE integration = ? AND state = 'sending'", (integration,)
                ).fetchone()[0]
                times = ([] if row is None else [float(row["next_try"])]) + ([] if lost is None else [float(lost)])
                return max(wait_until, min(times)) if times else None
            if wait_until > now:
                return wait_until
            return self._take(transaction, integration, row, owner, now + lease)

    def claim_first(
        self, transaction: Transaction, integration: str, change_key: str, owner: Process, lease: float
    ) -> Claim | None:
        """The first event of a change, where nobody sends one of it. Within a transaction of the caller."""
        now = self._now()
        row = self._next_in_line(transaction, integration, change_key, now)
        return None if row is None else self._take(transaction, integration, row, owner, now + lease)

    def _take(self, transaction: Transaction, integration: str, row: Row, owner: Process, until: float) -> Claim:
        transaction.execute(
            "UPDATE events SET state = 'sending', claimed_by = ?, claimed_until = ?, tries = tries + 1 WHERE id = ?",
            (owner.to_text(), until, row["id"]),
        )
        transaction.execute("INSERT INTO sendings (integration, at) VALUES (?, ?)", (integration, self._now()))
        return Claim(row["uid"], row["change_key"], row["body"], row["tries"] + 1, until, row["expires_at"])

    def take(self, uid: str, until: float, owner: Process) -> bool:
        """Claim this very event, which another outbox says is next.

        :returns: whether it may be sent: False where this outbox says that it is being sent, or was.
        """
        with self._database.writing() as transaction:
            cursor = transaction.execute(
                "UPDATE events SET state = 'sending', claimed_by = ?, claimed_until = ?, tries = tries + 1"
                " WHERE uid = ? AND state = 'waiting'",
                (owner.to_text(), until, uid),
            )
            return cursor.rowcount == 1 or not self._database.rows("SELECT 1 FROM events WHERE uid = ?", (uid,))

    def is_waiting(self, integration: str) -> bool:
        """Whether an event waits that nobody sends."""
        statement = "SELECT 1 FROM events WHERE integration = ? AND state = 'waiting' LIMIT 1"
        return bool(self._database.rows(statement, (integration,)))

    def _next_in_line(
        self, transaction: Transaction, integration: str, change_key: str | None, now: float, later: bool = False
    ) -> Row | None:
        """The next event that is first in the line of its change, and due, or with ``later`` due next.

        What happens now goes before a backlog.
        """
        # No pause is so long: the clock was fast when that was written.
        is_due = "(next_try <= :now OR next_try > :now + :most)"
        lines = [f"{is_due} AND put_at >= :recent ORDER BY put_at, id", f"{is_due} ORDER BY id"]
        of_change = "" if change_key is None else "change_key = :change_key AND "
        values = {"integration": integration, "change_key": change_key, "now": now, "node": self._node}
        values.update(most=_PAUSE_MOST, recent=now - _RECENT)
        for line in [f"NOT {is_due} ORDER BY next_try"] if later else lines:
            row: Row | None = transaction.execute(
                "SELECT id, uid, change_key, body, tries, expires_at, next_try FROM events AS e"
                f" WHERE integration = :integration AND {of_change}{PENDING} AND state = 'waiting'"
                " AND (node = :node OR reserved_until <= :now) AND NOT EXISTS ("
                " SELECT 1 FROM events AS f WHERE f.integration = e.integration AND f.change_key = e.change_key"
                f" AND f.id < e.id AND f.{PENDING}) AND {line} LIMIT 1",
                values,
            ).fetchone()
            if row is not None:
                return row
        return None

    @staticmethod
    def _release_lost(transaction: Transaction, integration: str, now: float) -> None:
        transaction.execute(
            "UPDATE events SET state = 'waiting', claimed_by = NULL WHERE integration = ? AND state = 'sending'"
            " AND (claimed_until < ? OR claimed_until > ?)",
            (integration, now, now + _PAUSE_MOST),
        )
        transaction.execute(
            "UPDATE events SET state = 'expired', settled_at = ? WHERE integration = ? AND state = 'waiting'"
            " AND expires_at < ?",
            (now, integration, now),
        )

    @staticmethod
    def _paused_until(transaction: Transaction, integration: str, now: float, back_off: bool) -> float:
        """When the rate limits, and with ``back_off`` the failures before, next allow a request."""
        paused = transaction.execute("SELECT until FROM pauses WHERE integration = ?", (integration,)).fetchone()
        until = float(paused["until"]) if paused and back_off and paused["until"] <= now + _PAUSE_MOST else 0.0
        transaction.execute("DELETE FROM sendings WHERE at < ? OR at > ?", (now - _PACES[-1][0], now + 1))
        for span, most in _PACES:
            newest = transaction.execute(
                "SELECT at FROM sendings WHERE integration = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
                (integration, now - span, most - 1),
            ).fetchone()
            if newest:
                until = max(until, float(newest["at"]) + span)
        return until

    def release_dead(self, integration: str) -> None:
        """Take back what processes of this machine had claimed that no longer run."""
        rows = self._database.rows(
            "SELECT DISTINCT claimed_by FROM events WHERE integration = ? AND state = 'sending'", (integration,)
        )
        for row in rows:
            owner = Process.from_text(row["claimed_by"])
            if owner.is_local and not owner.is_alive():
                with self._database.writing() as transaction:
                    transaction.execute(
                        "UPDATE events SET state = 'waiting', claimed_by = NULL WHERE state = 'sending'"
                        " AND claimed_by = ?",
                        (row["claimed_by"],),
                    )

    def delivered(self, claim: Claim, integration: str, request_id: str) -> None:
        """The event was taken, and whatever had paused the integration is over."""
        with self._database.writing() as transaction:
            self._settle(transaction, claim, "delivered", request_id=request_id)
            # An answer to what was under way says nothing against a 429 that has come to another node since.
            transaction.execute(
                "DELETE FROM pauses WHERE integration = ? AND (? = '' OR until <= ?)",
                (integration, self._node, self._now()),
            )

    def refused(self, claim: Claim, error: str, code: str | None, status: int | None, request_id: str | None) -> None:
        """The event will never be taken: kept, shown once, and out of the way of what is behind it."""
        with self._database.writing() as transaction:
            self._settle(
                transaction, claim, "refused", request_id=request_id, http_status=status, error_code=code, error=error
            )

    def corrected(self, claim: Claim, event: ChangeEvent) -> None:
        """The event waits again, in another form."""
        with self._database.writing() as transaction:
            transaction.execute(
                "UPDATE events SET state = 'waiting', claimed_by = NULL, body = ?, event_time = ?"
                " WHERE uid = ? AND state = 'sending' AND claimed_until = ?",
                (event.to_json(), event.event_time, claim.uid, claim.until),
            )

    def failed(
        self, claim: Claim, integration: str, error: str, next_try: float, paused_until: float, status: int | None
    ) -> None:
        """The try failed; the event waits again.

        :param next_try: Unix seconds before which this event is not tried again.
        :param paused_until: Unix seconds before which nothing of this integration is tried again.
        """
        with self._database.writing() as transaction:
            transaction.execute(
                "UPDATE events SET state = 'waiting', claimed_by = NULL, next_try = ?, error = ?, http_status = ?"
                " WHERE uid = ? AND state = 'sending' AND claimed_until = ?",
                (next_try, error, status, claim.uid, claim.until),
            )
            if self._node and status != TOO_MANY_REQUESTS:
                return  # this node's way to Flashduty need not be that of others
            transaction.execute(
                "INSERT INTO pauses (integration, failures, until, error) VALUES (?, 1, ?, ?)"
                " ON CONFLICT (integration) DO UPDATE SET failures = pauses.failures + 1, error = excluded.error,"
                " until = CASE WHEN pauses.until > excluded.until THEN pauses.until ELSE excluded.until END",
                (integration, paused_until, error),
            )

    def _settle(self, transaction: Transaction, claim: Claim, state: str, **values: Any) -> None:
        columns = "".join(f", {name} = ?" for name in values)
        transaction.execute(
            f"UPDATE events SET state = ?, settled_at = ?, claimed_by = NULL{columns} WHERE uid = ? AND {PENDING}",
            (state, self._now(), *values.values(), claim.uid),
        )

    def failures(self, integration: str) -> int:
        """How many tries in a row have failed."""
        rows = self._database.rows("SELECT failures FROM pauses WHERE integration = ?", (integration,))
        return int(rows[0]["failures"]) if rows else 0

    def clear_pause(self, integration: str) -> None:
        """Try again now, whatever had failed before."""
        with self._database.writing() as transaction:
            transaction.execute("DELETE FROM pauses WHERE integration = ?", (integration,))
            transaction.execute(
                "UPDATE events SET next_try = 0 WHERE integration = ? AND state = 'waiting' AND tries > 0",
                (integration,),
            )

    def try_now(self, integration: str, run: str) -> RetryState:
        """Let what waits of a run be tried once more without a pause, unless Flashduty itself has asked for one."""
        failures, tries = self._database.rows(
            f"SELECT (SELECT failures FROM pauses WHERE integration = ?), (SELECT max({_FAILED_TRIES})"
            f" FROM events WHERE integration = ? AND run = ? AND {PENDING})",
            (integration, integration, run),
        )[0]
        if failures:
            with self._database.writing() as transaction:
                transaction.execute(
                    "UPDATE pauses SET until = 0 WHERE integration = ? AND NOT EXISTS"
                    f" (SELECT 1 FROM events WHERE integration = ? AND http_status = 429 AND {PENDING})",
                    (integration, integration),
                )
                transaction.execute(
                    "UPDATE events SET next_try = 0 WHERE integration = ? AND run = ? AND state = 'waiting'"
                    " AND tries > 0",
                    (integration, run),
                )
        return RetryState(int(tries or 0), bool(failures))

    def is_stuck(self, integration: str, run: str, before: RetryState | None, until: float) -> bool:
        """Whether it is in vain to wait for the events of a run until then, Unix seconds.

        :param before: what :meth:`try_now` said; None where it could not be asked. Where the API was down by then, one
            more try shows that it still is.
        """
        before = before or RetryState(0, False)
        tries, paused_until = self._database.rows(
            f"SELECT (SELECT max({_FAILED_TRIES}) FROM events WHERE integration = ? AND {PENDING}"
            " AND run = ?), (SELECT until FROM pauses WHERE integration = ?)",
            (integration, run, integration),
        )[0]
        worth = 1 if before.is_down else _WORTH_WAITING
        next_try = self._now() if before.is_down else until
        return (tries or 0) - before.tries >= worth or (paused_until or 0.0) > next_try

    def paused_until(self, integration: str) -> float:
        """Unix seconds before which nothing of the integration is tried again after failures; 0 after none."""
        rows = self._database.rows("SELECT until FROM pauses WHERE integration = ?", (integration,))
        until = float(rows[0]["until"]) if rows else 0.0
        return until if until <= self._now() + _PAUSE_MOST else 0.0

    def sharing_failed(self, integration: str, problem: str) -> None:
        """What is sent of this integration is not in the shared outbox now."""
        if self.sharing_problem(integration) != problem:
            with self._database.writing() as transaction:
                transaction.execute(
                    "INSERT INTO pauses (integration, failures, until, error) VALUES (?, 0, 0, ?)"
                    " ON CONFLICT (integration) DO UPDATE SET error = excluded.error",
                    (integration + _SHARING, problem),
                )

    def sharing_works(self, integration: str) -> None:
        """The shared outbox can be used."""
        if self.sharing_problem(integration) is not None:
            with self._database.writing() as transaction:
                transaction.execute("DELETE FROM pauses WHERE integration = ?", (integration + _SHARING,))

    def sharing_problem(self, integration: str) -> str | None:
        """Why the shared outbox cannot be used, as far as a courier has found out; None where it can."""
        return self.last_error(integration + _SHARING)

    def last_error(self, integration: str) -> str | None:
        """Why the last try failed, where it did."""
        rows = self._database.rows("SELECT error FROM pauses WHERE integration = ?", (integration,))
        return str(rows[0]["error"]) if rows else None

    # Housekeeping

    def prune(self) -> None:
        """Forget what is settled and old, or more than enough, and make the file as small as what is left.

        Of a backlog beyond bounds, the oldest events are given up, those first that are not the last of their change.
        """
        now = self._now()
        last_of_key = "id IN (SELECT max(id) FROM events WHERE state = 'delivered' GROUP BY integration, change_key)"
        settled_beyond = "id <= (SELECT id FROM events WHERE settled_at IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?)"
        with self._database.writing() as transaction:
            waiting = transaction.execute("SELECT count(*) FROM events WHERE state = 'waiting'").fetchone()[0]
            if waiting > _KEEP_WAITING:
                transaction.execute(
                    "UPDATE events SET state = 'refused', settled_at = ?, error_code = ?, error = ? WHERE id IN"
                    " (SELECT id FROM events AS e WHERE state = 'waiting' ORDER BY id = (SELECT max(id) FROM events f"
                    " WHERE f.integration = e.integration AND f.change_key = e.change_key), id LIMIT ?)",
                    (now, GIVEN_UP, f"more than {_KEEP_WAITING} events were waiting", waiting - _KEEP_WAITING),
                )
            transaction.execute(
                f"DELETE FROM events WHERE {_DISPENSABLE} AND state != 'refused' AND settled_at < ?"
                f" AND NOT ({last_of_key})",
                (now - _KEEP_SETTLED,),
            )
            transaction.execute(
                f"DELETE FROM events WHERE {_DISPENSABLE} AND settled_at < ?", (now - _KEEP_LAST_STATE,)
            )
            transaction.execute(f"DELETE FROM events WHERE {_DISPENSABLE} AND {settled_beyond}", (_KEEP_EVENTS,))
            self._database.strip(f"{_DISPENSABLE} AND body IS NOT NULL AND {settled_beyond}", (_KEEP_BODIES,))
            transaction.execute("DELETE FROM runs WHERE closed_at < ?", (now - _KEEP_SETTLED,))
            transaction.execute("DELETE FROM parts WHERE run NOT IN (SELECT id FROM runs)")
        self._database.vacuum()
