# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver keeps to the letter of the API, over real sockets, and its faults are what they say."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver import cli, rules, server
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.rate_limit import RateLimit
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.server import Receiver
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._receiver.store import StoreError

KEY = "key-1"
OTHER_KEY = "key 2/ü"
APP = "app-1"
EVENT = {"change_status": "Processing", "change_key": "CHANGE-1", "title": "deploy", "event_time": 1_700_000_000}
STANDALONE = Path(cli.__file__).absolute().parents[1] / "_courier/entry.py"
PATIENCE = 20.0
NO_STRINGS: list[Any] = [None, 1, True, ["x"], {"x": "y"}]
NO_OBJECTS: list[Any] = [None, "a=b", ["a"], 1, False]
NO_NUMBERS: list[Any] = [None, 1, "1", ["1"], [-1], [True]]

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


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "r.db", [KEY, OTHER_KEY], [APP, "app-2"], per_second=None, per_minute=None) as running:
        yield running


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in EVENT.items() if key != name}


def raw_event(**texts: str) -> bytes:
    """A body whose field values are given as JSON text."""
    fields = {key: json.dumps(value) for key, value in EVENT.items()} | texts
    return ("{" + ", ".join(f'"{key}": {text}' for key, text in fields.items()) + "}").encode()


# ---- pushing


def test_an_event_as_in_the_specification_is_taken(receiver: Receiver) -> None:
    body = {
        "change_status": "Done",
        "change_key": "CHANGE-002",
        "description": "进度100%",
        "title": "双12活动",
        "labels": {"service": "flashcat", "cluster": "nj"},
        "link": "http://jira.flashcat.cloud/CHANGE-001",
    }
    before = int(time.time())
    reply = ask(receiver.push_url(KEY), body)
    assert reply.status == 200
    assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
    assert reply.headers["Content-Type"] == "application/json"
    (event,) = receiver.events()
    assert event["body"] == body
    assert event["request_id"] == reply.json["request_id"]
    assert before <= event["event_time"] <= time.time()


@pytest.mark.parametrize(
    ("body", "about"),
    [
        *[(without(name), f"{name} is required") for name in rules.REQUIRED_FIELDS],
        *[({**EVENT, name: ""}, f"{name} must not be empty") for name in rules.REQUIRED_FIELDS],
        *[
            ({**EVENT, name: value}, f"{name} must be a string")
            for name in (*rules.REQUIRED_FIELDS, "description", "link")
            for value in NO_STRINGS
        ],
        *[
            ({**EVENT, "change_status": status}, "change_status must be one of")
            for status in ("done", "DONE", " Done", "Cancelled", "Failed")
        ],
        *[
            ({**EVENT, "event_time": value}, "event_time must be an integer")
            for value in (None, "1700000000", 1.5, True, False, [1])
        ],
        (raw_event(event_time="1700000000.0"), "event_time must be an integer"),
        (raw_event(event_time="17e8"), "event_time must be an integer"),
        *[({**EVENT, "event_time": value}, "event_time must be between") for value in (0, -1, 2**63)],
        ({**EVENT, "event_time": 1_700_000_000_000}, "lies in the future"),
        ({**EVENT, "change_status": "Planned", "event_time": 4_000_000_000}, "lies in the future"),
        ({**EVENT, "description": "x" * 2049}, "2049 characters"),
        ({**EVENT, "description": "\U0001f600" * 2049}, "2049 characters"),
        *[({**EVENT, "labels": value}, "labels must be an object") for value in NO_OBJECTS],
        *[({**EVENT, "labels": {"a": value}}, "the value of label 'a' must be a string") for value in NO_STRINGS],
        ({**EVENT, "labels": {str(number): "x" for number in range(51)}}, "51 entries"),
        ({**EVENT, "labels": {"": "x"}}, "0 characters"),
        ({**EVENT, "labels": {"k" * 129: "x"}}, "129 characters"),
        ({**EVENT, "labels": {"键" * 129: "x"}}, "129 characters"),
        ({**EVENT, "severity": "x"}, "'severity' is not a known parameter"),
        ({**EVENT, "integration_key": KEY}, "'integration_key' is not a known parameter"),
        (raw_event(title=r'"\ud800"'), "title is not valid Unicode"),
        (raw_event(change_key=r'"a\udfffb"'), "change_key is not valid Unicode"),
        (raw_event(labels=r'{"\ud800": "x"}'), "a label key is not valid Unicode"),
        (raw_event(labels=r'{"a": "\udc00\ud800"}'), "the value of label 'a' is not valid Unicode"),
        (raw_event(event_time="NaN"), "not valid JSON"),
        (raw_event(event_time="-Infinity"), "not valid JSON"),
        (raw_event(event_time="9" * 5000), "must be between|not valid JSON"),
        (b'{"title": "a", "title": "a"}', "more than once"),
        (raw_event(labels='{"a": "1", "a": "1"}'), "more than once"),
        (raw_event(title='"a\nb"'), "not valid JSON"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"{'title': 'x'}", "not valid JSON"),
        (b"\xef\xbb\xbf" + raw_event(), "not valid JSON"),
        (raw_event(title='"\xff"').decode().encode("latin-1"), "not UTF-8"),
        (json.dumps(EVENT).encode("utf-16"), "not UTF-8"),
        *[(text, "must be a JSON object") for text in (b"[]", b"null", b'"x"', b"1", b"true")],
    ],
)
def test_a_body_against_the_rules_is_an_invalid_parameter(receiver: Receiver, body: object, about: str) -> None:
    reply = ask(receiver.push_url(KEY), body)
    assert reply.verdict == (400, "InvalidParameter")
    assert re.search(about, reply.message), reply.message
    assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
    assert receiver.events() == []
    (request,) = receiver.requests()
    assert (request["verdict"], request["request_id"]) == ("InvalidParameter", reply.json["request_id"])


