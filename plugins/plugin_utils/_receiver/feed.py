# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page is told while it is open: server-sent events, each with the changes that are new or have moved on.

A reader gets everything first, the latest start first and in pieces, and then what is new, at most four times a second
however much arrives. A piece that brings it up to date carries an id; who comes back with that id gets the rest only.
Each reader has a thread of its own and no lock while it is written to, so one that does not read delays nobody.

Private to this collection; may change in any release.
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

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.connection import Answer, Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.store import History, Position

READERS = 32
FIRST_PIECE = 100
PIECE = 500
STRAYS = 100
BODY_CHARACTERS = 100_000
PAUSE_SECONDS = 0.25
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
    """The streams of one receiver. Safe to use from many threads."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._lock = threading.Lock()
        self._wakers: set[socket.socket] = set()

    def wake(self) -> None:
        """Tell every reader that something was written. Returns at once."""
        with self._lock:
            for waker in self._wakers:
                try:
                    waker.send(b".")
                except BlockingIOError:
                    # It has not even seen the former ones.
                    pass

    def serve(self, connection: Connection, last_event_id: str) -> None:
        """Stream to a reader from that id on, until it goes or the connection is shut down. Raises OSError."""
        with self._subscription() as woken:
            if woken is None:
                connection.send(_FULL, keep_alive=False)
                return
            connection.socket.settimeout(STALLED_SECONDS)
            connection.send_head(_HEAD)
            reader = _Reader(self._history, connection, _parse(last_event_id))
            connection.socket.sendall(b"retry: %d\n\n" % RETRY_MILLISECONDS)
            reader.catch_up()
            # Whatever a reader says is good-bye.
            while connection.socket not in _readable(PAUSE_SECONDS, connection.socket):
                ready = _readable(KEEPALIVE_SECONDS, connection.socket, woken)
                if connection.socket in ready:
                    return
                if woken in ready:
                    _drain(woken)
                    reader.catch_up()
                else:
                    connection.socket.sendall(b": still here\n\n")

    @contextmanager
    def _subscription(self) -> Iterator[socket.socket | None]:
        waker, woken = socket.socketpair()
        waker.setblocking(False)
        woken.setblocking(False)
        with waker, woken:
            with self._lock:
                admitted = len(self._wakers) < READERS
                if admitted:
                    self._wakers.add(waker)
            try:
                yield woken if admitted else None
            finally:
                with self._lock:
                    self._wakers.discard(waker)


class _Reader:
    """One stream: what its reader has seen, and how it gets the rest."""

    def __init__(self, history: History, connection: Connection, position: Position | None) -> None:
        self._history = history
        self._connection = connection
        self._position = position
        self._strays: Sequence[Any] | None = None

    def catch_up(self) -> None:
        """Send everything that the reader has not seen. Raises OSError."""
        while self._position is None or not self._send_news(self._position):
            self._position = self._send_all()

    def _send_all(self) -> Position:
        position = self._history.position()
        self._strays = None
        before: tuple[int, int] | None = None
        limit = FIRST_PIECE
        while True:
            changes = self._history.newest(before, limit)
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
            news = self._history.since(position, PIECE)
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
        count, strays = self._history.strays(STRAYS)
        known = [count, *(stray["number"] for stray in strays)]
        if known == self._strays:
            return {}
        self._strays = known
        return {"strays": strays, "stray_count": count}

    def _send(self, message: Mapping[str, Any], position: Position | None = None) -> None:
        identity = "" if position is None else f"id: {position.generation}-{position.number}\n"
        text = json.dumps({"now": time.time(), **message}, separators=(",", ":"))
        self._connection.socket.sendall(f"{identity}event: changes\ndata: {text}\n\n".encode("ascii"))


def _parse(last_event_id: str) -> Position | None:
    generation, dash, number = last_event_id.partition("-")
    return Position(generation, int(number)) if dash and number.isascii() and number.isdigit() else None


def _readable(seconds: float, *sockets: socket.socket) -> list[object]:
    with selectors.DefaultSelector() as selector:
        for sock in sockets:
            selector.register(sock, selectors.EVENT_READ)
        return [key.fileobj for key, _events in selector.select(seconds)]


def _drain(woken: socket.socket) -> None:
    try:
        while woken.recv(4096):
            pass
    except BlockingIOError:
        pass
