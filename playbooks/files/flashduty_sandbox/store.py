# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the receiver holds, in SQLite: every request, every event taken, and the changes they merge into.

Keys are not stored, only salted digests of them, by which an integration keeps its number over a restart.

Requests are numbered. A change's `revision` is the number of the last request that it was in, so that "what is new
since request 17" is one question; the generation tells one numbering from the next, which begins when all is forgotten.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from flashduty_sandbox.rules import Event, ListQuery

SCHEMA_VERSION = 2
TERMINAL = ("Done", "Canceled")
ACCEPTED = "accepted"

_SCHEMA = """
CREATE TABLE salt (value TEXT NOT NULL);
CREATE TABLE generation (value TEXT NOT NULL);
CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    active INTEGER NOT NULL
);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    received REAL NOT NULL,
    request_id TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    integration_id INTEGER,
    verdict TEXT NOT NULL,
    status INTEGER,
    message TEXT NOT NULL,
    fault TEXT,
    user_agent TEXT NOT NULL,
    body TEXT NOT NULL,
    change_key TEXT,
    change INTEGER REFERENCES changes (id)
);
CREATE INDEX requests_by_change ON requests (change) WHERE change IS NOT NULL;
CREATE INDEX stray_requests ON requests (change_key) WHERE change IS NULL AND verdict <> 'accepted';
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    change_id TEXT NOT NULL UNIQUE,
    integration_id INTEGER NOT NULL,
    change_key TEXT NOT NULL,
    change_status TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    link TEXT NOT NULL,
    labels TEXT NOT NULL,
    start_time INTEGER NOT NULL,
    start_is_processing INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    event_count INTEGER NOT NULL,
    refused_count INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    UNIQUE (integration_id, change_key)
);
CREATE INDEX changes_by_start ON changes (start_time);
CREATE INDEX changes_by_key ON changes (change_key);
CREATE INDEX changes_by_revision ON changes (revision);
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    change INTEGER NOT NULL REFERENCES changes (id),
    received REAL NOT NULL,
    request_id TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX events_by_change ON events (change);
"""


class StoreError(Exception):
    """The store cannot be used: it is no store, it is damaged, or another version wrote it."""


@dataclass(frozen=True)
class Received:
    """One request and what became of it.

    `received` is in Unix seconds; `verdict` is ACCEPTED, an error code, or "fault"; `status` is the HTTP status of the
    answer, None where there was none; `path` has no query string, since that holds a key; `change_key` is the one that
    the body names, refused or not.
    """

    received: float
    request_id: str
    method: str
    path: str
    integration_id: int | None
    verdict: str
    status: int | None
    message: str
    fault: str | None
    user_agent: str
    body: str
    change_key: str | None = None


class Position(NamedTuple):
    """How far somebody has read: every request of a generation up to this number."""

    generation: str
    number: int


class News(NamedTuple):
    """Changes that were in a request after some position, and the position that they lead to; `more` are waiting."""

    position: Position
    changes: list[dict[str, Any]]
    more: bool