@pytest.mark.parametrize(
    "fields",
    [
        *[{"change_status": status} for status in rules.CHANGE_STATUSES],
        {"event_time": 1},
        {"change_status": "Ready", "event_time": 4_000_000_000},
        {"change_status": "Ready", "event_time": 2**63 - 1},
        {"description": "x" * 2048},
        {"description": "\U0001f600" * 2048},
        {"description": "", "link": "", "labels": {}},
        {"labels": {str(number): "x" for number in range(50)}},
        {"labels": {"k" * 128: "x"}},
        {"labels": {"键" * 128: "值" * 5000, "empty": ""}},
        {"title": "a\u0000b\n\u2028\U0001f600", "change_key": " "},
        {"link": "not an address"},
    ],
)
def test_a_body_at_the_limits_is_taken_as_it_is(receiver: Receiver, fields: dict[str, Any]) -> None:
    taken(receiver, **fields)
    assert receiver.events()[0]["body"] == {**EVENT, **fields}


@pytest.mark.parametrize(("event_time", "refused"), [(1001, False), (1002, True), (1_000_000, True)])
def test_the_clock_may_be_one_second_ahead(event_time: int, refused: bool) -> None:
    body = json.dumps({**EVENT, "event_time": event_time}).encode()
    request = rules.Request("POST", rules.PUSH_PATH, content_types=("application/json",), body=body)
    with pytest.raises(rules.Refused) if refused else contextlib.nullcontext():
        rules.judge_push(request, now=1000.0)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", 'application/json;Charset="UTF-8"'],
)
def test_json_content_types_are_taken(receiver: Receiver, content_type: str) -> None:
    assert ask(receiver.push_url(KEY), EVENT, headers={"Content-Type": content_type}).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json-patch+json",
        "application/json; charset=gbk",
    ],
)
def test_other_content_types_are_refused(receiver: Receiver, content_type: str) -> None:
    reply = ask(receiver.push_url(KEY), EVENT, headers={"Content-Type": content_type})
    assert reply.verdict == (400, "InvalidContentType")
    assert receiver.events() == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "integration_key is required"),
        ("integration_key=", "integration_key is required"),
        ("app_key=app-1", "integration_key is required"),
        ("integration_key=KEY-1", "integration_key KEY-1 is not a valid one"),
        ("integration_key=s3cret", "integration_key s3cret is not a valid one"),
        ("integration_key=key-1&integration_key=key-1", "integration_key is given more than once"),
        ("integration_key=%ff", "the query string is not valid"),
    ],
)
def test_a_wrong_integration_key_is_an_invalid_parameter(receiver: Receiver, query: str, message: str) -> None:
    reply = ask(f"{receiver.url}{rules.PUSH_PATH}?{query}", EVENT)
    assert reply.verdict == (400, "InvalidParameter")
    assert reply.message == message
    assert receiver.events() == []


def test_no_key_is_kept(receiver: Receiver, tmp_path: Path) -> None:
    taken(receiver)
    ask(f"{receiver.url}{rules.PUSH_PATH}?integration_key=s3cret", EVENT)
    ask(f"{receiver.url}{rules.LIST_PATH}?app_key=s3cret", {})
    ask(receiver.list_url(APP), {})
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("r.db*"))
    for key in (b"s3cret", KEY.encode(), APP.encode()):
        assert key not in stored
    assert [request["verdict"] for request in receiver.requests()] == [
        "accepted",
        "InvalidParameter",
        "Unauthorized",
        "accepted",
    ]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", [rules.PUSH_PATH, rules.LIST_PATH])
