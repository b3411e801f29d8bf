# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults are what they say."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sandbox_client import (
    APP,
    EVENT,
    KEY,
    PATIENCE,
    ask,
    push,
    sent,
    taken,
    until,
)

from flashduty_sandbox import http_server
from flashduty_sandbox.receiver import Receiver


def test_faults_come_in_order_and_end(receiver: Receiver) -> None:
    receiver.faults.set("status", status=429, times=1, retry_after=7)
    receiver.faults.set("status", status=503, times=2, retry_after="Wed, 21 Oct 2026 07:28:00 GMT", message="m")
    replies = [push(receiver) for _number in range(4)]
    assert [reply.status for reply in replies] == [429, 503, 503, 200]
    assert replies[0].verdict == (429, "RequestTooFrequently")
    assert replies[0].headers["Retry-After"] == "7"
    assert replies[1].verdict == (503, "InternalError")
    assert replies[1].headers["Retry-After"] == "Wed, 21 Oct 2026 07:28:00 GMT"
    assert replies[1].message == "m"
    assert [request["fault"] for request in receiver.requests()] == ["status", "status", "status", None]
    assert len(receiver.events()) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "InvalidParameter"),
        (401, "Unauthorized"),
        (403, "AccessDenied"),
        (404, "RouteNotFound"),
        (429, "RequestTooFrequently"),
        (500, "InternalError"),
        (502, "InternalError"),
    ],
)
def test_a_status_has_its_code(receiver: Receiver, status: int, code: str) -> None:
    receiver.faults.set("status", status=status)
    reply = push(receiver)
    assert reply.verdict == (status, code)
    assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
    assert "Retry-After" not in reply.headers


@pytest.mark.parametrize(("status", "code"), [(400, "ResourceNotFound"), (400, "NoLicense"), (200, "InternalError")])
def test_a_code_can_be_chosen(receiver: Receiver, status: int, code: str) -> None:
    receiver.faults.set("status", status=status, error_code=code)
    assert push(receiver).verdict == (status, code)


def test_faults_match_key_and_endpoint(receiver: Receiver) -> None:
    receiver.faults.set("status", status=500, key="CHANGE-1")
    receiver.faults.set("status", status=502, endpoint="list")
    assert [push(receiver, change_key=key).status for key in ("CHANGE-1", "CHANGE-2")] == [500, 200]
    assert ask(receiver.list_url(APP), {}).status == 502
    assert ask(receiver.push_url(KEY), b"[1").status == 400
    receiver.faults.clear()
    assert push(receiver).status == 200
    assert receiver.faults.public() == []


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "body"),
    [
        ({"kind": "html"}, 502, "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ({"kind": "html", "status": 504}, 504, "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ({"kind": "portal"}, 200, "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ({"kind": "empty"}, 200, "application/json", b"{}\n"),
        ({"kind": "redirect", "location": "http://127.0.0.1:9/"}, 302, "text/plain", b""),
        ({"kind": "redirect", "location": "http://127.0.0.1:9/", "status": 307}, 307, "text/plain", b""),
    ],
)
def test_answers_that_are_not_the_api(
    receiver: Receiver, fault: dict[str, Any], status: int, content_type: str, body: bytes
) -> None:
    receiver.faults.set(**fault)
    reply = push(receiver)
    assert (reply.status, reply.headers["Content-Type"]) == (status, content_type)
    assert reply.body.startswith(body)
    assert reply.headers.get("Location") == fault.get("location")
    assert receiver.events() == []


def test_delay(receiver: Receiver) -> None:
    receiver.faults.set("delay", seconds=0.2, times=1)
    began = time.monotonic()
    taken(receiver)
    assert time.monotonic() - began >= 0.2
    receiver.faults.set("delay", seconds=60)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(push, receiver)
        with pytest.raises(TimeoutError):
            ask(receiver.push_url(KEY), EVENT, timeout=0.2)
        receiver.faults.clear()
        assert slow.result(PATIENCE).status == 200


def test_hang_ends_when_cleared(receiver: Receiver) -> None:
    receiver.faults.set("hang", times=1)
    with sent(receiver) as sock:
        receiver.wait_for(lambda: [request["fault"] for request in receiver.requests()] == ["hang"])
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        taken(receiver)
        sock.settimeout(PATIENCE)
        receiver.faults.clear()
        assert sock.recv(1) == b""
    assert len(receiver.events()) == 1


@pytest.mark.parametrize(
    "fault", [{"kind": "hang"}, {"kind": "delay", "seconds": 60}, {"kind": "drip", "seconds": 60}, None]
)
def test_nothing_keeps_it_from_closing(
    receiver: Receiver, fault: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "CLOSE_SECONDS", 3 * PATIENCE)
    if fault is not None:
        receiver.faults.set(**fault, times=3)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(sent(receiver)) for _number in range(3)]
        if fault is None:
            assert all(sock.recv(65536).startswith(b"HTTP/1.1 200") for sock in connections)
        else:
            until(lambda: receiver.faults.public() == [])
        began = time.monotonic()
        receiver.close()
        assert time.monotonic() - began < PATIENCE
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE)