class History:
    """The reading side of a store. Each question opens the file anew, so that it never waits for a writer."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def requests(self) -> list[dict[str, Any]]:
        """Every request, in order of arrival, with the fields of Received and its `number`."""
        with self._reading() as connection:
            rows = connection.execute("SELECT id AS number, * FROM requests ORDER BY id").fetchall()
        return [{name: value for name, value in dict(row).items() if name not in ("id", "change")} for row in rows]

    def events(self) -> list[dict[str, Any]]:
        """Every event taken, in order of arrival: the API's fields, what was sent as `body`, and how it arrived."""
        with self._reading() as connection:
            rows = connection.execute(f"{_EVENTS} ORDER BY events.id").fetchall()
        return [_event(row) for row in rows]

    def changes(self) -> list[dict[str, Any]]:
        """Every change, by start: an item of /change/list with its `events`, as `events()` has them."""
        with self._reading() as connection:
            changes = connection.execute("SELECT * FROM changes ORDER BY start_time, id").fetchall()
            events = connection.execute(f"{_EVENTS} ORDER BY events.id").fetchall()
        of_change: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in changes}
        for row in events:
            of_change[row["change"]].append(_event(row))
        return [_change(row) | {"events": of_change[row["id"]]} for row in changes]

    def find_changes(self, query: ListQuery) -> dict[str, Any]:
        """Answer /change/list: the changes that were under way in the window of `query`, a page of them."""
        direction = "ASC" if query.ascending else "DESC"
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT * FROM changes WHERE start_time <= ? AND last_time >= ? "
                f"ORDER BY {query.order_by} {direction}, id {direction}",
                (query.end_time, query.start_time),
            ).fetchall()
            found = [row for row in rows if _matches(row, query)]
            first = (query.page - 1) * query.limit
            page = found[first : first + query.limit]
            items = [_change(row) for row in page]
            if query.include_events:
                for row, item in zip(page, items, strict=True):
                    events = connection.execute(f"{_EVENTS} WHERE events.change = ? ORDER BY events.id", (row["id"],))
                    item["events"] = [_event(event) for event in events]
        return {"items": items, "total": len(found), "has_next_page": len(found) > first + query.limit}

    def overlapping(self, start_time: int, end_time: int) -> list[dict[str, Any]]:
        """Every change that was under way at some time from `start_time` to `end_time`; one in progress still is."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT * FROM changes WHERE start_time <= ? AND (last_time >= ? OR change_status = 'Processing')",
                (end_time, start_time),
            ).fetchall()
        return [_summary(row) for row in rows]

    def position(self) -> Position:
        """The position behind the last request."""
        with self._reading() as connection:
            return _position(connection)

    def newest(self, before: tuple[int, int] | None, limit: int) -> list[dict[str, Any]]:
        """A page of changes without events, the latest start first; `before`: start_time and number of the last one."""
        where, values = ("", ()) if before is None else ("WHERE (start_time, id) < (?, ?) ", before)
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT * FROM changes {where}ORDER BY start_time DESC, id DESC LIMIT ?", (*values, limit)
            ).fetchall()
        return [_summary(row) for row in rows]

    def since(self, position: Position, limit: int) -> News:
        """The changes after `position`, without events. News of another generation know nothing of that position."""
        with self._reading() as connection:
            last = _position(connection)
            rows = connection.execute(
                "SELECT * FROM changes WHERE revision > ? ORDER BY revision LIMIT ?", (position.number, limit + 1)
            ).fetchall()
        changes = [_summary(row) for row in rows[:limit]]
        if len(rows) > limit:
            return News(Position(last.generation, changes[-1]["revision"]), changes, True)
        return News(last, changes, False)

    def strays(self, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """How many refused requests belong to no change, and the last of them, the latest first, without bodies."""
        with self._reading() as connection:
            (count,) = connection.execute(f"SELECT COUNT(*) FROM requests WHERE {_IS_STRAY}").fetchone()
            rows = connection.execute(
                f"SELECT * FROM requests WHERE {_IS_STRAY} ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return count, [_arrival(row, 0) for row in rows]

    def arrivals(self, change_id: str, limit: int, characters: int) -> dict[str, Any] | None:
        """A change with the last `limit` requests that were meant for it, taken or refused, in order of arrival.

        Each body is cut after `characters`. `omitted` counts the requests before those. None: there is no such change.
        """
        with self._reading() as connection:
            change = connection.execute("SELECT * FROM changes WHERE change_id = ?", (change_id,)).fetchone()
            if change is None:
                return None
            rows = connection.execute(
                "SELECT * FROM requests WHERE change = ? ORDER BY id DESC LIMIT ?", (change["id"], limit)
            ).fetchall()
            times = connection.execute("SELECT request_id, event_time FROM events WHERE change = ?", (change["id"],))
            event_times = dict(times.fetchall())
        arrivals = [
            _arrival(row, characters) | {"event_time": event_times.get(row["request_id"])} for row in reversed(rows)
        ]
        total = change["event_count"] + change["refused_count"]
        return {"change": _summary(change), "arrivals": arrivals, "omitted": total - len(arrivals)}

    def arrival(self, number: int, characters: int) -> dict[str, Any] | None:
        """One refused request, its body cut after `characters`. None: there is no such one."""
        with self._reading() as connection:
            row = connection.execute("SELECT * FROM requests WHERE id = ?", (number,)).fetchone()
        return None if row is None else _arrival(row, characters)

    def knows(self, kind: str, key: str) -> bool:
        """Whether the receiver that last used this store accepts `key`."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT active FROM keys WHERE kind = ? AND digest = ?", (kind, _digest(connection, kind, key))
            ).fetchone()
        return row is not None and bool(row["active"])

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(f"file:{quote(str(self.database))}?mode=ro", uri=True, timeout=10)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreError(f"{self.database} cannot be read: {error}") from error