def test_other_methods_are_refused(receiver: Receiver, method: str, path: str) -> None:
    reply = ask(f"{receiver.url}{path}?integration_key={KEY}&app_key={APP}", EVENT, method=method)
    assert reply.verdict == (400, "MethodNotAllowed")


@pytest.mark.parametrize(
    "path", ["/", "/event/push/change/standard/", "//event/push/change/standard", "/event/push/alert/standard", "/x"]
)
def test_other_paths_are_refused(receiver: Receiver, path: str) -> None:
    reply = raw_ask(receiver, f"POST {path}?integration_key={KEY} HTTP/1.0\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    head, _separator, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert json.loads(body)["error"]["code"] == "RouteNotFound"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.dictionaries(
            st.sampled_from([*rules.REQUIRED_FIELDS, *rules.OPTIONAL_FIELDS, "x"]),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.text()
                | st.sampled_from(["Done", "Ready"]),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
                max_leaves=5,
            ),
        ).map(lambda fields: json.dumps(fields).encode()),
    )
)
def test_whatever_arrives_gets_an_answer_of_the_specification(receiver: Receiver, body: bytes) -> None:
    reply = ask(receiver.push_url(KEY), body)
    assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
    assert reply.status == 200 or reply.verdict == (400, "InvalidParameter")


# ---- HTTP


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
    reply = raw_ask(receiver, f"{head}{headers}\r\n".encode())
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
            f"POST {target.path}?{target.query} HTTP/1.1\r\nContent-Type: application/json\r\n"
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
            body = json.dumps({**EVENT, "change_key": f"C{number}", "title": f"{worker}/{number}"})
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
    monkeypatch.setattr(server, "CLOSE_SECONDS", 3 * PATIENCE)
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


# ---- merging


def the_change(receiver: Receiver) -> dict[str, Any]:
    (change,) = receiver.changes()
    return change


def test_events_of_one_key_merge(receiver: Receiver) -> None:
    taken(receiver, event_time=100, title="one", description="d1", link="l1", labels={"a": "1"})
    first = the_change(receiver)
    assert first["end_time"] == 0
    taken(receiver, event_time=150, title="two", labels={"b": "2"})
    taken(receiver, event_time=200, change_status="Done", title="three", description="")
    change = the_change(receiver)
    assert change["change_id"] == first["change_id"]
    assert re.fullmatch(r"[0-9a-f]{24}", change["change_id"])
    assert {name: change[name] for name in ("title", "description", "link", "labels", "change_status")} == {
        "title": "three",
        "description": "",
        "link": "l1",
        "labels": {"b": "2"},
        "change_status": "Done",
    }
    assert (change["start_time"], change["end_time"], change["last_time"]) == (100, 200, 200)
    assert [event["title"] for event in change["events"]] == ["one", "two", "three"]
    assert change["event_count"] == 3


@pytest.mark.parametrize(
    ("events", "status", "times"),
    [
        # Which event happened last decides, not which one arrived last.
        ([("Done", 200), ("Processing", 100)], "Done", (100, 200, 200)),
        ([("Processing", 100), ("Done", 100)], "Done", (100, 100, 100)),
        ([("Done", 100), ("Processing", 100)], "Processing", (100, 0, 100)),
        # A terminal change that goes on is open again.
        ([("Processing", 100), ("Canceled", 200), ("Processing", 300)], "Processing", (100, 0, 300)),
        # It starts with the first Processing; without one, with its first event.
        ([("Planned", 50), ("Processing", 100), ("Processing", 90)], "Processing", (90, 0, 100)),
        ([("Processing", 100), ("Planned", 50)], "Processing", (100, 0, 100)),
        ([("Ready", 80), ("Planned", 50), ("Done", 300)], "Done", (50, 300, 300)),
    ],
)
def test_status_and_times_of_a_change(
    receiver: Receiver, events: list[tuple[str, int]], status: str, times: tuple[int, int, int]
) -> None:
    for change_status, event_time in events:
        taken(receiver, change_status=change_status, event_time=event_time)
    change = the_change(receiver)
    assert change["change_status"] == status
    assert (change["start_time"], change["end_time"], change["last_time"]) == times


def test_integrations_and_keys_do_not_merge(receiver: Receiver) -> None:
    taken(receiver, KEY)
    taken(receiver, OTHER_KEY)
    taken(receiver, KEY, change_key="change-1")
    changes = receiver.changes()
    assert [(change["integration_id"], change["change_key"]) for change in changes] == [
        (receiver.integration_id(KEY), "CHANGE-1"),
        (receiver.integration_id(OTHER_KEY), "CHANGE-1"),
        (receiver.integration_id(KEY), "change-1"),
    ]


