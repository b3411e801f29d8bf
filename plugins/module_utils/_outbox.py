# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outbox: every event lies here, durable, from before its first delivery until long after.

Private to this collection; may change in any release.

Whatever is true is in this SQLite file, which any number of processes share. An event's states::

    waiting ──▶ sending ──▶ delivered
       ▲           ├──────▶ refused    (Flashduty will never take it)
       └───────────┤
                   └──────▶ expired    (the task that wanted it gave up on it)
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._process import Process

FILE_NAME = "outbox.sqlite3"
SCHEMA_VERSION = 1
# Seconds that a writer waits for the others.
_BUSY_TIMEOUT = 10.0
# The published limits are 100/s and 1000/min. The clocks of two machines and the network squeeze what left evenly
# spaced.
_PACES = ((1.0, 90), (60.0, 985))
_DAY = 86400.0
# How long, in seconds, and of how many events, the outbox remembers what was settled.
_KEEP_SETTLED = 7 * _DAY
_KEEP_LAST_STATE = 90 * _DAY
_KEEP_BODIES = 5000
# A run of another boot or container is taken for vanished when its courier has not been heard of for so many seconds.
_SILENT_AFTER = 180.0

_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    integration TEXT NOT NULL,
    change_key TEXT NOT NULL,
    body TEXT,
    fingerprint TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    change_status TEXT NOT NULL,
    run TEXT,
    state TEXT NOT NULL DEFAULT 'waiting',
    put_at REAL NOT NULL,
    expires_at REAL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_try REAL NOT NULL DEFAULT 0,
    claimed_by TEXT,
    claimed_until REAL,
    settled_at REAL,
    request_id TEXT,
    http_status INTEGER,
    error_code TEXT,
    error TEXT,
    told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX events_by_key ON events (integration, change_key, id);
