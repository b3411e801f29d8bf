# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the sandbox share: a client, and how they wait."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flashduty_sandbox.receiver import Receiver

KEY = "key-1"
OTHER_KEY = "key 2/ü"
APP = "app-1"
EVENT = {"change_status": "Processing", "change_key": "CHANGE-1", "title": "deploy", "event_time": 1_700_000_000}
PATIENCE = 20.0

# Made for this test alone: 127.0.0.1 and localhost, valid to 2126.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBnDCCAUGgAwIBAgIUZs2hLc33aR0eDErxVlNhQMeiFgkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzA5NTcyOVoYDzIxMjYxMDMw
MDk1NzI5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASv6W9XRr3txkJpFigkR6dwtb0ALY2IZrATorJ9JJmMZ2UJnd1C0+Tt
K8B9HBQ5+GkqMu6UD4C1kj38uxFNbgkYo28wbTAdBgNVHQ4EFgQUsi4h56mbjL/m
HX3E0tMaRX/9Mf8wHwYDVR0jBBgwFoAUsi4h56mbjL/mHX3E0tMaRX/9Mf8wGgYD
VR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZI
zj0EAwIDSQAwRgIhAMy/hrvMAygtAT3MGF05PX+LHQ48nSgL3OUsQe+sJKt7AiEA
xHHyBAWAhiFiAhtogYRpgjGWg5JZW4UaZdWL3JE2JMQ=
-----END CERTIFICATE-----
"""
CERTIFICATE_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbGa5OME0heY++Zo/
BjIiB1oATjaSW+XLzn+XE0GzHX+hRANCAASv6W9XRr3txkJpFigkR6dwtb0ALY2I
ZrATorJ9JJmMZ2UJnd1C0+TtK8B9HBQ5+GkqMu6UD4C1kj38uxFNbgkY
-----END PRIVATE KEY-----
"""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def verdict(self) -> tuple[int, str]:
        return self.status, self.json["error"]["code"]

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


def ask(
    url: str,
    body: object = None,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
) -> Reply:
    """One request on a connection of its own. Bytes are sent as they are, anything else as JSON."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), int(parts.port or 0), timeout=timeout)
    try:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {"Content-Type": "application/json", "Content-Length": str(len(raw)), **(headers or {})}
        connection.request(method, target, raw, {name: value for name, value in sent.items() if value})
        answer = connection.getresponse()
        return Reply(answer.status, dict(answer.headers), answer.read())
    finally:
        connection.close()


def call(receiver: Receiver, method: str, target: str, body: object = None, **headers: str) -> Reply:
    """One request for a path of the sandbox; a header's name is written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(f"{receiver.url}{target}", body, method=method, headers=named)


def raw_ask(receiver: Receiver, data: bytes) -> bytes:
    """Bytes out, and everything that comes back until the receiver closes the connection."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE) as sock:
        sock.sendall(data)
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
        return received


def push(receiver: Receiver, key: str = KEY, **fields: Any) -> Reply:
    return ask(receiver.push_url(key), {**EVENT, **fields})


def taken(receiver: Receiver, key: str = KEY, **fields: Any) -> str:
    reply = push(receiver, key, **fields)
    assert reply.status == 200, reply.body
    assert set(reply.json) == {"request_id"}
    return str(reply.json["request_id"])


def listed(receiver: Receiver, **query: Any) -> Any:
    reply = ask(receiver.list_url(APP), {"start_time": 1_699_000_000, "end_time": 1_701_000_000, **query})
    assert reply.status == 200, reply.body
    return reply.json["data"]


def keys(data: Any) -> list[str]:
    return [item["change_key"] for item in data["items"]]


def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextlib.contextmanager
def sent(receiver: Receiver) -> Iterator[socket.socket]:
    """A connection on which a push was sent."""
    body = json.dumps(EVENT)
    target = urlsplit(receiver.push_url(KEY))
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE) as sock:
        sock.sendall(
            f"POST {target.path}?{target.query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        yield sock


class Stream:
    """A page's stream, message by message."""

    def __init__(self, receiver: Receiver, last_event_id: str = "", after: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE)
        head = (
            f"GET /sandbox/stream?after={after} HTTP/1.1\r\nHost: 127.0.0.1\r\nLast-Event-ID: {last_event_id}\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self.reader = self.socket.makefile("rb")
        self.status = int(self.reader.readline().split()[1])
        self.headers = http.client.parse_headers(self.reader)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.reader.close()
        self.socket.close()

    def message(self) -> tuple[str, dict[str, Any]]:
        """The next message and its id, "" where it has none."""
        identity = ""
        for line in self.reader:
            name, _separator, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                identity = value
            if name == "data":
                return identity, json.loads(value)
        raise EOFError

    def settled(self) -> tuple[str, list[dict[str, Any]]]:
        """Everything up to the next message with an id: that id, and the messages."""
        messages = []
        while True:
            identity, message = self.message()
            messages.append(message)
            if identity:
                return identity, messages
