# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sandbox holds, as its readers see it: requests, events, and the changes that they merge into.

An event is a request that was accepted as a push; it has an `event_time`. A change's `revision` is the number of the
last request that it was in, so that "what is new since request 17" is one question; the generation tells one numbering
of requests from the next, which begins when all is forgotten.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flashduty_sandbox.merge import ENDED
from flashduty_sandbox.rules import LIST_TOTAL, PUSH_PATH, ListQuery
from flashduty_sandbox.search import matching

BODY_CHARACTERS = 20_000
_REQUEST_FIELDS = (
    *("received", "request_id", "method", "path", "integration_id", "verdict", "status", "message", "fault"),
    *("user_agent", "body", "change_key"),
)
_EVENTS = (
    "SELECT requests.*, changes.change_id FROM requests JOIN changes ON changes.id = requests.change "
    "WHERE event_time IS NOT NULL"
)
_RECORDED = f"{_EVENTS} AND discarded IS NULL"
IS_STRAY = "change IS NULL AND verdict <> 'accepted'"
_IS_PROBE = f"path = '{PUSH_PATH}' AND trim(body, ' \r\n\t') = '{{}}'"


class StoreError(Exception):
    """The store cannot be used: it is no store, it is damaged, or another version wrote it."""


class History:
    """The reading side of a store. Each question opens the file anew, so that it never waits for a writer."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def requests(self) -> list[dict[str, Any]]:
        """Every request, in order of arrival, with the fields of store.Received and its `number`."""
        with self._reading() as connection:
            rows = connection.execute("SELECT id AS number, * FROM requests ORDER BY id").fetchall()
        return [{name: row[name] for name in ("number", *_REQUEST_FIELDS)} for row in rows]

    def events(self) -> list[dict[str, Any]]:
        """Every event taken, in order of arrival: the API's fields, what was sent as `body`, and how it arrived.

        `discarded` says why an event was not recorded, None where it was; `ignored` names the fields of a recorded one
        that did not change what its change showed.
        """
        with self._reading() as connection:
            rows = connection.execute(f"{_EVENTS} ORDER BY requests.id").fetchall()
        return [_event(row) for row in rows]

    def changes(self) -> list[dict[str, Any]]:
        """Every change, by start: an item of /change/list with the `events` recorded, as `events()` has them."""
        with self._reading() as connection:
            changes = connection.execute("SELECT * FROM shown_changes ORDER BY start_time, id").fetchall()
            events = connection.execute(f"{_RECORDED} ORDER BY requests.id").fetchall()
        of_change: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in changes}
        for row in events:
            of_change[row["change"]].append(_event(row))
        return [_change(row) | {"events": of_change[row["id"]]} for row in changes]

    def find_changes(self, query: ListQuery) -> dict[str, Any]:
        """Answer /change/list: the changes that were under way in the window of `query`, a page of them.

        Raises:
            TooSlow: looking for its text takes too long.
        """
        direction = "ASC" if query.ascending else "DESC"
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT * FROM shown_changes WHERE start_time <= ? AND last_time >= ? "
                f"ORDER BY {query.order_by} {direction}, id {direction}",
                (query.end_time, query.start_time),
            ).fetchall()
            for name in ("integration_ids", "channel_ids"):
                wanted = getattr(query, name)
                if wanted is not None:
                    rows = [row for row in rows if row[name.removesuffix("s")] in wanted]
            if query.text:
                texts = [[row["title"], row["description"], row["change_key"]] for row in rows]
                rows = list(compress(rows, matching(query.text, texts)))
            first = (query.page - 1) * query.limit
            page = rows[first : first + query.limit]
            items = [_change(row) for row in page]
            if query.include_events:
                for row, item in zip(page, items, strict=True):
                    recorded = connection.execute(f"{_RECORDED} AND change = ? ORDER BY requests.id", (row["id"],))
                    item["events"] = [_event(event) for event in recorded]
        return {"items": items, "total": min(len(rows), LIST_TOTAL), "has_next_page": len(rows) > first + query.limit}

    def since(self, number: int) -> tuple[str, int, list[dict[str, Any]]]:
        """Generation, number of the last request, and the changes, without events, in a request after `number`."""
        with self._reading() as connection:
            generation, last = connection.execute(
                "SELECT value, (SELECT COALESCE(MAX(id), 0) FROM requests) FROM generation"
            ).fetchone()
            rows = connection.execute(
                "SELECT * FROM shown_changes WHERE revision > ? ORDER BY revision", (number,)
            ).fetchall()
        return generation, last, [_summary(row) for row in rows]

    def strays(self, limit: int) -> tuple[int, int, list[dict[str, Any]]]:
        """How many refused requests belong to no change, how many of them are probes, and some of them.

        Those are the last ones, the latest first, probes only where others leave room. A probe is an empty push, by
        which flashduty_doctor asks whether a key is good.
        """
        with self._reading() as connection:
            count, probes = connection.execute(
                f"SELECT COUNT(*), COALESCE(SUM({_IS_PROBE}), 0) FROM requests WHERE {IS_STRAY}"
            ).fetchone()
            rows = connection.execute(
                f"SELECT *, {_IS_PROBE} AS probe FROM requests WHERE {IS_STRAY} ORDER BY probe, id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        rows.sort(key=lambda row: -row["id"])
        return count, probes, [_arrival(row) | {"probe": bool(row["probe"])} for row in rows]

    def arrivals(self, change_id: str, limit: int) -> dict[str, Any] | None:
        """A change with the last `limit` requests that were meant for it, taken or refused, in order of arrival.

        `omitted` counts the requests before those. None: there is no such change.
        """
        with self._reading() as connection:
            change = connection.execute("SELECT * FROM shown_changes WHERE change_id = ?", (change_id,)).fetchone()
            if change is None:
                return None
            rows = connection.execute(
                "SELECT * FROM requests WHERE change = ? ORDER BY id DESC LIMIT ?", (change["id"], limit)
            ).fetchall()
        total = change["event_count"] + change["discarded_count"] + change["refused_count"]
        arrivals = [_arrival(row) for row in reversed(rows)]
        return {"change": _summary(change), "arrivals": arrivals, "omitted": total - len(arrivals)}

    def knows(self, integration_key: str) -> bool:
        """Whether the key is, or once was, one that this sandbox accepts."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM keys WHERE digest = ?", (digest("integration", integration_key),)
            ).fetchone()
        return row is not None

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