CREATE INDEX events_pending ON events (integration, id) WHERE state IN ('waiting', 'sending');
CREATE INDEX events_of_run ON events (run) WHERE run IS NOT NULL;
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    integration TEXT NOT NULL,
    process TEXT NOT NULL,
    vanished_text TEXT NOT NULL,
    opened_at REAL NOT NULL,
    seen_at REAL NOT NULL,
    closed_at REAL
);
CREATE TABLE pauses (integration TEXT PRIMARY KEY, failures INTEGER NOT NULL, until REAL NOT NULL, error TEXT);
CREATE TABLE sendings (integration TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX sendings_by_time ON sendings (integration, at);
"""
_PENDING = "state IN ('waiting', 'sending')"


class OutboxError(Exception):
    """The outbox cannot be used. The text names the file and the reason."""


class NewerOutbox(OutboxError):
    """The outbox was written by a newer version of this collection."""


@dataclass(frozen=True)
class Put:
    """What :meth:`Outbox.put` did.

    :ivar event_id: the event that was stored, or the equal one that was there.
    :ivar changed: whether an event was stored.
    :ivar before: the last event of that change until then; None where there was none or its text is no longer kept.
    """

    event_id: int
    changed: bool
    before: ChangeEvent | None


@dataclass(frozen=True)
class Outcome:
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


@dataclass(frozen=True)
class Claim:
    """An event that the holder alone may send, until ``until`` (Unix seconds)."""

    event_id: int
    change_key: str
    body: str
    tries: int
    until: float
    expires_at: float | None


class Refusal(NamedTuple):
    """An event that Flashduty refused for good."""

    change_key: str
    change_status: str
    http_status: int | None
    request_id: str | None
    error: str


class Outbox:
    """The store in ``folder``. Open it late, close it early, and never carry it across a fork.

    :raises OutboxError: where the folder cannot be made or written, or the file not be read.
    """

    def __init__(self, folder: str, durable: bool = True, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.path = os.path.join(folder, FILE_NAME)
        self.set_aside: str | None = None
        self._now = now
        self._durable = durable
        try:
            self._database = self._opened()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise OutboxError(f"{self.path}: {error}") from None
            self.set_aside = f"{self.path}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
            try:
                os.rename(self.path, self.set_aside)
                self._database = self._opened()
            except (OSError, sqlite3.Error) as second:
                raise OutboxError(f"{self.path}: {second}") from None
        except OSError as error:
            raise OutboxError(f"{error.filename or self.path}: {error.strerror}") from None

    @staticmethod
    def exists(folder: str) -> bool:
        """Whether there is an outbox in the folder."""
        return os.path.exists(os.path.join(folder, FILE_NAME))

    def _opened(self) -> sqlite3.Connection:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            # Not opened here at all: closing it would drop the locks that SQLite holds on it in this process.
            pass
        database = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT, isolation_level=None)
        try:
            database.row_factory = sqlite3.Row
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise NewerOutbox(
                    f"{self.path}: written by a newer version of flashcat.flashduty (format {version}, "
                    f"known here is {SCHEMA_VERSION}). Install the same version everywhere, or set another state_dir"
                )
            if version < SCHEMA_VERSION:
                database.execute("PRAGMA journal_mode = WAL")
                self._create(database)
            database.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        except BaseException:
            database.close()
            raise
        return database

    @staticmethod
    def _create(database: sqlite3.Connection) -> None:
        database.execute("BEGIN IMMEDIATE")
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                database.execute("INSERT INTO settings VALUES ('salt', ?)", (secrets.token_bytes(16),))
                database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise OutboxError(f"{self.path}: {error}") from None

    def _rows(self, statement: str, values: Any = ()) -> list[sqlite3.Row]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise OutboxError(f"{self.path}: {error}") from None

    @property
    def salt(self) -> bytes:
        """What the integration key is hashed with in this outbox."""
        value = self._rows("SELECT value FROM settings WHERE name = 'salt'")[0]["value"]
        return bytes(value)

    # Events: in

    def put(
        self,
        integration: str,
        event: ChangeEvent,
        run: str | None = None,
        force: bool = False,
        expires_at: float | None = None,
    ) -> Put:
        """Store an event, unless the last one of its change says the same.

        :param integration: :meth:`Connection.integration_id`.
        :param event: its ``event_time`` is compared only where it has one.
        :param run: the run that closes this change should it vanish.
        :param force: store it in any case.
        :param expires_at: Unix seconds after which it is not worth sending any more; None keeps it for ever.
        :raises OutboxError: where it could not be stored.
        """
        with self._writing() as database:
            last = self._last(database, integration, event.change_key)
            before = ChangeEvent.from_json(last["body"]) if last is not None and last["body"] else None
            if last is not None and not force and self._says_the_same(last, event):
                if expires_at is None and last["expires_at"] is not None:
                    database.execute("UPDATE events SET expires_at = NULL WHERE id = ?", (last["id"],))
                return Put(int(last["id"]), False, before)
            return Put(self._insert(database, integration, event, run, expires_at), True, before)

    def compare(self, integration: str, event: ChangeEvent) -> tuple[bool, ChangeEvent | None]:
        """Whether :meth:`put` would store the event, and the last one of its change; writes nothing."""
        try:
            last = self._last(self._database, integration, event.change_key)
        except sqlite3.Error as error:
            raise OutboxError(f"{self.path}: {error}") from None
        if last is None:
            return True, None
        before = ChangeEvent.from_json(last["body"]) if last["body"] else None
        return not self._says_the_same(last, event), before

    @staticmethod
    def _says_the_same(last: sqlite3.Row, event: ChangeEvent) -> bool:
        same_time = event.event_time is None or event.event_time == last["event_time"]
        return same_time and bool(last["fingerprint"] == event.fingerprint())

    def _last(self, database: sqlite3.Connection, integration: str, change_key: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = database.execute(
            "SELECT * FROM events WHERE integration = ? AND change_key = ?"
            " AND (state = 'delivered'"
            " OR (state IN ('waiting', 'sending') AND (expires_at IS NULL OR expires_at >= ?)))"
            " ORDER BY id DESC LIMIT 1",
            (integration, change_key, self._now()),
        ).fetchone()
        return row

    def _insert(
        self,
        database: sqlite3.Connection,
        integration: str,
        event: ChangeEvent,
        run: str | None,
        expires_at: float | None = None,
    ) -> int:
        event = event.at(self._now())
        cursor = database.execute(
            "INSERT INTO events (integration, change_key, body, fingerprint, event_time, change_status, run, put_at,"
            " expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                integration,
                event.change_key,
                event.to_json(),
                event.fingerprint(),
                event.event_time,
                event.change_status,
                run,
                self._now(),
                expires_at,
            ),
        )
        return int(cursor.lastrowid or 0)

    # Events: out

    def claim(self, integration: str, owner: Process, lease: float) -> Claim | float | None:
        """The next event to send, in order for each change and within the API's rate limits.

        :param owner: who will send it.
        :param lease: seconds after which others may take the claim for lost.
        :returns: the claim; or the Unix time at which asking again is worth it; or None where nothing waits.
        """
        if not self._rows(f"SELECT 1 FROM events WHERE integration = ? AND {_PENDING} LIMIT 1", (integration,)):
            return None
        now = self._now()
        with self._writing() as database:
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
            return Claim(row["id"], row["change_key"], row["body"], row["tries"] + 1, until, row["expires_at"])

    @staticmethod
    def _next_in_line(
        database: sqlite3.Connection, integration: str, condition: str, now: float
    ) -> sqlite3.Row | None:
        row: sqlite3.Row | None = database.execute(
            "SELECT id, change_key, body, tries, expires_at, next_try FROM events AS e"
            " WHERE integration = ? AND state = 'waiting' AND NOT EXISTS ("
            " SELECT 1 FROM events AS f WHERE f.integration = e.integration AND f.change_key = e.change_key"
            f" AND f.id < e.id AND f.{_PENDING}) AND {condition} LIMIT 1",
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
            " AND state IN ('waiting', 'sending')",
            (state, self._now(), *values.values(), claim.event_id),
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

    # What has become of it

    def outcome(self, event_id: int) -> Outcome:
        """How far the delivery of an event has come; one past its expiry that nobody sends counts as expired."""
        rows = self._rows(
            "SELECT CASE WHEN state = 'waiting' AND expires_at < ? THEN 'expired' ELSE state END AS state,"
            " request_id, http_status, error_code, error FROM events WHERE id = ?",
            (self._now(), event_id),
        )
        return Outcome(*rows[0]) if rows else Outcome("delivered", None, None, None, None)

    def pending(self, integration: str, run: str | None = None) -> int:
        """How many events of the integration, or of one run, are not settled."""
        statement, values = f"SELECT count(*) FROM events WHERE integration = ? AND {_PENDING}", [integration]
        if run is not None:
            statement, values = statement + " AND run = ?", [integration, run]
        return int(self._rows(statement, values)[0][0])

    def pending_elsewhere(self, integration: str) -> int:
        """How many events wait for other integrations than this one."""
        statement = f"SELECT count(*) FROM events WHERE integration != ? AND {_PENDING}"
        return int(self._rows(statement, (integration,))[0][0])

    def last_error(self, integration: str) -> str | None:
        """Why the last try failed, where it did."""
        rows = self._rows("SELECT error FROM pauses WHERE integration = ?", (integration,))
        return str(rows[0]["error"]) if rows else None

    def tell_refusals(self, integration: str) -> list[Refusal]:
        """The refused events that nobody was told of yet; they count as told from now on."""
        chosen = "integration = ? AND state = 'refused' AND told = 0"
        if not self._rows(f"SELECT 1 FROM events WHERE {chosen} LIMIT 1", (integration,)):
            return []
        with self._writing() as database:
            rows = database.execute(
                "SELECT change_key, change_status, http_status, request_id, error FROM events"
                f" WHERE {chosen} ORDER BY id",
                (integration,),
            ).fetchall()
            database.execute(f"UPDATE events SET told = 1 WHERE {chosen}", (integration,))
        return [Refusal(*row) for row in rows]

    def refusal_told(self, event_id: int) -> None:
        """A task has reported the refusal of this event itself."""
        with self._writing() as database:
            database.execute("UPDATE events SET told = 1 WHERE id = ?", (event_id,))

    # Runs

    def open_run(
        self, run: str, integration: str, process: Process, vanished_text: str, events: Iterable[ChangeEvent]
    ) -> None:
        """Record that a process has begun, together with the events that say so.

        :param vanished_text: the description of the Canceled events, should the process vanish.
        """
        with self._writing() as database:
            database.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (run, integration, process.to_text(), vanished_text, self._now(), self._now()),
            )
            for event in events:
                self._insert(database, integration, event, run)

    def close_run(self, run: str, integration: str, events: Iterable[ChangeEvent]) -> bool:
        """Record that a run has ended, together with the events that say so.

        :returns: whether this call closed it; False where somebody else had.
        """
        with self._writing() as database:
            if not self._mark_closed(database, run):
                return False
            for event in events:
                self._insert(database, integration, event, run)
            return True

    def close_vanished_run(self, run: str, event_time: float | None = None) -> int:
        """Cancel what a run that has gone without a word left open.

        :param event_time: when it was last known to be there, Unix seconds; None for the last sign of life in the
            outbox.
        :returns: how many changes were cancelled; 0 where somebody else had closed the run.
        """
        with self._writing() as database:
            row = database.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
            if row is None or not self._mark_closed(database, run):
                return 0
            open_events = database.execute(
                "SELECT body FROM events WHERE id IN (SELECT max(id) FROM events WHERE run = ? GROUP BY change_key)"
                " AND change_status NOT IN ('Done', 'Canceled') ORDER BY id",
                (run,),
            ).fetchall()
            moment = row["seen_at"] if event_time is None else event_time
            for open_event in open_events:
                event = ChangeEvent.from_json(open_event["body"])
                fields = event.to_dict()
                fields.update(change_status="Canceled", description=row["vanished_text"], event_time=int(moment))
                self._insert(database, row["integration"], ChangeEvent.validated(fields, max(moment, self._now())), run)
            return len(open_events)

    def _mark_closed(self, database: sqlite3.Connection, run: str) -> bool:
        return (
            database.execute(
                "UPDATE runs SET closed_at = ? WHERE id = ? AND closed_at IS NULL", (self._now(), run)
            ).rowcount
            == 1
        )

    def run_is_closed(self, run: str) -> bool:
        """Whether the run has ended."""
        return bool(self._rows("SELECT 1 FROM runs WHERE id = ? AND closed_at IS NOT NULL", (run,)))

    def run_seen(self, run: str) -> None:
        """The process of the run is there now."""
        with self._writing() as database:
            database.execute("UPDATE runs SET seen_at = ? WHERE id = ?", (self._now(), run))

    def vanished_runs(self, integration: str) -> list[str]:
        """The runs whose process has gone without closing them: here, in another boot, or in another container."""
        vanished = []
        for row in self._rows("SELECT * FROM runs WHERE integration = ? AND closed_at IS NULL", (integration,)):
            process = Process.from_text(row["process"])
            gone = not process.is_alive() if process.is_local else row["seen_at"] < self._now() - _SILENT_AFTER
            if gone:
                vanished.append(str(row["id"]))
        return vanished

    # Housekeeping

    def prune(self) -> None:
        """Forget what is settled and old, but keep the last state of each change for idempotence."""
        now = self._now()
        last_of_key = (
            "id IN (SELECT max(id) FROM events WHERE state = 'delivered' GROUP BY integration, change_key)"
        )
        with self._writing() as database:
            database.execute(
                "DELETE FROM events WHERE settled_at IS NOT NULL AND state != 'refused'"
                f" AND settled_at < ? AND NOT ({last_of_key})",
                (now - _KEEP_SETTLED,),
            )
            database.execute(
                "DELETE FROM events WHERE settled_at < ?",
                (now - _KEEP_LAST_STATE,),
            )
            database.execute(
                "UPDATE events SET body = NULL WHERE state = 'delivered' AND body IS NOT NULL"
                " AND id <= (SELECT id FROM events WHERE state = 'delivered' ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (_KEEP_BODIES,),
            )
            database.execute("DELETE FROM runs WHERE closed_at < ?", (now - _KEEP_SETTLED,))

    def counts(self) -> Mapping[str, int]:
        """How many events there are in each state."""
        return {str(row[0]): int(row[1]) for row in self._rows("SELECT state, count(*) FROM events GROUP BY state")}