# ---- reading


@pytest.mark.parametrize("query", ["", "app_key=", f"integration_key={KEY}", "app_key=wrong", f"app_key={KEY}"])
def test_listing_wants_an_app_key(receiver: Receiver, query: str) -> None:
    assert ask(f"{receiver.url}{rules.LIST_PATH}?{query}", {}).verdict == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("body", "about"),
    [
        ({"start_time": 1}, "go together"),
        ({"end_time": 1}, "go together"),
        ({"start_time": 5, "end_time": 5}, "greater than"),
        ({"start_time": 1, "end_time": 1 + 31 * 86400}, "under 31 days"),
        ({"start_time": "1", "end_time": "2"}, "start_time must be an integer"),
        ({"start_time": 0, "end_time": 2}, "start_time must be between"),
        *[({"p": value}, "p must be") for value in (0, -1, "1", 1.5, True, None)],
        *[({"limit": value}, "limit must be") for value in (0, 101, "10", None, False)],
        *[({"asc": value}, "asc must be true or false") for value in (0, "true", None)],
        *[({"include_events": value}, "include_events must be true or false") for value in (1, "yes", None)],
        *[({"orderby": value}, "orderby must be") for value in ("end_time", "", None, 1)],
        *[({"query": value}, "query must be a string") for value in NO_STRINGS],
        *[({"integration_ids": value}, "integration_ids must be") for value in NO_NUMBERS],
        *[({"channel_ids": value}, "channel_ids must be") for value in NO_NUMBERS],
        ({"page": 1}, "'page' is not a known parameter"),
        ([], "must be a JSON object"),
        (b"", "not valid JSON"),
    ],
)
def test_a_question_against_the_rules_is_an_invalid_parameter(receiver: Receiver, body: object, about: str) -> None:
    reply = ask(receiver.list_url(APP), body)
    assert reply.verdict == (400, "InvalidParameter")
    assert about in reply.message


def test_a_question_needs_json(receiver: Receiver) -> None:
    reply = ask(receiver.list_url(APP), {}, headers={"Content-Type": "text/plain"})
    assert reply.verdict == (400, "InvalidContentType")


def test_a_question_at_the_limits(receiver: Receiver) -> None:
    for body in ({"start_time": 1, "end_time": 31 * 86400}, {"limit": 1}, {"limit": 100, "p": 10**6}, {}):
        assert ask(receiver.list_url("app-2"), body).json["data"] == {"items": [], "total": 0, "has_next_page": False}


def test_an_item_has_what_the_documentation_says(receiver: Receiver) -> None:
    taken(receiver, labels={"service": "shop"}, link="http://l", description="d")
    request_id = taken(receiver, change_status="Done", event_time=1_700_000_060)
    (item,) = listed(receiver)["items"]
    assert "events" not in item
    integration = receiver.integration_id(KEY)
    assert {name: item[name] for name in item if name not in ("change_id", "event_count")} == {
        "change_key": "CHANGE-1",
        "change_status": "Done",
        "title": "deploy",
        "description": "d",
        "link": "http://l",
        "labels": {"service": "shop"},
        "start_time": 1_700_000_000,
        "end_time": 1_700_000_060,
        "last_time": 1_700_000_060,
        "integration_id": integration,
        "integration_name": f"sandbox {integration}",
        "channel_id": 0,
        "channel_name": "",
    }
    (item,) = listed(receiver, include_events=True)["items"]
    assert [event["change_status"] for event in item["events"]] == ["Processing", "Done"]
    assert item["events"][1]["request_id"] == request_id


def test_the_window(receiver: Receiver) -> None:
    for key, start, end in [("a", 1000, 1100), ("b", 1200, 1300), ("c", 1400, 1500)]:
        taken(receiver, change_key=key, event_time=start)
        taken(receiver, change_key=key, event_time=end, change_status="Done")
    for start, end, found in [
        (1100, 1199, "a"),
        (1101, 1200, "b"),
        (1050, 1450, "abc"),
        (1301, 1399, ""),
        (1, 999, ""),
    ]:
        assert keys(listed(receiver, start_time=start, end_time=end, asc=True)) == list(found)


def test_without_a_window_it_is_the_last_hour(receiver: Receiver) -> None:
    now = int(time.time())
    taken(receiver, change_key="new", event_time=now - 3500)
    taken(receiver, change_key="old", event_time=now - 3700)
    taken(receiver, change_key="later", event_time=now + 3600, change_status="Ready")
    assert keys(ask(receiver.list_url(APP), {}).json["data"]) == ["new"]


