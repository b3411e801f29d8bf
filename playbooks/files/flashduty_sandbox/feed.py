# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page is told while it is open: server-sent events, each with the changes that are new or have moved on.

A reader gets everything first, the latest start first and in pieces, and then what is new, at most four times a second
however much arrives. A piece that brings it up to date carries an id; who comes back with that id gets the rest only.
Each reader has a thread of its own and no lock while it is written to, so one that does not read delays nobody.
"""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from flashduty_sandbox.answer import Answer
from flashduty_sandbox.history import Position
from flashduty_sandbox.http_server import Connection
from flashduty_sandbox.store import Store

READERS = 32
FIRST_PIECE = 100
PIECE = 500
STRAYS = 100
BODY_CHARACTERS = 100_000
PAUSE_SECONDS = 0.25
LOOK_SECONDS = 0.5
KEEPALIVE_SECONDS = 15.0
STALLED_SECONDS = 30.0
RETRY_MILLISECONDS = 2000

_HEAD = Answer(200, b"", "text/event-stream; charset=utf-8", (("Cache-Control", "no-store"),))
_FULL = Answer(
    503,
    b'{"error": {"code": "TooManyStreams", "message": "%d pages are open: close one"}}\n' % READERS,
    headers=(("Retry-After", "10"),),
)


class Feed:
    """The streams of one sandbox. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._readers = 0

    def serve(self, connection: Connection, last_event_id: str) -> None:
        """Stream to a reader from that id on, until it goes or the connection is shut down. Raises OSError."""
        with self._place() as admitted:
            if not admitted:
                connection.send(_FULL)
                return
            connection.connection.settimeout(STALLED_SECONDS)
            connection.send(_HEAD, sized=False)
            connection.wfile.write(b"retry: %d\n\n" % RETRY_MILLISECONDS)
            reader = _Reader(self._store, connection, _parse(last_event_id))
            told, writes = time.monotonic(), -1
            # Whatever a reader says is good-bye.
            while not _readable(connection.connection, 0):
                if writes != self._store.writes:
                    writes = self._store.writes
                    if reader.catch_up():
                        told = time.monotonic()
                        if _readable(connection.connection, PAUSE_SECONDS):
                            return
                elif time.monotonic() - told >= KEEPALIVE_SECONDS:
                    connection.wfile.write(b": still here\n\n")
                    told = time.monotonic()
                self._store.wait_for_write(writes, min(LOOK_SECONDS, KEEPALIVE_SECONDS))

    @contextmanager
    def _place(self) -> Iterator[bool]:
        with self._lock:
            admitted = self._readers < READERS
            self._readers += admitted
        try:
            yield admitted
        finally:
            with self._lock:
                self._readers -= admitted


class _Reader:
    """One stream: what its reader has seen, and how it gets the rest."""

    def __init__(self, store: Store, connection: Connection, position: Position | None) -> None:
        self._store = store
        self._connection = connection
        self._position = position
        self._strays: Sequence[Any] | None = None
        self._sent = 0

    def catch_up(self) -> bool:
        """Send everything that the reader has not seen; False where there was nothing. Raises OSError."""
        before = self._sent
        while self._position is None or not self._send_news(self._position):
            self._position = self._send_all()
        return self._sent > before

    def _send_all(self) -> Position:
        position = self._store.position()
        self._strays = None
        before: tuple[int, int] | None = None
        limit = FIRST_PIECE
        while True:
            changes = self._store.newest(before, limit)
            more = len(changes) == limit
            self._send({"reset": before is None, "complete": not more, "changes": changes})
            if not more:
                return position
            before = (changes[-1]["start_time"], changes[-1]["number"])
            limit = PIECE

    def _send_news(self, position: Position) -> bool:
        """Send what came after `position`; False where all was forgotten and a new numbering began."""
        more = True
        while more:
            news = self._store.since(position, PIECE)
            if news.position.generation != position.generation:
                return False
            more = news.more
            position = self._position = news.position
            message: dict[str, Any] = {"reset": False, "complete": not more, "changes": news.changes}
            if not more:
                message |= self._stray_requests()
            if news.changes or "strays" in message:
                self._send(message, None if more else position)
        return True

    def _stray_requests(self) -> dict[str, Any]:
        """The refused requests that belong to no change, where they are others than the reader knows."""
        count, probes, strays = self._store.strays(STRAYS)
        known = [count, probes, *(stray["number"] for stray in strays)]
        if known == self._strays:
            return {}
        self._strays = known
        return {"strays": strays, "stray_count": count - probes, "probe_count": probes}

    def _send(self, message: Mapping[str, Any], position: Position | None = None) -> None:
        identity = "" if position is None else f"id: {position.generation}-{position.number}\n"
        text = json.dumps({"now": time.time(), **message}, separators=(",", ":"))
        self._connection.wfile.write(f"{identity}event: changes\ndata: {text}\n\n".encode("ascii"))
        self._sent += 1


def _parse(last_event_id: str) -> Position | None:
    generation, dash, number = last_event_id.partition("-")
    return Position(generation, int(number)) if dash and number.isascii() and number.isdigit() else None


def _readable(sock: socket.socket, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(seconds))
