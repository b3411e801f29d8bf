# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the sandbox keeps what it holds: a SQLite file that one process writes.

Keys are not stored, only digests of them, by which an integration keeps its number over a restart.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashduty_sandbox.history import IS_STRAY, History, StoreError, digest
from flashduty_sandbox.merge import DISCARDED, Merged, Mode
from flashduty_sandbox.rules import Event, Request, peek_change_key

SCHEMA_VERSION = 4

_SCHEMA = """
CREATE TABLE generation (value TEXT NOT NULL);
CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE
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
    change INTEGER REFERENCES changes (id),
    change_status TEXT,
    event_time INTEGER,
    discarded TEXT,
    ignored TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX requests_by_change ON requests (change, change_status, event_time) WHERE change IS NOT NULL;
CREATE INDEX stray_requests ON requests (change_key) WHERE change IS NULL AND verdict <> 'accepted';
CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
INSERT INTO channels VALUES (0, '');
CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    change_id TEXT NOT NULL UNIQUE,
    integration_id INTEGER NOT NULL REFERENCES keys (id),
    change_key TEXT NOT NULL,
    channel_id INTEGER NOT NULL REFERENCES channels (id),
    change_status TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    link TEXT NOT NULL,
    labels TEXT NOT NULL,
    start_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    started INTEGER NOT NULL,
    event_count INTEGER NOT NULL DEFAULT 0,
    discarded_count INTEGER NOT NULL DEFAULT 0,
    refused_count INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 0,
    UNIQUE (integration_id, change_key, channel_id)
);
CREATE VIEW shown_changes AS
    SELECT changes.*, keys.kind, channels.name AS channel_name FROM changes
    JOIN keys ON keys.id = changes.integration_id
    JOIN channels ON channels.id = changes.channel_id;
CREATE INDEX changes_by_start ON changes (start_time);
CREATE INDEX changes_by_key ON changes (change_key);
CREATE INDEX changes_by_revision ON changes (revision);
"""


@dataclass
class Received:
    """One request and what became of it.

    `received` is in Unix seconds; `verdict` is "accepted", an error code, or "fault"; `status` is the HTTP status of
    the answer, None where there was none; `path` has no query string, since that holds a key; `change_key` is the one
    that the body names, refused or not.
    """

    received: float
    request_id: str
    method: str
    path: str
    user_agent: str
    body: str
    change_key: str | None
    integration_id: int | None = None
    verdict: str = "accepted"
    status: int | None = 200
    message: str = ""
    fault: str | None = None

    @classmethod
    def arriving(cls, request: Request, request_id: str) -> Received:
        """A request that arrives now, not judged yet."""
        key = peek_change_key(request.body)
        # Half a surrogate pair can be in no file.
        if key is not None and any("\ud800" <= character <= "\udfff" for character in key):
            key = None
        return cls(
            received=time.time(),
            request_id=request_id,
            method=request.method,
            path=request.path,
            user_agent=request.headers.get("User-Agent", ""),
            body=request.body.decode("utf-8", "backslashreplace"),
            change_key=key,
        )