def test_order_and_pages(receiver: Receiver) -> None:
    for number in range(25):
        taken(receiver, change_key=f"{number:02}", event_time=1_700_000_000 + number)
    taken(receiver, change_key="03", event_time=1_700_001_000)
    every = [f"{number:02}" for number in range(25)]
    assert keys(listed(receiver)) == every[::-1][:10]
    assert keys(listed(receiver, asc=True, limit=100)) == every
    assert keys(listed(receiver, orderby="last_time", limit=2)) == ["03", "24"]
    pages = [listed(receiver, asc=True, limit=10, p=page) for page in (1, 2, 3, 4)]
    assert [keys(page) for page in pages] == [every[:10], every[10:20], every[20:], []]
    assert [page["has_next_page"] for page in pages] == [True, True, False, False]
    assert {page["total"] for page in pages} == {25}
    assert listed(receiver, asc=True, limit=25)["has_next_page"] is False
    assert listed(receiver, asc=True, limit=24)["has_next_page"] is True


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("deploy", ["a"]),
        ("^K-[0-9]+$", ["K-7"]),
        ("说明", ["K-7"]),
        ("(unclosed", ["x(unclosed"]),
        ("a|K", ["a", "K-7"]),
        ("DEPLOY", []),
        ("", ["a", "K-7", "x(unclosed"]),
    ],
)
def test_query_is_a_regular_expression_or_text(receiver: Receiver, query: str, found: list[str]) -> None:
    taken(receiver, change_key="a", title="deploy", event_time=1_700_000_001)
    taken(receiver, change_key="K-7", title="t", description="说明", event_time=1_700_000_002)
    taken(receiver, change_key="x(unclosed", title="t", event_time=1_700_000_003)
    assert keys(listed(receiver, query=query, asc=True)) == found


def test_integrations_and_channels_filter(receiver: Receiver) -> None:
    taken(receiver, KEY, change_key="a")
    taken(receiver, OTHER_KEY, change_key="b")
    one, two = receiver.integration_id(KEY), receiver.integration_id(OTHER_KEY)
    assert keys(listed(receiver, integration_ids=[two])) == ["b"]
    assert sorted(keys(listed(receiver, integration_ids=[one, two]))) == ["a", "b"]
    assert sorted(keys(listed(receiver, integration_ids=[]))) == ["a", "b"]
    assert keys(listed(receiver, integration_ids=[999])) == []
    assert keys(listed(receiver, channel_ids=[5])) == []


# ---- rate limits


def test_both_windows_slide() -> None:
    now = 0.0
    limit = RateLimit(per_second=3, per_minute=5, clock=lambda: now)
    assert [limit.admit(1) for _number in range(4)] == [True, True, True, False]
    assert limit.admit(2)
    now = 0.999
    assert not limit.admit(1)
    now = 1.0
    assert [limit.admit(1) for _number in range(3)] == [True, True, False]
    now = 59.9
    assert not limit.admit(1)
    now = 60.0
    assert [limit.admit(1) for _number in range(4)] == [True, True, True, False]


def test_the_published_limits() -> None:
    now = 0.0
    limit = RateLimit(clock=lambda: now)
    assert [limit.admit(1) for _number in range(101)].count(True) == 100
    for second in range(1, 10):
        now = float(second)
        assert [limit.admit(1) for _number in range(101)].count(True) == 100
    now = 10.0
    assert not limit.admit(1)
    now = 60.0
    assert limit.admit(1)


def test_too_many_requests_are_told_so(tmp_path: Path) -> None:
    with Receiver(tmp_path / "r.db", [KEY, OTHER_KEY], [APP], per_second=1000, per_minute=3) as running:
        assert push(running, title="").status == 400
        taken(running)
        taken(running)
        reply = push(running)
        assert reply.verdict == (429, "RequestTooFrequently")
        assert re.fullmatch(r"[0-9a-f]{32}", reply.json["request_id"])
        taken(running, OTHER_KEY)
        # Neither wrong keys nor questions count, and what is beside the API has no limit.
        assert push(running, "wrong").status == 400
        assert listed(running)["total"] == 2
        assert ask(f"{running.url}/sandbox/changes", method="GET").status == 200
        assert len(running.events()) == 3


# ---- faults


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


