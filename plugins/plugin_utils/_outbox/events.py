# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The events in the outbox: how one is stored, compared with the last one of its change, and what became of it."""

from __future__ import annotations

import secrets
from collections.abc import Set
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import (
    DESCRIPTION_MAX,
    ChangeEvent,
    shortened,
)
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.change_labels import (
    outcome_of_several,
    with_outcome,
    without_outcome,
)

if TYPE_CHECKING:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.sql import Row, SqlDatabase, Transaction

# The error code of an event that was given up, of too many that waited.
GIVEN_UP = "GivenUp"
PENDING = "state IN ('waiting', 'sending')"
_REFUSAL = "change_key, change_status, http_status, request_id, error, error_code"
# What Flashduty has of a change, or will have; of many events, the last ones.
_RECORDED = (
    "SELECT id, uid, state, run, change_status, event_time, asked_time FROM events WHERE integration = ?"
    " AND change_key = ? AND state IN ('delivered', 'waiting', 'sending') ORDER BY id DESC LIMIT 100"
)
_HELD = "integration = ? AND change_key = ? AND state = 'held'"
# Seconds for which an event is held back at most whose second was taken; further ahead lie plans, and what was dated
# before the clock was set back.
_HELD_BACK_MOST = 10.0
_LAST = (
    "SELECT * FROM events WHERE integration = ? AND change_key = ? AND (state = 'delivered'"
    " OR (state IN ('waiting', 'sending') AND (expires_at IS NULL OR expires_at >= ?))) ORDER BY id DESC LIMIT 1"
)


class PutResult(NamedTuple):
    """What :meth:`Outbox.put` did.

    :ivar uid: the event that was stored, or the equal one that was there.
    :ivar changed: whether an event was stored.
    :ivar before: the last event of that change until then; None where there was none or its text is no longer kept.
    :ivar claim: on the first event of that change that waits, where the caller sends itself; None where somebody else
        sends one of it.
    """

    uid: str
    changed: bool
    before: ChangeEvent | None = None
    claim: Claim | None = None


class LastEvent(NamedTuple):
    """The last event of a change.

    :ivar is_equal: whether :meth:`Outbox.put` would not store the event that it was compared with.
    :ivar pending: whether it still waits for its delivery.
    :ivar event_time: Unix seconds.
    :ivar settled_at: when it was delivered, Unix seconds; None where it was not.
    :ivar event: None where its text is no longer kept.
    """

    is_equal: bool
    pending: bool
    event_time: int
    settled_at: float | None
    event: ChangeEvent | None