class Store(History):
    """A store open for writing. Safe to use from many threads of one process; one process at a time."""

    def __init__(self, database: Path, merge: Mode = "first", route_label: str | None = None) -> None:
        """Open `database`, or create it, readable by its owner only.

        Args:
            database: the file.
            merge: how events become changes; see merge.
            route_label: the label whose value is the channel that an event belongs to; None: there is one channel.

        Raises:
            StoreError: the file cannot be used.
        """
        super().__init__(database)
        self._merge = merge
        self._route_label = route_label
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
            self._connection.execute("INSERT INTO generation VALUES (?)", (secrets.token_hex(8),))
        elif version != SCHEMA_VERSION:
            raise StoreError(f"it has format {version}, this version reads {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file. Further use raises sqlite3.ProgrammingError."""
        with self._writing:
            self._connection.close()

    def numbers_of(self, kind: str, keys: Collection[str]) -> dict[str, int]:
        """Return each of these keys with its number, a new one where it was never seen."""
        numbers: dict[str, int] = {}
        with self._transaction() as connection:
            for key in keys:
                hashed = digest(kind, key)
                connection.execute("INSERT OR IGNORE INTO keys (kind, digest) VALUES (?, ?)", (kind, hashed))
                (numbers[key],) = connection.execute("SELECT id FROM keys WHERE digest = ?", (hashed,)).fetchone()
        return numbers

    def record(self, received: Received) -> None:
        """Keep a request that brought no event."""
        with self._transaction() as connection:
            change = None if received.verdict == "accepted" else _meant(connection, received)
            number = _insert(connection, "requests", vars(received) | {"change": change})
            if change is not None:
                connection.execute(
                    "UPDATE changes SET refused_count = refused_count + 1, revision = ? WHERE id = ?", (number, change)
                )

    def accept(self, received: Received, event: Event) -> None:
        """Keep a request and merge the event that it brought into its change, or discard it."""
        event_time = int(received.received) if event.event_time is None else event.event_time
        with self._transaction() as connection:
            change, merged, discarded = self._take(connection, received.integration_id, event, event_time)
            became = {
                "change": change,
                "change_status": event.change_status,
                "event_time": event_time,
                "discarded": discarded,
                "ignored": json.dumps([] if discarded else merged.ignored(event)),
            }
            number = _insert(connection, "requests", vars(received) | became)
            connection.execute("UPDATE changes SET revision = ? WHERE id = ?", (number, change))

    def _channel(self, connection: sqlite3.Connection, event: Event) -> int:
        if self._route_label is None:
            return 0
        name = (event.labels or {}).get(self._route_label, "")
        connection.execute("INSERT OR IGNORE INTO channels (name) VALUES (?)", (name,))
        return int(connection.execute("SELECT id FROM channels WHERE name = ?", (name,)).fetchone()["id"])

    def _take(
        self, connection: sqlite3.Connection, integration_id: int | None, event: Event, event_time: int
    ) -> tuple[int, Merged, str | None]:
        """Return the row of the event's change, what it amounts to, and why the event was discarded, None if not."""
        channel_id = self._channel(connection, event)
        row = connection.execute(
            "SELECT * FROM changes WHERE integration_id = ? AND change_key = ? AND channel_id = ?",
            (integration_id, event.change_key, channel_id),
        ).fetchone()
        if row is None:
            merged = Merged.begin(event, event_time)
            row = {
                "change_id": f"{int(time.time()):08x}{secrets.token_hex(8)}",
                "integration_id": integration_id,
                "change_key": event.change_key,
                "channel_id": channel_id,
                "event_count": 1,
                **_columns(merged),
            }
            change = _insert(connection, "changes", row)
            _adopt(connection, change, integration_id, event.change_key)
            return change, merged, None
        change, merged = int(row["id"]), _merged(row)
        if self._merge == "first" and _is_recorded(connection, change, event.change_status, event_time):
            connection.execute("UPDATE changes SET discarded_count = discarded_count + 1 WHERE id = ?", (change,))
            return change, merged, DISCARDED
        merged = merged.take(event, event_time, self._merge)
        columns = _columns(merged)
        changed = ", ".join(f"{name} = ?" for name in columns)
        connection.execute(
            f"UPDATE changes SET {changed}, event_count = event_count + 1 WHERE id = ?", (*columns.values(), change)
        )
        return change, merged, None

    def reset(self) -> None:
        """Forget every request, event and change."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM requests")
            connection.execute("DELETE FROM changes")
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


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> int:
    """Return the number of the new row."""
    marks = ", ".join("?" * len(row))
    cursor = connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    return int(cursor.lastrowid or 0)


def _meant(connection: sqlite3.Connection, received: Received) -> int | None:
    """Return the change that a refused request names. One whose integration is unknown may mean any integration's."""
    row = connection.execute(
        "SELECT id FROM changes WHERE change_key = :key AND (:integration IS NULL OR integration_id = :integration)"
        " ORDER BY id LIMIT 1",
        {"key": received.change_key, "integration": received.integration_id},
    ).fetchone()
    return None if row is None else int(row["id"])


def _adopt(connection: sqlite3.Connection, change: int, integration_id: int | None, change_key: str) -> None:
    """Give a new change the refused requests that named it before it was there."""
    cursor = connection.execute(
        f"UPDATE requests SET change = ? WHERE {IS_STRAY} AND change_key = ?"
        " AND (integration_id IS NULL OR integration_id = ?)",
        (change, change_key, integration_id),
    )
    connection.execute("UPDATE changes SET refused_count = ? WHERE id = ?", (cursor.rowcount, change))


def _merged(row: sqlite3.Row) -> Merged:
    values = {name: row[name] for name in Merged.__dataclass_fields__}
    return Merged(**values | {"labels": json.loads(row["labels"]), "started": bool(row["started"])})


def _columns(merged: Merged) -> dict[str, Any]:
    return dataclasses.asdict(merged) | {"labels": json.dumps(dict(merged.labels))}


def _is_recorded(connection: sqlite3.Connection, change: int, change_status: str, event_time: int) -> bool:
    found = connection.execute(
        "SELECT 1 FROM requests WHERE change = ? AND change_status = ? AND event_time = ? AND discarded IS NULL",
        (change, change_status, event_time),
    )
    return found.fetchone() is not None
