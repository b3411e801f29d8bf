# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP as clients speak it, well and badly."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sandbox_client import (
    CERTIFICATE,
    CERTIFICATE_KEY,
    EVENT,
    KEY,
    PATIENCE,
    ask,
    raw_ask,
    taken,
)

from flashduty_sandbox import http_server, rules
from flashduty_sandbox.receiver import Receiver


def test_a_connection_carries_many_requests(receiver: Receiver) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=PATIENCE)
    ports = set()
    for target, status in [
        (receiver.push_url(KEY), 200),
        (receiver.push_url("wrong"), 400),
        (f"{receiver.url}/nowhere", 404),
        (receiver.push_url(KEY), 200),
    ]:
        parts = urlsplit(target)
        body = json.dumps(EVENT)
        connection.request("POST", f"{parts.path}?{parts.query}", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        assert isinstance(connection.sock, socket.socket)
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("headers", "about"),
    [
        ("", "Content-Length is required"),
        ("Content-Length: x\r\n", "Content-Length is not valid"),
        ("Content-Length: +2\r\n", "Content-Length is not valid"),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", "Content-Length is not valid"),
        ("Content-Length: 999999999999999999999\r\n", "Content-Length is not valid"),
        (f"Content-Length: {rules.BODY_BYTES * 100}\r\n", "at most 4194304"),
        ("Transfer-Encoding: chunked\r\n", "Transfer-Encoding is not supported"),
    ],
)
def test_a_body_without_a_plain_length_is_refused(receiver: Receiver, headers: str, about: str) -> None:
    target = urlsplit(receiver.push_url(KEY))
    head = f"POST {target.path}?{target.query} HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    reply = raw_ask(receiver, f"{head}Host: 127.0.0.1\r\n{headers}\r\n".encode())
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert about in reply.decode()


def test_the_body_bound_holds_at_its_edge(receiver: Receiver) -> None:
    body = json.dumps(EVENT).encode()
    assert ask(receiver.push_url(KEY), body.ljust(rules.BODY_BYTES)).status == 200
    assert ask(receiver.push_url(KEY), body.ljust(rules.BODY_BYTES + 1)).verdict == (400, "InvalidParameter")


@pytest.mark.parametrize(
    "data", [b"\r\n", b"GET\r\n\r\n", b"GET / HTTP/3\r\n\r\n", b"\x16\x03\x01\x02\x00\n", b"x" * 70000]
)
def test_what_is_not_http_is_refused(receiver: Receiver, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_expect_continue_is_answered(receiver: Receiver) -> None:
    target = urlsplit(receiver.push_url(KEY))
    body = json.dumps(EVENT).encode()
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE) as sock:
        sock.sendall(
            f"POST {target.path}?{target.query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_head_gets_no_body(receiver: Receiver) -> None:
    reply = raw_ask(receiver, b"HEAD /sandbox/status HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert reply.endswith(b"\r\n\r\n")


def test_it_listens_on_the_loopback_only(receiver: Receiver) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    addresses = {line[1] for line in listening if line[3] == "0A" and line[1].endswith(f":{receiver.port:04X}")}
    assert addresses == {f"0100007F:{receiver.port:04X}"}


def test_many_connections_lose_nothing(receiver: Receiver) -> None:
    target = urlsplit(receiver.push_url(KEY))

    def work(worker: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=PATIENCE)
        for number in range(25):
            event = {"change_key": f"C{number}", "title": f"{worker}/{number}", "event_time": 1_700_000_000 + worker}
            body = json.dumps({**EVENT, **event})
            connection.request("POST", f"{target.path}?{target.query}", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    assert {event["title"] for event in receiver.events()} == {f"{w}/{n}" for w in range(20) for n in range(25)}
    assert [change["event_count"] for change in receiver.changes()] == [20] * 25


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CLOSE_SECONDS", 3 * PATIENCE)
    (tmp_path / "c.pem").write_text(CERTIFICATE, encoding="ascii")
    (tmp_path / "k.pem").write_text(CERTIFICATE_KEY, encoding="ascii")
    with Receiver(tmp_path / "r.db", [KEY], tls=(tmp_path / "c.pem", tmp_path / "k.pem")) as running:
        assert running.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=PATIENCE, context=context)
        target = urlsplit(running.push_url())
        connection.request(
            "POST", f"{target.path}?{target.query}", json.dumps(EVENT), {"Content-Type": "application/json"}
        )
        assert connection.getresponse().status == 200
        # A page's stream gets through, and quietly stays.
        watching = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=PATIENCE, context=context)
        watching.request("GET", "/sandbox/stream")
        stream = watching.getresponse()
        while not stream.readline().startswith(b"id: "):
            pass
        # An idle connection, and one that never begins, must not keep it from closing.
        silent = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE)
        assert len(running.events()) == 1
        began = time.monotonic()
        running.close()
        assert time.monotonic() - began < PATIENCE
        stream.close()
        watching.close()
        silent.close()
        connection.close()


def test_a_taken_port_is_an_error(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        Receiver(tmp_path / "other.db", port=receiver.port).start()


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    running = Receiver(tmp_path / "r.db").start()
    close: Callable[[], None] = running.close
    close()
    close()
    assert set(threading.enumerate()) <= before


def test_silent_connections_stop_nobody(receiver: Receiver) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(300):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE))
            if number % 2:
                sock.sendall(b"POST /event/push/change/standard HTTP/1.1\r\nHost: 127")
        taken(receiver)


def test_a_connection_that_says_nothing_for_long_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server.Connection, "timeout", 0.05)
    with Receiver(tmp_path / "r.db") as running:
        for start in (b"", b"GET / HTTP/1.1\r\n"):
            with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as sock:
                sock.sendall(start)
                assert sock.recv(1) == b""