class Outcome(NamedTuple):
    """How far the delivery of an event has come."""

    state: str
    request_id: str | None
    http_status: int | None
    error_code: str | None
    error: str | None

    @property
    def is_settled(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("delivered", "refused", "expired")


class Refusal(NamedTuple):
    """An event that Flashduty refused, and would refuse again, or that was given up."""

    change_key: str
    change_status: str
    http_status: int | None
    request_id: str | None
    error: str
    error_code: str | None


class Events:
    """The events of one integration in an open outbox."""

    def __init__(self, database: SqlDatabase, integration: str) -> None:
        self._database = database
        self._integration = integration

    def last(self, event: ChangeEvent) -> LastEvent | None:
        """The event that :meth:`Outbox.put` would compare with this one; None where there is none. Writes nothing."""
        last = self._last_row(event)
        if last is None:
            return None
        return LastEvent(
            is_equal=_is_equal(last, event),
            pending=last["state"] != "delivered",
            event_time=last["event_time"],
            settled_at=last["settled_at"],
            event=ChangeEvent.from_json(last["body"]) if last["body"] else None,
        )

    def get(self, uid: str) -> ChangeEvent | None:
        """A stored event; None where its text is no longer kept."""
        rows = self._database.rows("SELECT body FROM events WHERE uid = ? AND body IS NOT NULL", (uid,))
        return ChangeEvent.from_json(rows[0]["body"]) if rows else None

    def outcome(self, uid: str) -> Outcome | None:
        """How far the delivery of an event has come; one past its expiry that nobody sends counts as expired.

        :returns: None where the event is not here.
        """
        rows = self._database.rows(
            "SELECT CASE WHEN state = 'waiting' AND expires_at < ? THEN 'expired' ELSE state END AS state,"
            " request_id, http_status, error_code, error FROM events WHERE uid = ?",
            (self._database.now(), uid),
        )
        return Outcome(*rows[0]) if rows else None

    def pending(self, run: str | None = None) -> int:
        """How many events, or how many of one run, are not settled."""
        statement, values = f"SELECT count(*) FROM events WHERE integration = ? AND {PENDING}", [self._integration]
        if run is not None:
            statement, values = statement + " AND run = ?", [self._integration, run]
        return int(self._database.rows(statement, values)[0][0])

    def uids(self, *states: str) -> set[str]:
        """The events in these states."""
        rows = self._database.rows(
            f"SELECT uid FROM events WHERE integration = ? AND state IN ({', '.join('?' * len(states))})",
            (self._integration, *states),
        )
        return {str(row["uid"]) for row in rows}

    def states_of(self, run: str) -> list[str]:
        """The state of each event of a run."""
        return [str(row["state"]) for row in self._database.rows("SELECT state FROM events WHERE run = ?", (run,))]

    def expire(self, uid: str) -> None:
        """The task that wanted the event gives up on it now."""
        with self._database.writing() as transaction:
            transaction.execute(
                "UPDATE events SET state = 'expired', settled_at = ? WHERE uid = ? AND state = 'waiting'"
                " AND expires_at IS NOT NULL",
                (self._database.now(), uid),
            )

    def keys_of(self, run: str) -> set[str]:
        """The keys of the changes of a run."""
        rows = self._database.rows("SELECT DISTINCT change_key FROM events WHERE run = ?", (run,))
        return {str(row["change_key"]) for row in rows}

    def keys_in_use(self) -> set[str]:
        """The keys of the changes that open runs have reported, or of which events wait."""
        rows = self._database.rows(
            "SELECT DISTINCT change_key FROM events WHERE integration = ?"
            f" AND ({PENDING} OR run IN (SELECT id FROM runs WHERE closed_at IS NULL))",
            (self._integration,),
        )
        return {str(row["change_key"]) for row in rows}

    def take_refusals(self) -> list[Refusal]:
        """The refused events that were not shown to anybody yet; they count as shown from now on."""
        chosen = "integration = ? AND state = 'refused' AND shown = 0"
        if not self._database.rows(f"SELECT 1 FROM events WHERE {chosen} LIMIT 1", (self._integration,)):
            return []
        with self._database.writing() as transaction:
            rows = transaction.execute(
                f"SELECT {_REFUSAL} FROM events WHERE {chosen} ORDER BY id", (self._integration,)
            ).fetchall()
            transaction.execute(f"UPDATE events SET shown = 1 WHERE {chosen}", (self._integration,))
        return [Refusal(*row) for row in rows]

    def refusals(self, uids: Set[str]) -> list[Refusal]:
        """Which of these events were refused, whether that was shown or not."""
        rows = self._database.rows(
            f"SELECT {_REFUSAL}, uid FROM events WHERE integration = ? AND state = 'refused' ORDER BY id",
            (self._integration,),
        )
        return [Refusal(*refusal) for *refusal, uid in rows if uid in uids]

    def refusal_shown(self, uid: str) -> None:
        """A task has shown the refusal of this event itself."""
        with self._database.writing() as transaction:
            transaction.execute("UPDATE events SET shown = 1 WHERE uid = ?", (uid,))

    # Within a transaction of the caller

    def put(
        self, transaction: Transaction, event: ChangeEvent, run: str | None, force: bool, expires_at: float | None
    ) -> PutResult:
        """Store an event, unless the last one of its change says the same; see :meth:`Outbox.put`."""
        last = self._last_row(event)
        before = ChangeEvent.from_json(last["body"]) if last is not None and last["body"] else None
        if last is None or force or not _is_equal(last, event):
            uid = self.insert(transaction, event, run, expires_at, event.event_time is not None)
            return PutResult(uid, True, before)
        if expires_at is None and last["expires_at"] is not None:
            transaction.execute("UPDATE events SET expires_at = NULL, shared = '' WHERE id = ?", (last["id"],))
        if run is not None and run != last["run"]:
            transaction.execute(
                "UPDATE events SET run = ?, shared = '' WHERE id = ? AND body IS NOT NULL"
                " AND (run IS NULL OR run NOT IN (SELECT id FROM runs WHERE closed_at IS NULL))",
                (run, last["id"]),
            )
        return PutResult(str(last["uid"]), False, before)

    def insert(
        self,
        transaction: Transaction,
        event: ChangeEvent,
        run: str | None,
        expires_at: float | None = None,
        is_backdated: bool = False,
        uid: str | None = None,
    ) -> str:
        """Store an event in any case, with its moment fixed, and return its uid.

        Flashduty records one event of a change, status and second, and takes neither status nor labels of one that
        happened before the last. So an event that follows another is not dated before it, whatever this machine's clock
        does, and where its second is taken it replaces what its run has waiting there, or is dated a second later and
        not sent before.

        :param is_backdated: whether its moment was given by a user, who may report what happened earlier.
        :param uid: how another outbox knows it already; it replaces nothing then.
        """
        now = self._database.now()
        asked_time = moment = int(now) if event.event_time is None else event.event_time
        recorded = transaction.execute(_RECORDED, (self._integration, event.change_key)).fetchall()
        # A plan is not what happened.
        happened = [row for row in recorded if row["change_status"] != "Ready"]
        latest = max(happened, key=lambda row: int(row["event_time"]), default=None)
        if latest is not None and (asked_time >= latest["asked_time"] or not is_backdated):
            moment = max(moment, latest["event_time"])
        of_status = {row["event_time"]: row for row in recorded if row["change_status"] == event.change_status}
        first = moment
        while (taken := of_status.get(moment)) is not None:
            is_last = taken is recorded[0] is not recorded[-1]
            if uid is None and is_last and taken["state"] == "waiting" and taken["run"] == run:
                break
            moment += 1
        event = event._replace(event_time=moment)
        row = {
            "body": event.to_json(),
            "fingerprint": event.fingerprint(),
            "event_time": moment,
            "asked_time": asked_time,
            "put_at": now,
            "expires_at": expires_at,
        }
        if taken is not None:
            transaction.execute(
                "UPDATE events SET body = :body, fingerprint = :fingerprint, event_time = :event_time,"
                " asked_time = :asked_time, put_at = :put_at, shared = '',"
                " expires_at = CASE WHEN expires_at >= :expires_at THEN expires_at"
                " WHEN expires_at < :expires_at THEN :expires_at END WHERE id = :id",
                {**row, "id": taken["id"]},
            )
            return str(taken["uid"])
        row.update(uid=uid or secrets.token_hex(12), integration=self._integration, run=run)
        row.update(change_key=event.change_key, change_status=event.change_status)
        row["next_try"] = moment if first < moment <= now + _HELD_BACK_MOST else 0
        names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        transaction.execute(f"INSERT INTO events ({names}) VALUES ({marks})", row)
        return str(row["uid"])

    def hold(self, transaction: Transaction, event: ChangeEvent, run: str, uid: str | None = None) -> None:
        """Keep an end that is not sent, for the run that ends this change after it."""
        uid = self.insert(transaction, event, run, uid=uid)
        now = self._database.now()
        transaction.execute("UPDATE events SET state = 'held', settled_at = ? WHERE uid = ?", (now, uid))

    def held(self, change_key: str) -> list[ChangeEvent]:
        """The ends of a change that are held."""
        rows = self._database.rows(
            f"SELECT body FROM events WHERE {_HELD} ORDER BY id", (self._integration, change_key)
        )
        return [ChangeEvent.from_json(row["body"]) for row in rows]

    def with_held(self, transaction: Transaction, event: ChangeEvent) -> ChangeEvent:
        """An end together with those that were held: the change is done where every run of it is."""
        held = self.held(event.change_key)
        if not held:
            return event
        transaction.execute(f"UPDATE events SET state = 'expired' WHERE {_HELD}", (self._integration, event.change_key))
        ends = [event, *held]
        worst = next((each for each in ends if each.change_status == "Canceled"), event)
        others = [each for each in ends if each is not worst]
        texts = [worst.description, *(each.description for each in others)]
        outcome = outcome_of_several(worst.labels, [each.labels for each in others])
        return event._replace(
            change_status=worst.change_status,
            description=shortened("\n".join(text for text in texts if text), DESCRIPTION_MAX) or None,
            labels=with_outcome(without_outcome(held[0].labels), outcome),
        )

    def was_said(self, event: ChangeEvent) -> bool:
        """Whether the last event of its change says the same, whenever it says it."""
        last = self._last_row(event)
        return last is not None and bool(last["fingerprint"] == event.fingerprint())

    def _last_row(self, event: ChangeEvent) -> Row | None:
        """The last event of the change that the event is of."""
        rows = self._database.rows(_LAST, (self._integration, event.change_key, self._database.now()))
        return rows[0] if rows else None


def _is_equal(last: Row, event: ChangeEvent) -> bool:
    same_time = event.event_time is None or event.event_time == last["asked_time"]
    return same_time and bool(last["fingerprint"] == event.fingerprint())
