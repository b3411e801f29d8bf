# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One connection of the receiver: HTTP/1.1 requests in, answers out, one after the other.

Private to this collection; may change in any release.
"""

from __future__ import annotations

import http
import http.client
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from email.utils import formatdate
from typing import NamedTuple

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.rules import (
    BODY_BYTES,
    Refused,
    Request,
    body_length,
)

_LINE_BYTES = 64 * 1024
_LINGER_BYTES = 16 * BODY_BYTES
_LINGER_SECONDS = 1.0
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class MalformedRequest(Exception):
    """What arrived is no HTTP request."""


@dataclass(frozen=True)
class Answer:
    """What is sent back for a request."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Incoming(NamedTuple):
    """A request, and whether the connection may carry another one."""

    request: Request
    keep_alive: bool


class Connection:
    """Reads and writes on a connected socket. It is used by one thread; shutdown() may come from any."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._reader = sock.makefile("rb")
        self._unread = False

    def receive(self) -> Incoming | None:
        """Wait for the next request, None once the peer has closed.

        Raises:
            OSError: the connection broke.
            MalformedRequest: what arrived cannot be read as HTTP.
        """
        line = self._reader.readline(_LINE_BYTES)
        if not line:
            return None
        self._unread = True
        words = line.decode("latin-1").rstrip("\r\n").split(" ")
        if len(words) != 3 or not line.endswith(b"\n") or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
            raise MalformedRequest("the request line cannot be read")
        method, target, version = words
        try:
            headers = http.client.parse_headers(self._reader)
        except http.client.HTTPException as error:
            raise MalformedRequest("the headers cannot be read") from error
        tokens = ",".join(headers.get_all("Connection", [])).lower().replace(" ", "").split(",")
        keep_alive = "close" not in tokens and (version == "HTTP/1.1" or "keep-alive" in tokens)
        body, problem = b"", ""
        try:
            length = body_length(headers.get_all("Content-Length", []), headers.get_all("Transfer-Encoding", []))
            self._continue(headers, length)
            body = self._reader.read(length)
            if len(body) < length:
                return None
            self._unread = False
        except Refused as refused:
            problem = refused.message
            self._unread = "Content-Length" in headers or "Transfer-Encoding" in headers
            keep_alive = keep_alive and not self._unread
        path, _separator, query = target.partition("?")
        request = Request(
            method=method,
            path=path,
            query=query,
            content_types=tuple(headers.get_all("Content-Type", [])),
            body=body,
            body_problem=problem,
            host=headers.get("Host", ""),
            user_agent=headers.get("User-Agent", ""),
            accept=headers.get("Accept", ""),
            last_event_id=headers.get("Last-Event-ID", ""),
            fetch_site=headers.get("Sec-Fetch-Site", ""),
        )
        return Incoming(request, keep_alive)

    def _continue(self, headers: Message, length: int) -> None:
        if length and headers.get("Expect", "").lower() == "100-continue":
            self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send(self, answer: Answer, *, keep_alive: bool, head_only: bool = False) -> None:
        """Send an answer, without its body to HEAD. Raises OSError."""
        self.socket.sendall(_encode(answer, keep_alive, head_only))

    def send_slowly(self, answer: Answer, pause: Callable[[], None], stopped: Callable[[], bool]) -> None:
        """Send an answer byte by byte with a pause before each, until `stopped`. Raises OSError."""
        for byte in _encode(answer, keep_alive=False, head_only=False):
            pause()
            if stopped():
                return
            self.socket.sendall(bytes((byte,)))

    def send_head(self, answer: Answer) -> None:
        """Send the head of an answer whose body is written piece by piece and ends the connection. Raises OSError."""
        self.socket.sendall(_encode(answer, keep_alive=False, head_only=True, sized=False))

    def reset_on_close(self) -> None:
        """Make close() send a reset instead of an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)

    def shutdown(self) -> None:
        """Wake the thread that waits for this connection and let it see the end."""
        try:
            # The plain method leaves the state of TLS to the thread that uses it.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """Close the connection; the peer gets to read what was sent."""
        if self._unread:
            self._linger()
        self._reader.close()
        self.socket.close()

    def _linger(self) -> None:
        """Read what is still coming: closing over unread bytes resets the connection and takes the answer with it."""
        left = _LINGER_BYTES
        try:
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            self.socket.settimeout(_LINGER_SECONDS)
            while left > 0 and (chunk := self.socket.recv(_LINE_BYTES)):
                left -= len(chunk)
        except OSError:
            pass


def _encode(answer: Answer, keep_alive: bool, head_only: bool, *, sized: bool = True) -> bytes:
    try:
        phrase = http.HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    headers = [
        ("Server", "flashduty-sandbox"),
        ("Date", formatdate(usegmt=True)),
        ("Content-Type", answer.content_type),
        *([("Content-Length", str(len(answer.body)))] if sized else []),
        ("Connection", "keep-alive" if keep_alive else "close"),
        *answer.headers,
    ]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"HTTP/1.1 {answer.status} {phrase}\r\n{lines}\r\n".encode("latin-1", "replace")
    return head if head_only else head + answer.body