@contextlib.contextmanager
def sent(receiver: Receiver) -> Iterator[socket.socket]:
    """A connection on which a push was sent."""
    body = json.dumps(EVENT)
    target = urlsplit(receiver.push_url(KEY))
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=PATIENCE) as sock:
        sock.sendall(
            f"POST {target.path}?{target.query} HTTP/1.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        yield sock


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
    monkeypatch.setattr(server, "CLOSE_SECONDS", 3 * PATIENCE)
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


# ---- beside the API


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


def test_what_it_holds_over_http(receiver: Receiver, tmp_path: Path) -> None:
    taken(receiver)
    push(receiver, title="")
    for name, held in [
        ("changes", receiver.changes()),
        ("events", receiver.events()),
        ("requests", receiver.requests()),
    ]:
        reply = ask(f"{receiver.url}/sandbox/{name}", method="GET")
        assert reply.status == 200
        assert reply.json == held
    assert len(receiver.requests()) == 2
    status = ask(f"{receiver.url}/sandbox/status", method="GET").json
    assert (status["pid"], status["database"]) == (os.getpid(), str(tmp_path / "r.db"))
    assert ask(f"{receiver.url}/sandbox/changes", method="DELETE").status == 200
    assert (receiver.changes(), receiver.events(), receiver.requests()) == ([], [], [])
    assert ask(f"{receiver.url}/sandbox/nothing", method="GET").verdict == (404, "RouteNotFound")
    assert ask(f"{receiver.url}/sandbox/stop", {}).verdict == (404, "RouteNotFound")
    assert ask(f"{receiver.url}/sandbox/status", {}).verdict == (400, "MethodNotAllowed")


def test_other_sites_cannot_use_a_browser_against_it(receiver: Receiver) -> None:
    for host in ("evil.example", f"127.0.0.1.evil.example:{receiver.port}", "localhost@evil.example", "[", ""):
        reply = ask(f"{receiver.url}/sandbox/changes", method="GET", headers={"Host": host or " "})
        assert reply.verdict == (403, "AccessDenied")
    form = {"Content-Type": "text/plain"}
    reply = ask(f"{receiver.url}/sandbox/faults", {"kind": "hang"}, headers=form)
    assert reply.verdict == (400, "InvalidContentType")


def test_what_came_is_written_down(receiver: Receiver) -> None:
    before = time.time()
    ask(receiver.push_url(KEY), EVENT, headers={"User-Agent": "probe/1"})
    ask(receiver.push_url(KEY), b"\xff{", headers={"User-Agent": "probe/2"})
    good, bad = receiver.requests()
    assert (good["number"], good["user_agent"], good["method"], good["path"], good["status"]) == (
        1,
        "probe/1",
        "POST",
        rules.PUSH_PATH,
        200,
    )
    assert json.loads(good["body"]) == EVENT
    assert before <= good["received"] <= bad["received"] <= time.time()
    assert (bad["verdict"], bad["body"], bad["integration_id"]) == (
        "InvalidParameter",
        "\\xff{",
        good["integration_id"],
    )


def test_waiting_for_something(receiver: Receiver) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(receiver.wait_for, lambda: len(receiver.events()) == 2)
        taken(receiver)
        taken(receiver)
        waiting.result(PATIENCE)
    with pytest.raises(TimeoutError):
        receiver.wait_for(lambda: len(receiver.events()) == 3, timeout=0.05)


def test_a_failure_inside_is_an_internal_error(receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    receiver._store.close()
    reply = push(receiver)
    assert reply.verdict == (500, "InternalError")
    assert "Traceback" in capfd.readouterr().err


# ---- keeping


def test_a_restart_on_the_same_port_keeps_everything(tmp_path: Path) -> None:
    with Receiver(tmp_path / "r.db", ["a", "b"]) as first:
        taken(first, "b")
        port, ids = first.port, (first.integration_id("a"), first.integration_id("b"))
        idle = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        held = first.changes()
    with Receiver(tmp_path / "r.db", ["c", "b", "a"], port=port) as second:
        assert second.port == port
        assert second.changes() == held
        assert (second.integration_id("a"), second.integration_id("b")) == ids
        assert second.integration_id("c") not in ids
        taken(second, "b", change_status="Done", event_time=1_700_000_001)
        assert second.changes()[0]["event_count"] == 2
    idle.close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("r.db*")} == {0o600}


@pytest.mark.parametrize("content", [b"not a database, and long enough to be sure of it" * 50, None])
def test_what_is_no_store_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    database = tmp_path / "r.db"
    if content is None:
        with Receiver(database):
            pass
        import sqlite3

        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        database.write_bytes(content)
    before = database.read_bytes()
    with pytest.raises(StoreError, match=re.escape(str(database))):
        Receiver(database).start()
    assert database.read_bytes() == before


def test_a_taken_port_is_an_error(receiver: Receiver, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        Receiver(tmp_path / "other.db", port=receiver.port).start()


# ---- the program


class Sandbox:
    """The program with a folder of its own, in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *arguments: str) -> list[str]:
        name, *options = arguments
        return [sys.executable, "-I", str(STANDALONE), "_receiver.cli", name, "--state-dir", str(self.folder), *options]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=30, check=False)

    def ask(self, *arguments: str) -> Any:
        done = self.run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    program = Sandbox(tmp_path / "new" / "sandbox")
    yield program
    program.run("stop")


def test_start_stop_and_what_stays(sandbox: Sandbox) -> None:
    assert sandbox.ask("stop") == {"state": "not_running"}
    assert sandbox.ask("start", "--port", "0", "--check")["state"] == "started"
    assert not sandbox.folder.exists()

    started = sandbox.ask("start", "--port", "0")
    assert started["state"] == "started"
    assert ask(started["push_url"], EVENT).status == 200
    assert ask(f"{started['url']}/sandbox/status", method="GET").json["pid"] == started["pid"]
    assert stat.S_IMODE(sandbox.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(sandbox.folder.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in sandbox.folder.iterdir()} == {0o600}

    port = started["url"].rpartition(":")[2]
    for options in (["--port", "0"], ["--port", port], ["--port", port, "--check"]):
        assert sandbox.ask("start", *options) == {**started, "state": "running"}
    assert sandbox.ask("stop", "--check") == {"state": "stopped"}
    (change,) = sandbox.ask("show", "--json")
    assert change["events"][0]["body"] == EVENT

    assert sandbox.ask("stop") == {"state": "stopped"}
    with pytest.raises(ConnectionRefusedError):
        ask(started["push_url"], EVENT)
    assert sandbox.ask("stop") == {"state": "not_running"}
    assert sandbox.ask("show", "--json") == [change]

    again = sandbox.ask("start", "--port", port)
    assert (again["state"], again["url"]) == ("started", started["url"])
    assert again["pid"] != started["pid"]
    assert sandbox.ask("show", "--json") == [change]

    assert sandbox.ask("start", "--port", port, "--reset")["state"] == "running"
    assert sandbox.ask("show", "--json") == []


def test_a_running_one_is_not_changed_in_silence(sandbox: Sandbox) -> None:
    started = sandbox.ask("start", "--port", "0", "--integration-key", "k")
    assert started["push_url"].endswith("?integration_key=k")
    for options in (["--integration-key", "x"], ["--integration-key", "k", "--app-key", "x"], []):
        done = sandbox.run("start", "--port", "0", *options)
        assert done.returncode == 1
        assert "other keys" in done.stderr
    done = sandbox.run("start", "--port", "1", "--integration-key", "k")
    assert done.returncode == 1
    assert "already runs at" in done.stderr
    assert sandbox.ask("start", "--port", "0", "--integration-key", "k")["pid"] == started["pid"]


def test_two_starts_at_once_start_one(sandbox: Sandbox) -> None:
    children = [
        subprocess.Popen(sandbox.command("start", "--port", "0"), stdout=subprocess.PIPE, text=True) for _n in range(3)
    ]
    answers = [json.loads(child.communicate(timeout=30)[0]) for child in children]
    assert sorted(answer["state"] for answer in answers) == ["running", "running", "started"]
    assert len({answer["pid"] for answer in answers}) == 1


def test_what_a_crash_leaves_behind_fools_nobody(sandbox: Sandbox) -> None:
    started = sandbox.ask("start", "--port", "0")
    ask(started["push_url"], EVENT)
    os.kill(started["pid"], signal.SIGKILL)
    address = sandbox.folder / "sandbox.json"
    left = json.loads(address.read_text(encoding="utf-8"))
    assert left["pid"] == started["pid"]
    # Its process number now belongs to somebody else.
    address.write_text(json.dumps({**left, "pid": os.getpid()}), encoding="utf-8")
    # The kernel gives the lock back a moment after the signal.
    until(lambda: "not_running" in sandbox.run("stop").stdout)
    again = sandbox.ask("start", "--port", "0")
    assert again["state"] == "started"
    assert len(sandbox.ask("show", "--json")) == 1


def test_another_program_at_the_port(sandbox: Sandbox, receiver: Receiver) -> None:
    done = sandbox.run("start", "--port", str(receiver.port))
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "--port" in done.stderr


def test_another_sandbox_at_the_address_is_not_stopped(sandbox: Sandbox, receiver: Receiver) -> None:
    started = sandbox.ask("start", "--port", "0")
    address = sandbox.folder / "sandbox.json"
    mine = address.read_text(encoding="utf-8")
    address.write_text(json.dumps({"url": receiver.url}), encoding="utf-8")
    for command in (("stop",), ("start", "--port", "0")):
        done = sandbox.run(*command)
        assert done.returncode == 1
        assert "is the sandbox of" in done.stderr
    taken(receiver)
    address.write_text(mine, encoding="utf-8")
    assert ask(started["push_url"], EVENT).status == 200
    assert sandbox.ask("stop") == {"state": "stopped"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly(sandbox: Sandbox, number: signal.Signals) -> None:
    child = subprocess.Popen(
        sandbox.command("serve", "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    started = json.loads(child.stdout.readline())
    assert started["pid"] == child.pid
    assert ask(started["push_url"], EVENT).status == 200
    assert sandbox.ask("start", "--port", "0")["state"] == "running"
    child.send_signal(number)
    output, errors = child.communicate(timeout=PATIENCE)
    assert (child.returncode, output, errors) == (0, "", "")
    assert not (sandbox.folder / "sandbox.json").exists()


def test_a_damaged_store_is_named_and_reset_helps(sandbox: Sandbox) -> None:
    sandbox.folder.mkdir(parents=True)
    (sandbox.folder / "sandbox.db").write_bytes(b"damaged " * 1000)
    done = sandbox.run("start", "--port", "0")
    assert done.returncode == 1
    assert "--reset" in done.stderr
    assert sandbox.run("show").returncode == 1
    assert sandbox.ask("start", "--port", "0", "--reset")["state"] == "started"
    assert sandbox.ask("show", "--json") == []


def test_https_and_limits_from_the_command_line(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text(CERTIFICATE, encoding="ascii")
    (tmp_path / "k.pem").write_text(CERTIFICATE_KEY, encoding="ascii")
    tls = ["--tls-cert", str(tmp_path / "c.pem"), "--tls-key", str(tmp_path / "k.pem")]
    started = sandbox.ask("start", "--port", "0", "--per-minute", "1", *tls)
    context = ssl.create_default_context(cafile=str(tmp_path / "c.pem"))
    target = urlsplit(started["push_url"])
    connection = http.client.HTTPSConnection("127.0.0.1", int(target.port or 0), timeout=PATIENCE, context=context)
    statuses = []
    for _number in range(2):
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"{target.path}?{target.query}", json.dumps(EVENT), headers)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [200, 429]
    assert sandbox.run("start", "--port", "0").returncode == 1
    assert sandbox.ask("stop") == {"state": "stopped"}
    for options in (tls[:2], ["--tls-cert", str(tmp_path / "none"), *tls[2:]]):
        done = sandbox.run("start", "--port", "0", *options)
        assert done.returncode == 1
        assert "tls-key" in done.stderr or "certificate" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["restart"], ["start", "--port", "65536"], ["start", "--port", "-1"], ["start", "--integration-key", ""]],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    assert "usage:" in capsys.readouterr().err


def test_the_default_folder() -> None:
    assert cli.default_state_dir({"ANSIBLE_HOME": "/srv/a"}) == Path("/srv/a/flashduty/sandbox")
    assert cli.default_state_dir({}) == Path.home() / ".ansible/flashduty/sandbox"


def test_the_table(receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "--state-dir", str(tmp_path / "nothing")]) == 0
    assert capsys.readouterr().out == "No changes.\n"
    taken(receiver, title="双12活动", event_time=1000, labels={"service": "shop", "env": "prod"})
    taken(receiver, title="双12活动", event_time=1042, change_status="Canceled", description="web2\n失败")
    taken(receiver, change_key="变更", title="\x1b[2Jx", event_time=2000)
    taken(receiver, change_key="P", title="later", event_time=3000, change_status="Planned")
    lines = cli.table(receiver.changes(), now=2010.0).splitlines()
    assert lines[0].split() == ["STATUS", "START", "DURATION", "EVENTS", "KEY", "TITLE"]
    assert re.fullmatch(r"Canceled    \S+ \S+  42 s        2       CHANGE-1  双12活动", lines[1])
    assert lines[2:4] == ["    web2 失败", "    service=shop  env=prod"]
    assert re.fullmatch(r"Processing  \S+ \S+  10 s, open  1       变更      \ufffd\[2Jx", lines[4])
    assert re.fullmatch(r"Planned     \S+ \S+  -           1       P         later", lines[5])


# ---- the way in


def test_push_urls_are_quoted(receiver: Receiver) -> None:
    assert receiver.push_url(OTHER_KEY).endswith(f"?integration_key={quote(OTHER_KEY, safe='')}")
    assert receiver.push_url() == receiver.push_url(KEY)
    taken(receiver, OTHER_KEY)


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    running = Receiver(tmp_path / "r.db").start()
    close: Callable[[], None] = running.close
    close()
    close()
    assert set(threading.enumerate()) <= before
