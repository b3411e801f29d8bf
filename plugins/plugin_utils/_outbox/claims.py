# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of the events out of the outbox: who may send which, when, and what came of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._answer import ApiError
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.events import PENDING
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.process import Process
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import upsert

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
# Marks, among the pauses, what is said of the shared outbox.
_SHARING = " shared"
# Tries of an event whose answer has come.
_FAILED_TRIES = "CASE WHEN state = 'sending' THEN tries - 1 ELSE tries END"


class Claim(NamedTuple):
    """An event that the holder alone may send, until ``until`` (Unix seconds)."""

    uid: str
    change_key: str
    body: str
    tries: int
    until: float
    expires_at: float | None


class Pause(NamedTuple):
    """What holds an integration up after failed tries.

    :ivar failures: how many tries in a row have failed.
    :ivar until: Unix seconds before which nothing is tried again.
    :ivar error: why the last try failed; None where it did not.
    """

    failures: int = 0
    until: float = 0.0
    error: str | None = None


class RetryState(NamedTuple):
    """What had become of a run's events before they are waited for.

    :ivar tries: how often one of them has failed, at most.
    :ivar is_down: whether the last try of the integration failed.
    """

    tries: int
    is_down: bool


class Claims:
    """The claims of this process on the events of one integration in an open outbox.

    :param node: who sends, where several nodes share the outbox: what another has reserved is left to it.
    """

    def __init__(self, database: SqlDatabase, integration: str, node: str = "") -> None:
        self._database = database
        self._integration = integration
        self._node = node
        self._owner = Process.of(os.getpid()).to_text()

    def claim(self, lease: float, change_key: str | None = None) -> Claim | float | None:
        """The next event to send, in order for each change and within the API's rate limits.

        :param lease: seconds after which others may take the claim for lost.
        :param change_key: only of this change, and whatever failed to reach the API before: this sender has another
            way to it.
        :returns: the claim; or the Unix time at which asking again is worth it; or None where nothing waits.
        """
        pending = f"SELECT 1 FROM events WHERE integration = ? AND {PENDING} LIMIT 1"
        if not self._database.rows(pending, (self._integration,)):
            return None
        with self._database.writing() as transaction:
            # Not before the lock is there: the wait for it may be long, and what others sent meanwhile counts.
            now = self._database.now()
            self._release_lost(transaction, now)
            wait_until = self._paused_until(transaction, now, change_key is None)
            row = self._next_in_line(transaction, change_key, now)
            if row is None:
                row = self._next_in_line(transaction, change_key, now, later=True)
                lost = transaction.execute(
                    "SELECT min(claimed_until) FROM events WHERE integration = ? AND state = 'sending'",
                    (self._integration,),
                ).fetchone()[0]
                times = ([] if row is None else [float(row["next_try"])]) + ([] if lost is None else [float(lost)])
                return max(wait_until, min(times)) if times else None
            if wait_until > now:
                return wait_until
            return self._claimed(transaction, row, now + lease)

    def claim_first(self, transaction: Transaction, change_key: str, lease: float) -> Claim | None:
        """The first event of a change, where nobody sends one of it. Within a transaction of the caller."""
        now = self._database.now()
        row = self._next_in_line(transaction, change_key, now)
        return None if row is None else self._claimed(transaction, row, now + lease)

    def _claimed(self, transaction: Transaction, row: Row, until: float) -> Claim:
        transaction.execute(
            "UPDATE events SET state = 'sending', claimed_by = ?, claimed_until = ?, tries = tries + 1 WHERE id = ?",
            (self._owner, until, row["id"]),
        )
        sending = (self._integration, self._database.now())
        transaction.execute("INSERT INTO sendings (integration, at) VALUES (?, ?)", sending)
        return Claim(row["uid"], row["change_key"], row["body"], row["tries"] + 1, until, row["expires_at"])

    def take(self, claim: Claim) -> bool:
        """Claim the very event here that this process has claimed in another outbox.

        :returns: whether it may be sent: False where this outbox says that it is being sent, or was.
        """
        with self._database.writing() as transaction:
            cursor = transaction.execute(
                "UPDATE events SET state = 'sending', claimed_by = ?, claimed_until = ?, tries = tries + 1"
                " WHERE uid = ? AND state = 'waiting'",
                (self._owner, claim.until, claim.uid),
            )
            return bool(cursor.rowcount) or not self._database.rows("SELECT 1 FROM events WHERE uid = ?", (claim.uid,))

    def is_waiting(self) -> bool:
        """Whether an event waits that nobody sends."""
        statement = "SELECT 1 FROM events WHERE integration = ? AND state = 'waiting' LIMIT 1"
        return bool(self._database.rows(statement, (self._integration,)))

    def _next_in_line(
        self, transaction: Transaction, change_key: str | None, now: float, later: bool = False
    ) -> Row | None:
        """The next event that is first in the line of its change, and due, or with ``later`` due next.

        What happens now goes before a backlog.
        """
        # No pause is so long: the clock was fast when that was written.
        is_due = "(next_try <= :now OR next_try > :now + :most)"
        lines = [f"{is_due} AND put_at >= :recent ORDER BY put_at, id", f"{is_due} ORDER BY id"]
        of_change = "" if change_key is None else "change_key = :change_key AND "
        values = {"integration": self._integration, "change_key": change_key, "now": now, "node": self._node}
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

    def _release_lost(self, transaction: Transaction, now: float) -> None:
        transaction.execute(
            "UPDATE events SET state = 'waiting', claimed_by = NULL WHERE integration = ? AND state = 'sending'"
            " AND (claimed_until < ? OR claimed_until > ?)",
            (self._integration, now, now + _PAUSE_MOST),
        )
        transaction.execute(
            "UPDATE events SET state = 'expired', settled_at = ? WHERE integration = ? AND state = 'waiting'"
            " AND expires_at < ?",
            (now, self._integration, now),
        )

    def _paused_until(self, transaction: Transaction, now: float, back_off: bool) -> float:
        """When the rate limits, and with ``back_off`` the failures before, next allow a request."""
        until = self.pause.until if back_off else 0.0
        transaction.execute("DELETE FROM sendings WHERE at < ? OR at > ?", (now - _PACES[-1][0], now + 1))
        for span, most in _PACES:
            newest = transaction.execute(
                "SELECT at FROM sendings WHERE integration = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
                (self._integration, now - span, most - 1),
            ).fetchone()
            if newest:
                until = max(until, float(newest["at"]) + span)
        return until

    def release_dead(self) -> None:
        """Take back what processes of this machine had claimed that no longer run."""
        rows = self._database.rows(
            "SELECT DISTINCT claimed_by FROM events WHERE integration = ? AND state = 'sending'", (self._integration,)
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

    def delivered(self, claim: Claim, request_id: str) -> None:
        """The event was taken, and whatever had paused the integration is over."""
        with self._database.writing() as transaction:
            self._settle(transaction, claim, "delivered", request_id=request_id)
            # An answer to what was under way says nothing against a 429 that has come to another node since.
            transaction.execute(
                "DELETE FROM pauses WHERE integration = ? AND (? = '' OR until <= ?)",
                (self._integration, self._node, self._database.now()),
            )

    def refused(self, claim: Claim, error: ApiError) -> None:
        """The event will never be taken: kept, shown once, and out of the way of what is behind it."""
        told = {"request_id": error.request_id, "http_status": error.status, "error_code": error.code}
        with self._database.writing() as transaction:
            self._settle(transaction, claim, "refused", error=error.message, **told)

    def corrected(self, claim: Claim, event: ChangeEvent) -> None:
        """The event waits again, in another form."""
        with self._database.writing() as transaction:
            transaction.execute(
                "UPDATE events SET state = 'waiting', claimed_by = NULL, body = ?, event_time = ?"
                " WHERE uid = ? AND state = 'sending' AND claimed_until = ?",
                (event.to_json(), event.event_time, claim.uid, claim.until),
            )

    def failed(self, claim: Claim, error: ApiError, next_try: float, paused_until: float) -> None:
        """The try failed; the event waits again.

        :param next_try: Unix seconds before which this event is not tried again.
        :param paused_until: Unix seconds before which nothing of this integration is tried again.
        """
        with self._database.writing() as transaction:
            transaction.execute(
                "UPDATE events SET state = 'waiting', claimed_by = NULL, next_try = ?, error = ?, http_status = ?"
                " WHERE uid = ? AND state = 'sending' AND claimed_until = ?",
                (next_try, error.message, error.status, claim.uid, claim.until),
            )
            if self._node and error.status != TOO_MANY_REQUESTS:
                return  # this node's way to Flashduty need not be that of others
            transaction.execute(
                "INSERT INTO pauses (integration, failures, until, error) VALUES (?, 1, ?, ?)"
                " ON CONFLICT (integration) DO UPDATE SET failures = pauses.failures + 1, error = excluded.error,"
                " until = CASE WHEN pauses.until > excluded.until THEN pauses.until ELSE excluded.until END",
                (self._integration, paused_until, error.message),
            )

    def _settle(self, transaction: Transaction, claim: Claim, state: str, **values: Any) -> None:
        columns = "".join(f", {name} = ?" for name in values)
        transaction.execute(
            f"UPDATE events SET state = ?, settled_at = ?, claimed_by = NULL{columns} WHERE uid = ? AND {PENDING}",
            (state, self._database.now(), *values.values(), claim.uid),
        )

    @property
    def pause(self) -> Pause:
        """What holds the integration up, as far as failed tries do."""
        rows = self._pauses(self._integration)
        if not rows:
            return Pause()
        pause = Pause(*rows[0])
        # No pause is so long: the clock was fast when that was written.
        return pause if pause.until <= self._database.now() + _PAUSE_MOST else pause._replace(until=0.0)

    def clear_pause(self) -> None:
        """Try again now, whatever had failed before."""
        with self._database.writing() as transaction:
            transaction.execute("DELETE FROM pauses WHERE integration = ?", (self._integration,))
            transaction.execute(
                "UPDATE events SET next_try = 0 WHERE integration = ? AND state = 'waiting' AND tries > 0",
                (self._integration,),
            )

    def try_now(self, run: str) -> RetryState:
        """Let what waits of a run be tried once more without a pause, unless Flashduty itself has asked for one."""
        state = RetryState(self._failed_tries(run), bool(self.pause.failures))
        if state.is_down:
            with self._database.writing() as transaction:
                asked = (
                    f"SELECT 1 FROM events WHERE integration = ? AND http_status = {TOO_MANY_REQUESTS} AND {PENDING}"
                )
                transaction.execute(
                    f"UPDATE pauses SET until = 0 WHERE integration = ? AND NOT EXISTS ({asked})",
                    (self._integration, self._integration),
                )
                transaction.execute(
                    "UPDATE events SET next_try = 0 WHERE integration = ? AND run = ? AND state = 'waiting'"
                    " AND tries > 0",
                    (self._integration, run),
                )
        return state

    def is_stuck(self, run: str, before: RetryState | None, until: float) -> bool:
        """Whether it is in vain to wait for the events of a run until then, Unix seconds.

        :param before: what :meth:`try_now` said; None where it could not be asked. Where the API was down by then, one
            more try shows that it still is.
        """
        before = before or RetryState(0, False)
        worth = 1 if before.is_down else _WORTH_WAITING
        next_try = self._database.now() if before.is_down else until
        return self._failed_tries(run) - before.tries >= worth or self.pause.until > next_try

    def _failed_tries(self, run: str) -> int:
        """How often an event of the run that waits has failed, at most."""
        rows = self._database.rows(
            f"SELECT max({_FAILED_TRIES}) FROM events WHERE integration = ? AND run = ? AND {PENDING}",
            (self._integration, run),
        )
        return int(rows[0][0] or 0)

    @property
    def sharing_problem(self) -> str | None:
        """Why the shared outbox cannot be used, as far as a courier has found out; None where it can."""
        rows = self._pauses(self._integration + _SHARING)
        return str(rows[0]["error"]) if rows else None

    def sharing_tried(self, problem: str | None) -> None:
        """A courier has tried to use the shared outbox.

        :param problem: why it cannot; None where it can.
        """
        if self.sharing_problem == problem:
            return
        name = self._integration + _SHARING
        with self._database.writing() as transaction:
            if problem is None:
                transaction.execute("DELETE FROM pauses WHERE integration = ?", (name,))
            else:
                row = {"integration": name, "failures": 0, "until": 0, "error": problem}
                upsert(transaction, "pauses", "integration", row)

    def _pauses(self, name: str) -> list[Any]:
        return self._database.rows("SELECT failures, until, error FROM pauses WHERE integration = ?", (name,))