class Store(History):
    """A store open for writing. Safe to use from many threads of one process; one process at a time."""

    def __init__(self, database: Path) -> None:
        """Open `database`, or create it, readable by its owner only. Raises StoreError."""
        super().__init__(database)
        self._news = threading.Condition()
        self.writes = 0
        self._writing = threading.Lock()
        try:
            os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False, timeout=10)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{database} cannot be opened: {error}") from error
        try:
            self._connection.row_factory = sqlite3.Row
            self._prepare()
        except (sqlite3.Error, StoreError) as error:
            self._connection.close()
            raise StoreError(f"{database} cannot be used: {error}") from error

    def _prepare(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        self._connection.execute("PRAGMA journal_mode = WAL")
        # The receiver answers for nobody's data: what a power cut takes can be sent again.
        self._connection.execute("PRAGMA synchronous = OFF")
        if version == 0:
            self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
            self._connection.execute("INSERT INTO salt VALUES (?)", (secrets.token_hex(16),))
            self._connection.execute("INSERT INTO generation VALUES (?)", (secrets.token_hex(8),))
        elif version != SCHEMA_VERSION:
            raise StoreError(f"it has format {version}, this version reads {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file. Further use raises sqlite3.ProgrammingError."""
        with self._writing:
            self._connection.close()

    def activate(self, kind: str, keys: Collection[str]) -> dict[str, int]:
        """Make `keys` the only ones of this kind that count, and return each with its number."""
        numbers: dict[str, int] = {}
        with self._transaction() as connection:
            connection.execute("UPDATE keys SET active = 0 WHERE kind = ?", (kind,))
            for key in sorted(keys) if isinstance(keys, (set, frozenset)) else keys:
                digest = _digest(connection, kind, key)
                connection.execute(
                    "INSERT INTO keys (kind, digest, active) VALUES (?, ?, 1) "
                    "ON CONFLICT (digest) DO UPDATE SET active = 1",
                    (kind, digest),
                )
                (numbers[key],) = connection.execute("SELECT id FROM keys WHERE digest = ?", (digest,)).fetchone()
        return numbers

    def record(self, received: Received) -> None:
        """Keep a request that brought no event."""
        with self._transaction() as connection:
            change = None if received.verdict == ACCEPTED else _meant(connection, received)
            number = _insert_request(connection, received, change)
            if change is not None:
                connection.execute(
                    "UPDATE changes SET refused_count = refused_count + 1, revision = ? WHERE id = ?", (number, change)
                )

    def accept(self, received: Received, integration_id: int, event: Event) -> None:
        """Keep a request and merge the event that it brought into its change."""
        event_time = int(received.received) if event.event_time is None else event.event_time
        with self._transaction() as connection:
            change = _merge(connection, integration_id, event, event_time)
            number = _insert_request(connection, received, change)
            connection.execute("UPDATE changes SET revision = ? WHERE id = ?", (number, change))
            connection.execute(
                "INSERT INTO events (change, received, request_id, event_time, body) VALUES (?, ?, ?, ?, ?)",
                (change, received.received, received.request_id, event_time, json.dumps(dict(event.body))),
            )

    def reset(self) -> None:
        """Forget every request, event and change."""
        with self._transaction() as connection:
            for table in ("events", "changes", "requests"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("UPDATE generation SET value = ?", (secrets.token_hex(8),))

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> None:
        """Return once `condition` holds, which is asked anew after each write.

        Raises:
            TimeoutError: it does not hold after `timeout` seconds.
        """
        with self._news:
            if not self._news.wait_for(condition, timeout):
                raise TimeoutError(f"still not so after {timeout:g} seconds")

    def wait_for_write(self, seen: int, timeout: float) -> None:
        """Return once `writes`, which counts what was written, is no longer `seen`, or after `timeout` seconds."""
        with self._news:
            self._news.wait_for(lambda: self.writes != seen, timeout)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        with self._news:
            self.writes += 1
            self._news.notify_all()


def remove(database: Path) -> None:
    """Delete a store that no process uses, with the files that SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)


_EVENTS = (
    "SELECT events.*, changes.change_id, changes.change_key, changes.integration_id "
    "FROM events JOIN changes ON changes.id = events.change"
)


def _digest(connection: sqlite3.Connection, kind: str, key: str) -> str:
    (salt,) = connection.execute("SELECT value FROM salt").fetchone()
    return hashlib.sha256(f"{salt}{kind}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()


_IS_STRAY = "change IS NULL AND verdict <> 'accepted'"


def _position(connection: sqlite3.Connection) -> Position:
    generation, number = connection.execute(
        "SELECT value, (SELECT COALESCE(MAX(id), 0) FROM requests) FROM generation"
    ).fetchone()
    return Position(generation, number)


def _insert_request(connection: sqlite3.Connection, received: Received, change: int | None) -> int:
    values = vars(received) | {"change": change}
    marks = ", ".join("?" * len(values))
    cursor = connection.execute(f"INSERT INTO requests ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    return int(cursor.lastrowid or 0)


def _meant(connection: sqlite3.Connection, received: Received) -> int | None:
    """Return the change that a refused request names. One whose integration is unknown may mean any integration's."""
    row = connection.execute(
        "SELECT id FROM changes WHERE change_key = :key AND (:integration IS NULL OR integration_id = :integration)"
        " ORDER BY id LIMIT 1",
        {"key": received.change_key, "integration": received.integration_id},
    ).fetchone()
    return None if row is None else int(row["id"])


def _adopt(connection: sqlite3.Connection, change: int, integration_id: int, change_key: str) -> None:
    """Give a new change the refused requests that named it before it was there."""
    cursor = connection.execute(
        f"UPDATE requests SET change = ? WHERE {_IS_STRAY} AND change_key = ?"
        " AND (integration_id IS NULL OR integration_id = ?)",
        (change, change_key, integration_id),
    )
    connection.execute("UPDATE changes SET refused_count = ? WHERE id = ?", (cursor.rowcount, change))


def _merge(connection: sqlite3.Connection, integration_id: int, event: Event, event_time: int) -> int:
    """Merge an event into its change and return the change's row.

    A field that the event has replaces the former one, in order of arrival. The status is that of the event that
    happened last, and of those that happened in one second, the one that arrived last.
    """
    old = connection.execute(
        "SELECT * FROM changes WHERE integration_id = ? AND change_key = ?", (integration_id, event.change_key)
    ).fetchone()
    processing = event.change_status == "Processing"
    if old is None:
        cursor = connection.execute(
            "INSERT INTO changes (change_id, integration_id, change_key, change_status, title, description, link, "
            "labels, start_time, start_is_processing, last_time, event_count, refused_count, revision) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, 0)",
            (
                f"{int(time.time()):08x}{secrets.token_hex(8)}",
                integration_id,
                event.change_key,
                event.change_status,
                event.title,
                event.description or "",
                event.link or "",
                json.dumps(dict(event.labels or {})),
                event_time,
                processing,
                event_time,
            ),
        )
        change = int(cursor.lastrowid or 0)
        _adopt(connection, change, integration_id, event.change_key)
        return change
    if processing != bool(old["start_is_processing"]):
        start_time = event_time if processing else old["start_time"]
    else:
        start_time = min(event_time, old["start_time"])
    connection.execute(
        "UPDATE changes SET change_status = ?, title = ?, description = ?, link = ?, labels = ?, start_time = ?, "
        "start_is_processing = ?, last_time = ?, event_count = event_count + 1 WHERE id = ?",
        (
            event.change_status if event_time >= old["last_time"] else old["change_status"],
            event.title,
            old["description"] if event.description is None else event.description,
            old["link"] if event.link is None else event.link,
            old["labels"] if event.labels is None else json.dumps(dict(event.labels)),
            start_time,
            processing or bool(old["start_is_processing"]),
            max(event_time, old["last_time"]),
            old["id"],
        ),
    )
    return int(old["id"])


def _change(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "change_id": row["change_id"],
        "change_key": row["change_key"],
        "change_status": row["change_status"],
        "title": row["title"],
        "description": row["description"],
        "link": row["link"],
        "labels": json.loads(row["labels"]),
        "start_time": row["start_time"],
        "end_time": row["last_time"] if row["change_status"] in TERMINAL else 0,
        "last_time": row["last_time"],
        "integration_id": row["integration_id"],
        "integration_name": f"sandbox {row['integration_id']}",
        "channel_id": 0,
        "channel_name": "",
        "event_count": row["event_count"],
    }


def _summary(row: sqlite3.Row) -> dict[str, Any]:
    return _change(row) | {
        "number": row["id"],
        "refused_count": row["refused_count"],
        "revision": row["revision"],
    }


def _arrival(row: sqlite3.Row, characters: int) -> dict[str, Any]:
    """A request as people see it; `body_characters` is the length of the body before it was cut."""
    names = ("received", "request_id", "method", "path", "verdict", "status", "message", "fault", "user_agent")
    arrival = {name: row[name] for name in (*names, "change_key", "integration_id")}
    return arrival | {"number": row["id"], "body": row["body"][:characters], "body_characters": len(row["body"])}


def _event(row: sqlite3.Row) -> dict[str, Any]:
    body = json.loads(row["body"])
    return {
        "event_id": f"{row['id']:024x}",
        "change_id": row["change_id"],
        "integration_id": row["integration_id"],
        "change_key": row["change_key"],
        "change_status": body["change_status"],
        "title": body["title"],
        "description": body.get("description", ""),
        "link": body.get("link", ""),
        "labels": body.get("labels", {}),
        "event_time": row["event_time"],
        "received": row["received"],
        "request_id": row["request_id"],
        "body": body,
    }


def _matches(row: sqlite3.Row, query: ListQuery) -> bool:
    if query.integration_ids is not None and row["integration_id"] not in query.integration_ids:
        return False
    # Nothing is routed to a channel here: every change has channel_id 0.
    if query.channel_ids is not None and 0 not in query.channel_ids:
        return False
    pattern = query.pattern
    return pattern is None or any(pattern.search(row[name]) for name in ("title", "description", "change_key"))