def test_drip(receiver: Receiver) -> None:
    receiver.faults.set("drip", seconds=0.002)
    with sent(receiver) as sock:
        chunks = []
        while chunk := sock.recv(65536):
            chunks.append(chunk)
    assert b"".join(chunks).startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(b"".join(chunks).partition(b"\r\n\r\n")[2])["request_id"] == receiver.events()[0]["request_id"]
    assert len(chunks) > 50


@pytest.mark.parametrize(("kind", "events"), [("reset", 0), ("lost_answer", 1)])
def test_resets(receiver: Receiver, kind: str, events: int) -> None:
    receiver.faults.set(kind, times=1)
    with sent(receiver) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    assert len(receiver.events()) == events
    assert [request["fault"] for request in receiver.requests()] == [kind]
    taken(receiver)


def test_refuse(receiver: Receiver) -> None:
    port = receiver.port
    with sent(receiver) as idle:
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        receiver.faults.set("refuse", seconds=60)
        for _number in range(3):
            with pytest.raises(ConnectionRefusedError):
                push(receiver)
        assert idle.recv(1) == b""
    receiver.faults.clear()
    assert receiver.port == port
    taken(receiver)
    receiver.faults.set("refuse", seconds=0.3)
    outcomes: list[bool] = []

    def accepted() -> bool:
        try:
            taken(receiver)
        except ConnectionRefusedError:
            outcomes.append(False)
        else:
            outcomes.append(True)
        return outcomes[-1]

    until(accepted)
    assert outcomes.count(False) > 1
    assert len(receiver.events()) == 3


def test_refuse_ends_with_the_receiver(receiver: Receiver) -> None:
    receiver.faults.set("refuse", seconds=60)
    receiver.close()
    with pytest.raises(ConnectionRefusedError):
        push(receiver)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": "nonsense"},
        {"kind": 1},
        {"kind": "delay"},
        {"kind": "delay", "seconds": "1"},
        {"kind": "delay", "seconds": True},
        {"kind": "delay", "seconds": -1},
        {"kind": "refuse", "seconds": 1, "times": 1},
        {"kind": "hang", "seconds": 1},
        {"kind": "hang", "times": 0},
        {"kind": "hang", "endpoint": "status"},
        {"kind": "status"},
        {"kind": "status", "status": 99},
        {"kind": "status", "status": 204},
        {"kind": "redirect"},
        {"kind": "redirect", "location": "http://x", "status": 200},
        {"kind": "redirect", "location": "http://x\r\nA: b"},
    ],
)
def test_faults_that_make_no_sense_are_refused(receiver: Receiver, options: dict[str, Any]) -> None:
    reply = ask(f"{receiver.url}/sandbox/faults", options)
    assert reply.verdict == (400, "InvalidParameter")
    assert receiver.faults.public() == []


def test_faults_over_http(receiver: Receiver) -> None:
    faults = f"{receiver.url}/sandbox/faults"
    assert ask(faults, {"kind": "status", "status": 500, "times": 2, "key": "CHANGE-1"}).status == 200
    assert push(receiver).status == 500
    assert ask(faults, method="GET").json == [
        {"kind": "status", "status": 500, "times": 2, "key": "CHANGE-1", "left": 1}
    ]
    assert ask(faults, method="DELETE").status == 200
    assert push(receiver).status == 200
    reply = ask(faults, {"kind": "refuse", "seconds": 60})
    assert (reply.status, reply.headers["Connection"]) == (200, "close")
    with pytest.raises(ConnectionRefusedError):
        push(receiver)