def digest(kind: str, key: str) -> str:
    """What is kept of a key: a hash."""
    return hashlib.sha256(f"{kind}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()


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
        "end_time": row["last_time"] if row["change_status"] in ENDED else 0,
        "last_time": row["last_time"],
        "account_id": 1,
        "integration_id": row["integration_id"],
        "integration_name": f"{'native' if row['kind'] == 'native' else 'sandbox'} {row['integration_id']}",
        "channel_id": row["channel_id"],
        "channel_name": row["channel_name"],
        "channel_status": "active",
        "event_count": row["event_count"],
    }


def _summary(row: sqlite3.Row) -> dict[str, Any]:
    return _change(row) | {
        "number": row["id"],
        "discarded_count": row["discarded_count"],
        "refused_count": row["refused_count"],
        "revision": row["revision"],
    }


def _arrival(row: sqlite3.Row) -> dict[str, Any]:
    """A request as people see it: the body is cut, `body_characters` is its length before.

    Of an event it also says when it happened and what became of it.
    """
    arrival = {name: row[name] for name in _REQUEST_FIELDS}
    cut = {"number": row["id"], "body": row["body"][:BODY_CHARACTERS], "body_characters": len(row["body"])}
    return arrival | cut | {"change_status": row["change_status"]} | _fate(row)


def _event(row: sqlite3.Row) -> dict[str, Any]:
    body = json.loads(row["body"])
    return {
        "event_id": f"{row['id']:024x}",
        "change_id": row["change_id"],
        "integration_id": row["integration_id"],
        "change_key": row["change_key"],
        "change_status": row["change_status"],
        "title": body["title"],
        "description": body.get("description", ""),
        "link": body.get("link", ""),
        "labels": body.get("labels", {}),
        "received": row["received"],
        "request_id": row["request_id"],
        "body": body,
    } | _fate(row)


def _fate(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "event_time": row["event_time"],
        "discarded": row["discarded"],
        "ignored": json.loads(row["ignored"]),
    }
